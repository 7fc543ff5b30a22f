"""Backups: one file with the database, the contents of its files, and the keys that the server made.

The file is a tar archive: `sfu.db` (SQLite, whatever the server uses), `files/HASH`, `files/HASH.jpg` (small
pictures), `keys/NAME`, and `about.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import sfu
from sfu import clock
from sfu.config import Config
from sfu.durable import sync, write_private
from sfu.errors import ConfigError, RequestError, StartError
from sfu.faults import start_fault
from sfu.server import passes, tls
from sfu.server.contents import Contents, open_contents
from sfu.server.storage import data_dir, data_path, read_storage
from sfu.store import transfer
from sfu.store.place import open_place
from sfu.store.store import Reader

FORMAT = 1
KEYS = (passes.KEY_FILE, tls.CERT, tls.KEY)
"""What the server makes for itself in the data directory, and others have seen."""
ROUNDS = 5
"""A content that goes while it is copied takes its row along: then the database is copied again."""

_DATABASE, _ABOUT = "sfu.db", "about.json"


@dataclass(slots=True)
class Report:
    """How many contents a backup has, and which are missing: a file of the database has no content."""

    contents: int = 0
    missing: list[str] = field(default_factory=list)


# --- making one --------------------------------------------------------------------------------


async def back_up(config: Config, target: Path) -> Report:
    """Write a backup of what is there to `target`, which does not exist yet. A server may run meanwhile.

    Raises `ConfigError`, `StartError` or `RequestError` `storage_failed`.
    """
    if await asyncio.to_thread(target.exists):
        raise _exists(target)
    async with read_storage(config) as (reader, contents), _workplace(target.parent) as work:
        partial = work / "backup"
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with tarfile.open(partial, "w") as archive:
            report = await _add_all(archive, reader, contents, work)
            for name in KEYS:
                if (key := data_path(config) / name).is_file():
                    await asyncio.to_thread(archive.add, key, f"keys/{name}")
            about = {
                "format": FORMAT,
                "version": sfu.__version__,
                "database": reader.id,
                "made": f"{datetime.fromtimestamp(clock.wall_ms() / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
            }
            _add_bytes(archive, _ABOUT, json.dumps(about).encode())
        await asyncio.to_thread(_put_in_place, partial, target)
    return report


async def _add_all(archive: tarfile.TarFile, reader: Reader, contents: Contents, work: Path) -> Report:
    """Contents first: what the database names at the end has to be there."""
    there: set[str] = set()
    for _ in range(ROUNDS):
        await transfer.write_file(reader, work / _DATABASE)
        named = await transfer.hashes_in(work / _DATABASE)
        missing = [each for each in sorted(named - there) if not await _add(archive, contents, each, work)]
        there |= named - set(missing)
        if not missing:
            break
    await asyncio.to_thread(archive.add, work / _DATABASE, _DATABASE)
    return Report(len(there), missing)


async def _add(archive: tarfile.TarFile, contents: Contents, sha256: str, work: Path) -> bool:
    """Whether the content was there. Its small picture is added where it has one."""
    copy = work / "content"
    for small in (False, True):
        try:
            await contents.save(sha256, copy, small=small)
        except RequestError as error:
            if error.code != "not_found":
                raise
            return small
        await asyncio.to_thread(archive.add, copy, f"files/{sha256}{'.jpg' if small else ''}")
    return True


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _put_in_place(partial: Path, target: Path) -> None:
    sync(partial)
    try:
        # Unlike a rename it never replaces a backup that came meanwhile.
        os.link(partial, target)
    except FileExistsError:
        raise _exists(target) from None
    sync(target.parent)


def _exists(target: Path) -> StartError:
    return StartError(f"{target} exists already: a backup replaces no other", os.EX_CANTCREAT)


# --- putting one back --------------------------------------------------------------------------


class _Backup:
    """Members by their names. Only names of our own are asked for, and only their bytes are taken."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self.members = {member.name: member for member in archive.getmembers() if member.isfile()}

    def read(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read()

    def extract(self, name: str, target: Path) -> None:
        with self._open(name) as file, target.open("wb") as out:
            shutil.copyfileobj(file, out)

    def digest(self, name: str) -> str:
        whole = hashlib.sha256()
        with self._open(name) as file:
            while part := file.read(1 << 20):
                whole.update(part)
        return whole.hexdigest()

    def _open(self, name: str) -> IO[bytes]:
        """Raises `KeyError` where there is no such file."""
        file = self._archive.extractfile(self.members[name])
        if file is None:
            raise KeyError(name)
        return file


async def restore(config: Config, source: Path, *, replace: bool) -> tuple[Report, Path | None]:
    """Put a backup where the configuration says. No server may run.

    What is there is refused, or with `replace` put aside. Returns where that is. Raises `ConfigError`,
    `StartError` or `RequestError` `storage_failed`.
    """
    with _opened(source) as backup:
        async with (
            open_place(config.storage.url, data_dir(config)) as place,
            open_contents(config.storage, place.folder) as contents,
            _workplace(place.folder) as work,
        ):
            await asyncio.to_thread(backup.extract, _DATABASE, work / _DATABASE)
            database = await transfer.upgrade_file(work / _DATABASE)
            report = await _check_contents(backup, work)
            await _check_owner(config, contents, database)
            aside = await place.make_room(("files", *KEYS), replace=replace)
            for sha256 in sorted(await transfer.hashes_in(work / _DATABASE) - set(report.missing)):
                await _keep(backup, contents, sha256, work)
            await contents.claim(database)
            for name in KEYS:
                if (key := f"keys/{name}") in backup.members:
                    await asyncio.to_thread(write_private, place.folder / name, backup.read(key))
            # Last: until then there is no database, and no server takes what is half there for the whole.
            await place.put(work / _DATABASE)
    return report, aside


async def _check_contents(backup: _Backup, work: Path) -> Report:
    """Before anything is changed. Raises `ConfigError`: a content is not what was put into the backup."""
    report = Report()
    for sha256 in sorted(await transfer.hashes_in(work / _DATABASE)):
        if f"files/{sha256}" not in backup.members:
            report.missing.append(sha256)
            continue
        report.contents += 1
        if await asyncio.to_thread(backup.digest, f"files/{sha256}") != sha256:
            raise ConfigError([f"the backup is damaged: files/{sha256} is another content"])
    return report


async def _check_owner(config: Config, contents: Contents, database: str) -> None:
    """A folder is put aside with what is in it; a bucket stays. Raises `ConfigError`."""
    if config.storage.files and await contents.owner() not in {"", database} and await contents.hashes():
        raise ConfigError([f"storage.files: {config.storage.files} has the contents of another database"])


async def _keep(backup: _Backup, contents: Contents, sha256: str, work: Path) -> None:
    content, small = work / "content", work / "content.jpg"
    await asyncio.to_thread(backup.extract, f"files/{sha256}", content)
    has_small = f"files/{sha256}.jpg" in backup.members
    if has_small:
        await asyncio.to_thread(backup.extract, f"files/{sha256}.jpg", small)
    await contents.keep(sha256, content, small if has_small else None)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[_Backup]:
    """Raises `ConfigError` for what is no backup, or one that this version does not know."""
    with contextlib.ExitStack() as stack:
        try:
            backup = _Backup(stack.enter_context(tarfile.open(source)))
            known = json.loads(backup.read(_ABOUT))["format"] == FORMAT
        except OSError as error:
            raise ConfigError([f"{source}: {error.strerror or error}"]) from error
        except (KeyError, TypeError, ValueError, tarfile.TarError) as error:
            raise ConfigError([f"{source}: this is no backup of pysfu, or not the whole of one"]) from error
        if not known:
            raise ConfigError([f"{source}: the backup was made by a newer version of pysfu"])
        yield backup


@contextlib.asynccontextmanager
async def _workplace(beside: Path) -> AsyncIterator[Path]:
    """A folder on the same disk as `beside`, gone at the end."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix=".sfu-", dir=beside))
        except OSError as error:
            raise start_fault(str(beside), error) from error
        yield Path(made)
