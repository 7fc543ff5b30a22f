"""Where the contents of files lie: in a folder beside the database, or in an S3-compatible bucket.

A content is known by its hash, so what is there never changes and the same one is kept once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from sfu.config import StorageConfig
from sfu.durable import sync
from sfu.errors import ConfigError, RequestError
from sfu.server.door import FileResponse

log = logging.getLogger(__name__)

SCHEME = "s3://"
READ_BYTES = 65_536
"""Of a bucket's answer at once: what one download holds in memory."""
CONNECT_S, READ_S, TRIES = 5, 30, 3
"""A bucket that does not answer is a failed request, not a waiting one."""

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

    async def save(self, sha256: str, target: Path) -> None:
        """Write a content to the file `target`. Raises `RequestError` `not_found` or `storage_failed`."""

    async def remove(self, hashes: Iterable[str]) -> None:
        """Delete contents that no file has any more. Raises `RequestError` `storage_failed`."""

    async def hashes(self, since_ms: int) -> set[str]:
        """What came after `since_ms` (Unix milliseconds). Raises `RequestError` `storage_failed`."""


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

    async def save(self, sha256: str, target: Path) -> None:
        source = self._path(sha256)
        if not source.is_file():
            raise RequestError("not_found", "no such content")
        with disk():
            await asyncio.to_thread(shutil.copyfile, source, target)

    async def remove(self, hashes: Iterable[str]) -> None:
        await asyncio.to_thread(self._remove, list(hashes))

    async def hashes(self, since_ms: int) -> set[str]:
        return await asyncio.to_thread(self._hashes, since_ms)

    def _path(self, sha256: str, *, small: bool = False) -> Path:
        path = self._folder / sha256[:2] / sha256
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
            for sha256 in hashes:
                for small in (False, True):
                    self._path(sha256, small=small).unlink(missing_ok=True)

    def _hashes(self, since_ms: int) -> set[str]:
        with disk():
            return {
                path.stem
                for path in self._folder.glob("??/*")
                if _HASH.fullmatch(path.stem) and path.stat().st_mtime * 1000 > since_ms
            }


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

    async def save(self, sha256: str, target: Path) -> None:
        with self._refusals():
            found = await self._client.get_object(Bucket=self._bucket, Key=self._key(sha256))
            async with found["Body"] as body:
                with await asyncio.to_thread(target.open, "wb") as file:
                    async for part in body.iter_chunks(READ_BYTES):
                        await asyncio.to_thread(file.write, part)

    async def remove(self, hashes: Iterable[str]) -> None:
        for sha256 in hashes:
            for small in (False, True):
                with self._refusals():
                    await self._client.delete_object(Bucket=self._bucket, Key=self._key(sha256, small=small))

    async def hashes(self, since_ms: int) -> set[str]:
        found: set[str] = set()
        with self._refusals():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            async for page in pages:
                found |= {
                    each["Key"].removeprefix(self._prefix).removesuffix(".jpg")
                    for each in page.get("Contents", ())
                    if each["LastModified"].timestamp() * 1000 > since_ms
                }
        # Others may keep something in the bucket too.
        return {name for name in found if _HASH.fullmatch(name)}

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
    """Where `storage.files` says. Raises `ConfigError` where that cannot be used."""
    if not config.files:
        yield Folder(folder / "files")
        return
    bucket, _, prefix = config.files.removeprefix(SCHEME).partition("/")
    try:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session
        from botocore.exceptions import BotoCoreError, ClientError
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
            raise ConfigError([f"storage.files: the bucket {bucket} cannot be used: {error}"]) from error
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
