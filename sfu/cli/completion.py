"""`sfu completion`: a script that completes the commands and options of `sfu` in a shell."""

from __future__ import annotations

import argparse
import os
import sys

NAME = "completion"
HELP = "print the script that completes this command in a shell"
SHELLS = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell it is for")


async def run(args: argparse.Namespace) -> int:
    """Write the script: it is made from the parser of all commands, so it knows every option."""
    import shtab  # nothing else needs it, and every start would pay for it

    sys.stdout.write(shtab.complete(args.parser, shell=args.shell))
    return os.EX_OK
