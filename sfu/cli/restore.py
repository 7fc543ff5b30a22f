"""`sfu restore`: put a backup in the place that is configured."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sfu.cli import options
from sfu.errors import RequestError
from sfu.server.backup import restore

NAME = "restore"
HELP = "put a backup back where the configuration says; the server must not be running"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("file", metavar="FILE", help="what 'sfu backup' has written")
    parser.add_argument(
        "--replace", action="store_true", help="put what is there aside, into a folder of the data directory"
    )


async def run(args: argparse.Namespace) -> int:
    try:
        report, aside = await restore(options.load(args), Path(args.file), replace=args.replace)
    except RequestError as error:
        print(f"sfu: {error.message}", file=sys.stderr)
        return os.EX_IOERR
    print(f"the database and {report.contents} contents of files are restored")
    if aside is not None:
        print(f"what was there before is in {aside}")
    for sha256 in report.missing:
        print(f"sfu: the backup lacks a content: {sha256}", file=sys.stderr)
    return os.EX_IOERR if report.missing else 0
