"""`sfu storage`: move the database to another place, or another kind of database."""

from __future__ import annotations

import argparse

from sfu.cli import options
from sfu.server.storage import open_present_storage
from sfu.store import transfer

NAME = "storage"
HELP = "copy the database, between SQLite and PostgreSQL too; the server must not be running"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("action", choices=("copy",), help="copy leaves the configured database as it is")
    parser.add_argument(
        "--to", metavar="URL", required=True, help="as storage.url: the empty database that gets every row"
    )


async def run(args: argparse.Namespace) -> int:
    async with open_present_storage(options.load(args)) as storage:
        counts = await transfer.copy_to(storage.store, args.to)
    for table, count in sorted(counts.items()):
        if count:
            print(f"{count:10} {table}")
    print("everything is copied: put the new URL into storage.url; the contents of files stay where they are")
    return 0
