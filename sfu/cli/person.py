"""`sfu person`: hand out, or erase, everything that is stored of one person."""

from __future__ import annotations

import argparse
import functools
import json
import sys

from sfu.cli import options
from sfu.server.storage import open_storage
from sfu.store import people

NAME = "person"
HELP = "export or erase everything stored of one person; the server must not be running"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("action", choices=("export", "erase"), help="export prints JSON; erase is for good")
    parser.add_argument("identity", help="who: a token's subject, or what attendance and exports call it")


async def run(args: argparse.Namespace) -> int:
    """A running server holds the database: it knows messages that an erasure here would not reach."""
    async with open_storage(options.load(args)) as storage:
        if args.action == "export":
            async with storage.store.reading() as connection:
                found = await people.export(connection, args.identity)
            json.dump(found, sys.stdout, ensure_ascii=False, indent=2)
            print()
        else:
            await storage.remove(functools.partial(people.erase, identity=args.identity))
    return 0
