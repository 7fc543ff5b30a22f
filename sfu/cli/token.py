"""`sfu token`: an access token, made with a configured API key."""

from __future__ import annotations

import argparse
import os
import sys
import time

from sfu.cli import options
from sfu.errors import ConfigError
from sfu.server import tokens

NAME = "token"
HELP = "make an access token for one room"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("--room", required=True, help="the room it opens")
    parser.add_argument(
        "--identity", required=True, help="who it is for; a newer session of it replaces the older"
    )
    parser.add_argument("--name", default="", help="name shown to others")
    parser.add_argument("--ttl", type=float, default=6 * 3600, metavar="SECONDS", help="how long it is valid")
    parser.add_argument("--key", default="", help="which API key signs; the first configured one if empty")
    parser.add_argument(
        "--publish",
        default="all",
        metavar="SOURCES",
        help="all, none, or a list of camera,microphone,screen,screen_audio,other",
    )
    for right in ("subscribe", "data", "chat"):
        parser.add_argument(f"--no-{right}", action="store_true", help=f"without the right to {right}")


async def run(args: argparse.Namespace) -> int:
    settings = options.load(args)
    if not settings.auth.keys:
        raise ConfigError(["auth.keys is empty: give one with --set auth.keys=KEY:SECRET or SFU_AUTH__KEYS"])
    keys = dict(key.split(":", 1) for key in settings.auth.keys)
    key = args.key or next(iter(keys))
    if key not in keys:
        raise ConfigError([f"auth.keys has no key {key}"])
    publish: bool | list[str] = args.publish == "all"
    if args.publish not in ("all", "none"):
        publish = args.publish.split(",")
    try:
        token = tokens.mint(
            key,
            keys[key],
            identity=args.identity,
            name=args.name,
            room=args.room,
            now_s=int(time.time()),
            ttl_s=int(args.ttl),
            publish=publish,
            subscribe=not args.no_subscribe,
            data=not args.no_data,
            chat=not args.no_chat,
        )
    except ValueError as error:
        print(f"sfu token: --publish: {error}", file=sys.stderr)
        return os.EX_USAGE
    print(token)
    if sys.stdout.isatty():
        print("# keep it secret; in a link it goes after '#token='", file=sys.stderr)
    return 0
