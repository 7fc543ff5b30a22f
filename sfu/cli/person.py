"""`sfu person`: hand out, or erase, everything that is stored of one person."""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

from sfu.cli import options
from sfu.errors import RequestError
from sfu.server.contents import Contents
from sfu.server.storage import open_present_storage, read_storage
from sfu.store import people

NAME = "person"
HELP = "export or erase everything stored of one person; to erase, the server must not be running"


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)
    parser.add_argument("action", choices=("export", "erase"), help="export prints JSON; erase is for good")
    parser.add_argument(
        "--files", metavar="DIR", help="export: save the contents of the person's files there"
    )
    parser.add_argument("identity", help="who: a token's subject, or what attendance and exports call it")


async def run(args: argparse.Namespace) -> int:
    """An export only looks; an erasure needs the database for itself: a server knows messages beside it."""
    config = options.load(args)
    if args.action == "export":
        async with read_storage(config) as (reader, contents):
            async with reader.reading() as connection:
                found = await people.export(connection, args.identity)
            json.dump(found, sys.stdout, ensure_ascii=False, indent=2)
            print()
            if args.files is not None:
                return await _save_files(contents, found["files"], Path(args.files))
    else:
        async with open_present_storage(config) as storage:
            await storage.remove(functools.partial(people.erase, identity=args.identity))
    return 0


async def _save_files(contents: Contents, rows: list[dict[str, Any]], folder: Path) -> int:
    """Each under its id, as the export names it, and its name. What is missing does not stop the others."""
    status = 0
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for row in rows:
        try:
            await contents.save(row["sha256"], folder / f"{row['id']} {row['name']}")
        except RequestError as error:
            print(f"sfu: {row['id']}: {error.message}", file=sys.stderr)
            status = os.EX_IOERR
    return status
