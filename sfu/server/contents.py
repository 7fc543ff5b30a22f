"""Where the contents of files lie: in a folder beside the database, or in an S3-compatible bucket.

A content is known by its hash, so what is there never changes and the same one is kept once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from sfu.config import StorageConfig
from sfu.durable import sync, write_private
from sfu.errors import ConfigError, RequestError, StartError
from sfu.server.door import FileResponse

log = logging.getLogger(__name__)

SCHEME = "s3://"
READ_BYTES = 65_536
"""Of a bucket's answer at once: what one download holds in memory."""
CONNECT_S, READ_S, TRIES = 5, 30, 3
"""A bucket that does not answer is a failed request, not a waiting one."""

ASIDE = "aside"
"""The folder, or what begins the keys, of contents that are set aside."""
OWNER = "database.id"
"""The file, or the key, that says whose contents these are."""

_PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses of a store that does its work at another time."""

_HASH = re.compile("[0-9a-f]{64}")


class Contents(Protocol):
    """Hashes are SHA-256 in hexadecimal digits."""

    async def keep(self, sha256: str, content: Path, small: Path | None) -> None:
        """Take the file `content`, and its picture `small`, and make them durable; both files are gone then.

        Raises `RequestError` `storage_failed`.
        """

    async def respond(
        self, request: web.Request, sha256: str, *, small: bool, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Send a content, or its small picture, or the range of it that is asked for.

        Raises `RequestError` `not_found` or `storage_failed`.
        """

    async def save(self, sha256: str, target: Path, *, small: bool = False) -> None:
        """Write a content, or its small picture, to the file `target`.

        Raises `RequestError` `not_found` or `storage_failed`.
        """

    async def remove(self, hashes: Iterable[str]) -> None:
        """Delete contents that no file has any more. Raises `RequestError` `storage_failed`."""

    async def hashes(self) -> set[str]:
        """What is there. Raises `RequestError` `storage_failed`."""

    async def owner(self) -> str:
        """The id of the database that these contents belong to, empty where none has come yet.

        Raises `RequestError` `storage_failed`.
        """

    async def claim(self, database: str) -> None:
        """Make them those of the database with that id. Raises `RequestError` `storage_failed`."""

    async def set_aside(self, hashes: Iterable[str], now_ms: int) -> None:
        """Put contents where nobody finds them for now. Raises `RequestError` `storage_failed`."""

    async def aside(self) -> dict[str, int]:
        """What is set aside, and since when (Unix milliseconds). Raises `RequestError` `storage_failed`."""

    async def bring_back(self, hashes: Iterable[str]) -> None:
        """Undo `set_aside`. Raises `RequestError` `storage_failed`."""

    async def forget(self, hashes: Iterable[str]) -> None:
        """Delete what is set aside. Raises `RequestError` `storage_failed`."""


class Folder:
    """Spread over folders: none grows too long to list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, sha256: str, content: Path, small: Path | None) -> None:
        await asyncio.to_thread(self._keep, sha256, content, small)

    async def respond(
        self, request: web.Request, sha256: str, *, small: bool, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        path = self._path(sha256, small=small)
        if not path.is_file():
            raise RequestError("not_found", "no such content")
        response = FileResponse(path, headers=dict(headers))
        response.content_type = headers["Content-Type"]
        return response

    async def save(self, sha256: str, target: Path, *, small: bool = False) -> None:
        source = self._path(sha256, small=small)
        if not source.is_file():
            raise RequestError("not_found", "no such content")
        with disk():
            await asyncio.to_thread(shutil.copyfile, source, target)

    async def remove(self, hashes: Iterable[str]) -> None:
        await asyncio.to_thread(self._remove, list(hashes))

    async def hashes(self) -> set[str]:
        return await asyncio.to_thread(self._hashes)

    async def owner(self) -> str:
        with disk():
            return await asyncio.to_thread(self._owner)

    async def claim(self, database: str) -> None:
        with disk():
            await asyncio.to_thread(self._claim, database)

    async def set_aside(self, hashes: Iterable[str], now_ms: int) -> None:
        await asyncio.to_thread(self._set_aside, list(hashes), now_ms)

    async def aside(self) -> dict[str, int]:
        return await asyncio.to_thread(self._aside)

    async def bring_back(self, hashes: Iterable[str]) -> None:
        await asyncio.to_thread(self._bring_back, list(hashes))

    async def forget(self, hashes: Iterable[str]) -> None:
        await asyncio.to_thread(self._forget, list(hashes))

    def _path(self, sha256: str, *, small: bool = False) -> Path:
        path = self._folder / sha256[:2] / sha256
        return path.with_suffix(".jpg") if small else path

    def _aside_path(self, sha256: str, *, small: bool = False) -> Path:
        path = self._folder / ASIDE / sha256
        return path.with_suffix(".jpg") if small else path

    def _keep(self, sha256: str, content: Path, small: Path | None) -> None:
        target = self._path(sha256)
        with disk():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if small is not None:
                sync(small)
                small.replace(self._path(sha256, small=True))
            sync(content)
            content.replace(target)
            sync(target.parent)

    def _remove(self, hashes: list[str]) -> None:
        with disk():
            for sha256, small in itertools.product(hashes, (True, False)):
                self._path(sha256, small=small).unlink(missing_ok=True)

    def _hashes(self) -> set[str]:
        with disk():
            return {path.stem for path in self._folder.glob("??/*") if _HASH.fullmatch(path.stem)}

    def _owner(self) -> str:
        try:
            return (self._folder / OWNER).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""

    def _claim(self, database: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._folder / OWNER, f"{database}\n".encode())

    def _set_aside(self, hashes: list[str], now_ms: int) -> None:
        with disk():
            for sha256, small in itertools.product(hashes, (True, False)):
                target = self._aside_path(sha256, small=small)
                target.parent.mkdir(exist_ok=True, mode=0o700)
                with contextlib.suppress(FileNotFoundError):
                    self._path(sha256, small=small).replace(target)
                    os.utime(target, (now_ms / 1000, now_ms / 1000))

    def _aside(self) -> dict[str, int]:
        with disk():
            return {
                path.stem: int(path.stat().st_mtime * 1000)
                for path in (self._folder / ASIDE).glob("*")
                if _HASH.fullmatch(path.stem)
            }

    def _bring_back(self, hashes: list[str]) -> None:
        with disk():
            for sha256, small in itertools.product(hashes, (True, False)):
                target = self._path(sha256, small=small)
                target.parent.mkdir(exist_ok=True, mode=0o700)
                with contextlib.suppress(FileNotFoundError):
                    self._aside_path(sha256, small=small).replace(target)

    def _forget(self, hashes: list[str]) -> None:
        with disk():
            for sha256, small in itertools.product(hashes, (True, False)):
                self._aside_path(sha256, small=small).unlink(missing_ok=True)


class Bucket:
    """`client` is botocore's, for a bucket that is known to be there."""

    def __init__(self, client: Any, bucket: str, prefix: str, failures: tuple[type[Exception], ...]) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._failures = failures

    async def keep(self, sha256: str, content: Path, small: Path | None) -> None:
        if small is not None:
            await self._put(self._key(sha256, small=True), small)
        await self._put(self._key(sha256), content)

    async def respond(
        self, request: web.Request, sha256: str, *, small: bool, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        asked = request.headers.get("Range")
        wanted = {"Range": asked} if asked else {}
        with self._refusals():
            found = await self._client.get_object(
                Bucket=self._bucket, Key=self._key(sha256, small=small), **wanted
            )
        response = web.StreamResponse(status=206 if "ContentRange" in found else 200, headers=dict(headers))
        response.headers["Accept-Ranges"] = "bytes"
        response.content_length = found["ContentLength"]
        if "ContentRange" in found:
            response.headers["Content-Range"] = found["ContentRange"]
        async with found["Body"] as body:
            await response.prepare(request)
            try:
                async for part in body.iter_chunks(READ_BYTES):
                    await response.write(part)
            except self._failures:
                # Its length is promised: a connection that breaks tells the client that it is not whole.
                if request.transport is not None:
                    request.transport.abort()
                return response
        await response.write_eof()
        return response

    async def save(self, sha256: str, target: Path, *, small: bool = False) -> None:
        with self._refusals():
            key = self._key(sha256, small=small)
            found = await self._client.get_object(Bucket=self._bucket, Key=key)
            async with found["Body"] as body:
                with await asyncio.to_thread(target.open, "wb") as file:
                    async for part in body.iter_chunks(READ_BYTES):
                        await asyncio.to_thread(file.write, part)

    async def remove(self, hashes: Iterable[str]) -> None:
        await self._delete(hashes, "")

    async def hashes(self) -> set[str]:
        return set(await self._listed(""))

    async def owner(self) -> str:
        try:
            with self._refusals():
                found = await self._client.get_object(Bucket=self._bucket, Key=self._prefix + OWNER)
                async with found["Body"] as body:
                    return str((await body.read()).decode("ascii", "replace")).strip()
        except RequestError as error:
            if error.code == "not_found":
                return ""
            raise

    async def claim(self, database: str) -> None:
        with self._refusals():
            await self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + OWNER, Body=f"{database}\n".encode()
            )

    async def set_aside(self, hashes: Iterable[str], now_ms: int) -> None:
        # The bucket has a clock of its own.
        await self._move(hashes, "", f"{ASIDE}/")

    async def aside(self) -> dict[str, int]:
        return await self._listed(f"{ASIDE}/")

    async def bring_back(self, hashes: Iterable[str]) -> None:
        await self._move(hashes, f"{ASIDE}/", "")

    async def forget(self, hashes: Iterable[str]) -> None:
        await self._delete(hashes, f"{ASIDE}/")

    async def _move(self, hashes: Iterable[str], source: str, target: str) -> None:
        for sha256, small in itertools.product(hashes, (True, False)):
            name = f"{sha256}{'.jpg' if small else ''}"
            old, new = f"{self._prefix}{source}{name}", f"{self._prefix}{target}{name}"
            try:
                with self._refusals():
                    copied = {"Bucket": self._bucket, "Key": old}
                    await self._client.copy_object(Bucket=self._bucket, Key=new, CopySource=copied)
                    await self._client.delete_object(Bucket=self._bucket, Key=old)
            except RequestError as error:
                if error.code != "not_found":
                    raise

    async def _delete(self, hashes: Iterable[str], place: str) -> None:
        for sha256, suffix in itertools.product(hashes, ("", ".jpg")):
            with self._refusals():
                key = f"{self._prefix}{place}{sha256}{suffix}"
                await self._client.delete_object(Bucket=self._bucket, Key=key)

    async def _listed(self, place: str) -> dict[str, int]:
        """Hashes right there, and when each came (Unix milliseconds). Others may keep something there too."""
        found: dict[str, int] = {}
        prefix = self._prefix + place
        with self._refusals():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/"
            )
            async for page in pages:
                for each in page.get("Contents", ()):
                    name = each["Key"].removeprefix(prefix).removesuffix(".jpg")
                    if _HASH.fullmatch(name):
                        found[name] = int(each["LastModified"].timestamp() * 1000)
        return found

    def _key(self, sha256: str, *, small: bool = False) -> str:
        return f"{self._prefix}{sha256}{'.jpg' if small else ''}"

    async def _put(self, key: str, path: Path) -> None:
        with path.open("rb") as file, self._refusals():
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=file)
        await asyncio.to_thread(path.unlink)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            code = _code(error)
            if code in {"NoSuchKey", "404"}:
                raise RequestError("not_found", "no such content") from None
            if code == "InvalidRange":
                raise RequestError("bad_request", "no such range") from None
            raise RequestError("storage_failed", "the bucket does not answer as it should") from error


@contextlib.asynccontextmanager
async def open_contents(config: StorageConfig, folder: Path) -> AsyncIterator[Contents]:
    """Where `storage.files` says.

    Raises `ConfigError` where that cannot be used, `StartError` where it cannot be had at this moment.
    """
    if not config.files:
        yield Folder(folder / "files")
        return
    bucket, _, prefix = config.files.removeprefix(SCHEME).partition("/")
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, SSLError
        from botocore.exceptions import ConnectionError as NoConnectionError
    except ImportError as error:
        raise ConfigError([f"storage.files: a bucket needs pysfu[s3]: {error}"]) from error
    # Many S3-compatible stores refuse the checksums that are asked of nobody else.
    settings = AioConfig(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"max_attempts": TRIES, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    opened = get_session().create_client(
        "s3",
        region_name=config.s3_region,
        endpoint_url=config.s3_endpoint or None,
        aws_access_key_id=config.s3_key or None,
        aws_secret_access_key=config.s3_secret or None,
        config=settings,
    )
    async with opened as client:
        try:
            await client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError, ValueError) as error:
            text = f"storage.files: the bucket {bucket} cannot be used: {error}"
            away = isinstance(error, (NoConnectionError, HTTPClientError)) and not isinstance(error, SSLError)
            if away or _status(error) in _PASSING:
                raise StartError(text, os.EX_TEMPFAIL) from error
            raise ConfigError([text]) from error
        key = prefix.strip("/")
        yield Bucket(client, bucket, f"{key}/" if key else "", (BotoCoreError, ClientError, OSError))


@contextlib.contextmanager
def disk() -> Iterator[None]:
    """Log what goes wrong with the folder of files (it may be full), and refuse one request for it."""
    try:
        yield
    except OSError as error:
        log.error("the folder of files has failed: %s", error.strerror)
        raise RequestError("storage_failed", "the folder of files does not answer as it should") from error


def _code(error: Exception) -> str:
    answer: Any = getattr(error, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))


def _status(error: Exception) -> int:
    """That of the store's answer; 0: there was none."""
    answer: Any = getattr(error, "response", {})
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
