"""Uploads that are under way: each grows by chunks at its end, and becomes a file when it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from sfu.config import StorageConfig
from sfu.errors import RequestError
from sfu.ids import random_text
from sfu.server.contents import disk
from sfu.server.file_types import SNIFFED_BYTES, safe_name, sniff
from sfu.server.quotas import Payer, Quotas
from sfu.server.storage import Storage
from sfu.server.thumbnails import Thumbnails
from sfu.store import files
from sfu.store.files import StoredFile

CHUNK_BYTES = 1_048_576
"""Most of one request: what is lost when the network drops, and what one request holds in memory."""
MAX_UPLOADS = 4
"""Of one person at once."""
MAX_UPLOADS_OF_ADDRESS = 128
"""Of one address at once where nobody needs a token: a class of thirty behind it."""
ABANDONED_US = 3_600_000_000
"""An upload that nobody touched for so long is given up."""


@dataclass(slots=True)
class Upload:
    """`offset` bytes of `bytes` are here, `taken` with those that are on their way to the disk."""

    id: str
    room: str
    identity: str
    payer: Payer
    name: str
    bytes: int
    path: Path
    touched_us: int
    offset: int = 0
    taken: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Uploads:
    """They outlive a lost connection, not the server."""

    def __init__(self, storage: Storage, config: StorageConfig, quotas: Quotas, rng: random.Random) -> None:
        self._storage = storage
        self._quotas = quotas
        self._config = config
        self._rng = rng
        self._uploads: dict[str, Upload] = {}
        self._entering = asyncio.Lock()
        self.thumbnails = Thumbnails()
        self._folder = storage.store.folder / "uploads"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    def close(self) -> None:
        """The server stops: no picture is waited for."""
        self.thumbnails.close()

    async def begin(
        self, room: str, identity: str, payer: Payer, name: str, size: int, now_us: int
    ) -> Upload:
        """What is announced counts against its sender's place, and only what comes against the room's.

        Raises `RequestError` `too_large`, `quota_exceeded`, `rate_limited` or `storage_failed`."""
        if size > self._config.file_bytes:
            raise RequestError("too_large", f"a file has at most {self._config.file_bytes} bytes")
        self._give_up(now_us)
        # Two that begin at once must not both have the last place.
        async with self._entering:
            await self._check_place(room, identity, payer, size)
            upload_id = "FI_" + random_text(self._rng, 20)
            path = self._folder / upload_id
            with disk():
                await asyncio.to_thread(path.touch, mode=0o600)
            upload = Upload(upload_id, room, identity, payer, safe_name(name), size, path, now_us)
            self._uploads[upload_id] = upload
            return upload

    async def _check_place(self, room: str, identity: str, payer: Payer, size: int) -> None:
        self._quotas.check_file(payer, size)
        if sum(payer.host != "" and each.payer.host == payer.host for each in self._uploads.values()) >= (
            MAX_UPLOADS_OF_ADDRESS
        ):
            raise RequestError("rate_limited", "too many uploads at once from your address")
        mine = [each for each in self._uploads.values() if each.identity == identity]
        if len(mine) >= MAX_UPLOADS:
            raise RequestError("rate_limited", "too many uploads at once")
        # Before the query: what becomes a file meanwhile is counted at least once.
        coming = self._coming(room)
        mine_coming = sum(each.bytes for each in mine)
        async with self._storage.store.reading() as connection:
            in_room, of_person = await files.used(connection, room, identity)
        if in_room + coming + size > self._config.room_bytes:
            raise room_is_full()
        if of_person + mine_coming + size > self._config.person_bytes:
            raise RequestError("quota_exceeded", "you have no place left for files")

    def find(self, room: str, identity: str, upload: str) -> Upload:
        """Raises `RequestError` `not_found`, for another's too."""
        found = self._uploads.get(upload)
        if found is None or (found.room, found.identity) != (room, identity):
            raise RequestError("not_found", "no such upload")
        return found

    async def drop(self, room: str, identity: str, upload: str) -> bool:
        """Give up one's own upload; whether there was one: it may be a file by now."""
        found = self._uploads.get(upload)
        if found is None or (found.room, found.identity) != (room, identity):
            return False
        async with found.lock:
            if self._uploads.pop(upload, None) is None:
                return False
            _delete(found)
            return True

    async def append(
        self, upload: Upload, offset: int, chunk: bytes, now_us: int, now_ms: int
    ) -> StoredFile | None:
        """Add a chunk at `offset`; the file, durable, when it was the last one.

        Raises `RequestError` `bad_offset` where the upload ends elsewhere, `too_large` past its end,
        `storage_failed`.
        """
        async with upload.lock:
            if offset != upload.offset or upload.id not in self._uploads:
                raise RequestError("bad_offset", f"the upload has {upload.offset} bytes")
            if offset + len(chunk) > upload.bytes:
                raise RequestError("too_large", "more than was announced")
            upload.touched_us = now_us
            upload.taken = offset + len(chunk)
            try:
                await self._check_room(upload, len(chunk))
                with disk():
                    await asyncio.to_thread(_append, upload.path, offset, chunk)
                if upload.taken == upload.bytes:
                    return await self._finish(upload, now_ms)
                upload.offset = upload.taken
                return None
            finally:
                # What failed may be sent again from where it was.
                upload.taken = upload.offset

    def _coming(self, room: str) -> int:
        return sum(each.taken for each in self._uploads.values() if each.room == room)

    async def _check_room(self, upload: Upload, more: int) -> None:
        """There may be no place left by now: then the upload is given up."""
        # Before the query: what becomes a file meanwhile is counted at least once.
        coming = self._coming(upload.room)
        async with self._storage.store.reading() as connection:
            in_room, _ = await files.used(connection, upload.room, upload.identity)
        try:
            if in_room + coming > self._config.room_bytes:
                raise room_is_full()
            self._quotas.file_came(upload.payer, more)
        except RequestError:
            del self._uploads[upload.id]
            _delete(upload)
            raise

    async def _finish(self, upload: Upload, now_ms: int) -> StoredFile:
        """Make a file of an upload that is whole."""
        small = upload.path.with_suffix(".jpg")
        with disk():
            kind, sha256 = await asyncio.to_thread(_look, upload.path)
        size = None
        if kind.startswith("image/"):
            size = await self.thumbnails.make(upload.payer.host or upload.identity, upload.path, small)
        file = StoredFile(
            id=upload.id,
            room=upload.room,
            identity=upload.identity,
            name=upload.name,
            type=kind,
            bytes=upload.bytes,
            sha256=sha256,
            width=size[0] if size else None,
            height=size[1] if size else None,
            created_ms=now_ms,
        )
        try:
            await self._storage.keep(file, upload.path, small if small.is_file() else None)
        finally:
            # Counted until its row is. Where its content was taken but no row came of it, it begins anew.
            if not upload.path.exists():
                del self._uploads[upload.id]
        return file

    def _give_up(self, now_us: int) -> None:
        for upload in list(self._uploads.values()):
            if now_us - upload.touched_us > ABANDONED_US and not upload.lock.locked():
                del self._uploads[upload.id]
                _delete(upload)


def room_is_full() -> RequestError:
    return RequestError("quota_exceeded", "the room has no place left for files")


def _delete(upload: Upload) -> None:
    upload.path.unlink(missing_ok=True)
    upload.path.with_suffix(".jpg").unlink(missing_ok=True)


def _append(path: Path, offset: int, chunk: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(chunk)


def _look(path: Path) -> tuple[str, str]:
    """The type of what came, and its hash."""
    with path.open("rb") as file:
        kind = sniff(file.read(SNIFFED_BYTES))
        file.seek(0)
        return kind, hashlib.file_digest(file, "sha256").hexdigest()
