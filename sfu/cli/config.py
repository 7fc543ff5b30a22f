"""`sfu config`: the effective configuration."""

from __future__ import annotations

import argparse

from sfu import config
from sfu.cli import options

NAME = "config"
HELP = "print the effective configuration as TOML, every key explained, secrets masked"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("--reference", action="store_true", help="print every key as Markdown instead")


async def run(args: argparse.Namespace) -> int:
    print(config.reference() if args.reference else config.show(options.load(args)), end="")
    return 0
