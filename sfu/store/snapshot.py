"""Copies of a SQLite database that are whole whatever is written to it meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from sfu.durable import sync
from sfu.store.engine import outside_transaction


async def snapshot(engine: AsyncEngine, target: Path) -> None:
    """Write what is committed at this moment to the file `target`, in place of one that is there.

    The copy is a single file: it has no write-ahead log beside it. Raises `OSError` or `SQLAlchemyError`.
    """
    partial = target.with_name(target.name + ".partial")
    await asyncio.to_thread(_make_private, partial)
    try:
        async with outside_transaction(engine) as connection:
            await connection.execute("VACUUM INTO ?", (str(partial),))
        await asyncio.to_thread(_put_in_place, partial, target)
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)


def _make_private(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _put_in_place(partial: Path, target: Path) -> None:
    sync(partial)
    partial.replace(target)
    sync(target.parent)
