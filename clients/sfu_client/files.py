"""Files of a room: uploads and downloads that tell how far they are and go on after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from sfu_client.errors import RefusedError, UnavailableError
from sfu_client.model import ChatMessage

RETRIES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses after failures in a row; whatever arrives begins anew."""

LONGEST_S = 60.0
"""The longest pause that a server may ask for."""

DROP_S = 2.0
"""How long an upload that ends early may take to say so."""

PASSING = frozenset({"bad_offset", "storage_failed", "overloaded", "rate_limited"})
"""Refusals that another try may not meet."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are over and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """`type` is what the server has found in the content; `width` and `height` are None but of pictures."""

    id: str
    name: str
    type: str
    bytes: int
    identity: str
    width: int | None
    height: int | None

    @classmethod
    def parse(cls, message: dict[str, Any]) -> FileInfo:
        """From the protocol's `file` object; raises `KeyError` or `TypeError` where it is none."""
        return cls(
            id=str(message["id"]),
            name=str(message["name"]),
            type=str(message["type"]),
            bytes=int(message["bytes"]),
            identity=str(message.get("identity") or ""),
            width=message.get("width"),
            height=message.get("height"),
        )


class Door(Protocol):
    """How requests of this membership are made."""

    def http(self) -> tuple[aiohttp.ClientSession, str, dict[str, Any]]:
        """The session, the server's root, and each request's options. Raises `UnavailableError`."""


class Chat(Protocol):
    """Sends a message."""

    def __call__(self, text: str, to: str | None = None, *, file: str) -> Awaitable[ChatMessage]: ...


class Files:
    """The files of one room, as `room.files`."""

    def __init__(self, room: str, door: Door, chat: Chat) -> None:
        self._path = f"/api/v1/rooms/{quote(room, safe='')}/files"
        self._door = door
        self._chat = chat

    async def send(
        self,
        path: str | os.PathLike[str],
        text: str = "",
        *,
        to: str | None = None,
        progress: Progress | None = None,
    ) -> ChatMessage:
        """Upload the file at `path` and show it in the chat, with a text, to everybody or to one.

        Raises what `upload` raises.
        """
        info = await self.upload(path, progress=progress)
        return await self._chat(text, to, file=info.id)

    async def upload(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> FileInfo:
        """Upload the file at `path`; after a loss it goes on from where the server is.

        Where it is cancelled or fails, nothing of it stays with the server.

        Raises `RefusedError` (`too_large`, `quota_exceeded`, `not_allowed`), `UnavailableError` when the
        server cannot be reached for long, `OSError` when the file cannot be read.
        """
        source = Path(path)
        size = (await asyncio.to_thread(source.stat)).st_size
        begun = await self._begin(source.name, size)
        try:
            return await self._append(source, size, str(begun["id"]), int(begun["chunk_bytes"]), progress)
        except BaseException:
            # It would take one of the few places for an hour.
            with contextlib.suppress(UnavailableError, RefusedError, TimeoutError):
                async with asyncio.timeout(DROP_S):
                    await self._json("DELETE", f"/{begun['id']}")
            raise

    async def _begin(self, name: str, size: int) -> dict[str, Any]:
        """Begin an upload; where the answer is lost, another try gets the same one."""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        failures = 0
        while True:
            try:
                return await self._json("POST", "", headers=key, json={"name": name, "bytes": size})
            except (UnavailableError, RefusedError) as error:
                failures = await _again(error, failures)

    async def _append(
        self, source: Path, size: int, file: str, step: int, progress: Progress | None
    ) -> FileInfo:
        offset, failures = 0, 0
        while True:
            try:
                chunk = await asyncio.to_thread(_read, source, offset, step)
                answer = await self._json("PATCH", f"/{file}", params={"offset": offset}, data=chunk)
                offset, failures = int(answer["offset"]), 0
                if progress is not None:
                    progress(offset, size)
                if "file" in answer:
                    return FileInfo.parse(answer["file"])
            except (UnavailableError, RefusedError) as error:
                failures = await _again(error, failures)
                reached = await self._offset(file, offset)
                if reached is None:
                    return await self.info(file)
                offset = reached

    async def info(self, file: str) -> FileInfo:
        """What is known of a file. Raises `RefusedError`, `UnavailableError`."""
        return FileInfo.parse((await self._json("GET", f"/{file}/info"))["file"])

    async def download(
        self, file: str, path: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> Path:
        """Save a file at `path`, or under its own name where that is a folder; returns where it is.

        What has come lies beside it in a `.part` until it is whole; a later call goes on from there. Raises
        `RefusedError`, `UnavailableError` and `OSError`.
        """
        info = await self.info(file)
        target = Path(path)
        if await asyncio.to_thread(target.is_dir):
            target /= Path(info.name).name or info.id
        part = target.with_name(f"{target.name}.{info.id}.part")
        failures = 0
        while (have := await asyncio.to_thread(_size, part)) < info.bytes:
            try:
                await self._fetch(info, part, have, progress)
                failures = 0
            except (UnavailableError, RefusedError) as error:
                failures = await _again(error, failures)
        await asyncio.to_thread(os.replace, part, target)
        return target

    async def _fetch(self, info: FileInfo, part: Path, have: int, progress: Progress | None) -> None:
        http, root, options = self._door.http()
        headers = options.pop("headers") | {"Range": f"bytes={have}-"}
        # Kept open, so that bytes are only ever added where the server continues.
        output = await asyncio.to_thread(part.open, "ab" if have else "wb")
        try:
            async with http.get(f"{root}{self._path}/{info.id}", headers=headers, **options) as answer:
                await _check(answer)
                if have and answer.status != 206:
                    await asyncio.to_thread(output.truncate, 0)
                    have = 0
                async for chunk in answer.content.iter_chunked(1 << 18):
                    await asyncio.to_thread(output.write, chunk)
                    have += len(chunk)
                    if progress is not None:
                        progress(have, info.bytes)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError(str(error) or type(error).__name__) from error
        finally:
            await asyncio.to_thread(output.close)

    async def _offset(self, file: str, known: int) -> int | None:
        """How far the server is: where it cannot be asked just now, what was known; None: it has ended."""
        try:
            return int((await self._json("GET", f"/{file}/upload"))["offset"])
        except UnavailableError:
            return known
        except RefusedError as error:
            if error.code != "not_found":
                raise
            return None

    async def _json(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        http, root, options = self._door.http()
        headers = options.pop("headers") | body.pop("headers", {})
        try:
            async with http.request(
                method, f"{root}{self._path}{path}", headers=headers, **options, **body
            ) as answer:
                await _check(answer)
                found: dict[str, Any] = await answer.json()
                return found
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError(str(error) or type(error).__name__) from error


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    try:
        error = (await answer.json())["error"]
        code, message = str(error["code"]), str(error["message"])
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        raise UnavailableError(f"the server answered {answer.status}") from None
    after_s = answer.headers.get("Retry-After", "")
    details = {"retry_after_ms": int(after_s) * 1000} if after_s.isascii() and after_s.isdigit() else {}
    raise RefusedError(code, message, details)


async def _again(error: UnavailableError | RefusedError, failures: int) -> int:
    """Pause and count, or raise `error` where trying again is of no use."""
    lasting = isinstance(error, RefusedError) and error.code not in PASSING
    if lasting or failures >= len(RETRIES_S):
        raise error
    asked_s = error.details.get("retry_after_ms", 0) / 1000 if isinstance(error, RefusedError) else 0
    await asyncio.sleep(max(RETRIES_S[failures], min(asked_s, LONGEST_S)))
    return failures + 1


def _read(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
