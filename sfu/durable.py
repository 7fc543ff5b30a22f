"""Files of the server's own: whole after a power cut, and nobody else's to read."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Write `data` to `path`, which only the server's own user may read.

    The file is written aside, synced and renamed, so a power cut or a full disk leaves it as it was or as it
    shall be. Raises `OSError`, which names `path`.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    sync(path.parent)


def make_private(path: Path) -> None:
    """Take `path` from everybody else where all others may read or write it, as an ordinary umask leaves it.

    A group that somebody gave it to keeps it. Nothing happens where it is not there or not ours.
    """
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o007:
            path.chmod(mode & ~0o077)


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
