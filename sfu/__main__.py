"""Entry point of the `sfu` command and of `python -m sfu`."""

from __future__ import annotations

import sfu.cli.first_process

# isort: split
import argparse
import asyncio
import io
import os
import sys
from collections.abc import Sequence

import sfu
from sfu.cli import arguments, backup, completion, config, demo, person, restore, serve, storage, token
from sfu.errors import ConfigError, StartError
from sfu_client.commands import camera, common, record, view

COMMANDS = (serve, demo, token, person, backup, restore, storage, config, camera, view, record, completion)


def parser() -> argparse.ArgumentParser:
    """The whole command line; also what the documentation's test reads."""
    top = argparse.ArgumentParser(
        prog="sfu",
        description="A WebRTC media server in Python: browsers, Python peers and headless cameras in a room.",
    )
    top.add_argument("--version", action="version", version=f"pysfu {sfu.__version__}")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for module in COMMANDS:
        sub = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.HELP,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.configure(sub)
        sub.set_defaults(run=module.run, parser=top)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status follows sysexits.h (see docs/config.md)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # As files are read. A locale that lacks a letter of a path or of a name ends no command.
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    if argv is None:
        argv = arguments.given(sys.argv[1:], os.environ)
    try:
        args = parser().parse_args(argv)
    except SystemExit as end:
        return os.EX_USAGE if end.code == 2 else int(end.code or 0)
    # What the server keeps, and what people are recorded to, is nobody else's on this machine.
    os.umask(0o077)
    try:
        return int(asyncio.run(args.run(args)))
    except ConfigError as error:
        for fault in error.faults:
            print(f"sfu: configuration: {fault}", file=sys.stderr)
        return os.EX_CONFIG
    except StartError as error:
        print(f"sfu: unavailable: {error}", file=sys.stderr)
        return error.status
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        print(f"sfu: this {common.NEEDS_OPENCV}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
