"""`sfu config`: the effective configuration."""

from __future__ import annotations

import argparse

from sfu.cli import options
from sfu.loading.show import reference, show

NAME = "config"
HELP = "print the effective configuration as TOML, every key explained, secrets masked"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("--reference", action="store_true", help="print every key as Markdown instead")


async def run(args: argparse.Namespace) -> int:
    print(reference() if args.reference else show(options.load(args)), end="")
    return 0
