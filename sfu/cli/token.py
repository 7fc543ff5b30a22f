"""`sfu token`: an access token, made with a configured API key."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time

from sfu.cli import options
from sfu.errors import ConfigError
from sfu.room.permissions import RIGHTS, ROLES
from sfu.server import tokens
from sfu.templates import TEMPLATES

NAME = "token"
HELP = "make an access token for one room"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("--room", default="", help="the room it opens")
    parser.add_argument(
        "--admin", action="store_true", help="an administrator's: the HTTP API of every room, no joining"
    )
    parser.add_argument(
        "--identity", required=True, help="who it is for; a newer session of it replaces the older"
    )
    parser.add_argument("--name", default="", help="name shown to others")
    parser.add_argument("--ttl", type=float, default=6 * 3600, metavar="SECONDS", help="how long it is valid")
    parser.add_argument(
        "--id", default="", help="its id ('jti'), by which it can be revoked; random if empty"
    )
    parser.add_argument("--key", default="", help="which API key signs; the first configured one if empty")
    parser.add_argument(
        "--role",
        default="",
        choices=("", *ROLES),
        help="what it does there; the template's entry role if empty",
    )
    parser.add_argument(
        "--template", default="", choices=("", *TEMPLATES), help="kind of the room, where it opens the room"
    )
    parser.add_argument(
        "--grant",
        action="append",
        default=[],
        metavar="RIGHT",
        help="a right beyond the role's: " + ", ".join(RIGHTS) + "; may be repeated",
    )
    parser.add_argument(
        "--deny", action="append", default=[], metavar="RIGHT", help="a right of the role taken away"
    )
    parser.add_argument(
        "--publish",
        default="",
        metavar="SOURCES",
        help="all, none, or a list of camera,microphone,screen,screen_audio,other; the role's if empty",
    )


def _admin(args: argparse.Namespace, key: str, secret: str) -> int:
    jti = args.id or secrets.token_hex(8)
    now_s, ttl_s = int(time.time()), int(args.ttl)
    print(tokens.mint_admin(key, secret, identity=args.identity, now_s=now_s, ttl_s=ttl_s, jti=jti))
    print(f"# its id is {jti}; keep it secret: it opens every room", file=sys.stderr)
    return 0


async def run(args: argparse.Namespace) -> int:
    settings = options.load(args)
    if not settings.auth.keys:
        raise ConfigError(["auth.keys is empty: put a key into the file or into SFU_AUTH__KEYS (KEY:SECRET)"])
    keys = dict(key.split(":", 1) for key in settings.auth.keys)
    key = args.key or next(iter(keys))
    if key not in keys:
        raise ConfigError([f"auth.keys has no key {key}"])
    if args.admin:
        return _admin(args, key, keys[key])
    if not args.room:
        print("sfu token: --room is needed, or --admin", file=sys.stderr)
        return os.EX_USAGE
    grants: dict[str, bool | list[str]] = dict.fromkeys(args.deny, False)
    grants |= dict.fromkeys(args.grant, True)
    if args.publish:
        grants["publish"] = args.publish == "all" or (
            [] if args.publish == "none" else args.publish.split(",")
        )
    jti = args.id or secrets.token_hex(8)
    try:
        token = tokens.mint(
            key,
            keys[key],
            identity=args.identity,
            name=args.name,
            room=args.room,
            now_s=int(time.time()),
            ttl_s=int(args.ttl),
            role=args.role or None,
            template=args.template or None,
            jti=jti,
            **grants,
        )
    except ValueError as error:
        print(f"sfu token: no such right or source: {error}", file=sys.stderr)
        return os.EX_USAGE
    print(token)
    print(
        f"# its id is {jti}: in auth.revoked or auth.revoked_file it opens nothing any more", file=sys.stderr
    )
    if sys.stdout.isatty():
        print("# keep it secret; in a link it goes after '#token='", file=sys.stderr)
    return 0
