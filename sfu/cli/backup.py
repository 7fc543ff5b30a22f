"""`sfu backup`: everything that lasts, in one file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sfu.cli import options
from sfu.errors import RequestError
from sfu.server.backup import back_up

NAME = "backup"
HELP = "write database, files and keys to one file; the server may be running"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("file", metavar="FILE", help="the backup; it must not exist yet")


async def run(args: argparse.Namespace) -> int:
    target = Path(args.file)
    try:
        report = await back_up(options.load(args), target)
    except RequestError as error:
        print(f"sfu: {error.message}", file=sys.stderr)
        return os.EX_IOERR
    print(f"{target}: the database and {report.contents} contents of files")
    for sha256 in report.missing:
        print(f"sfu: a file has no content: {sha256}", file=sys.stderr)
    return os.EX_IOERR if report.missing else 0
