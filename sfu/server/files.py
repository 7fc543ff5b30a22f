"""Files over HTTP: uploads by chunks, downloads that no browser runs. See docs/protocol.md, "Files"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from sfu import clock
from sfu.errors import RequestError
from sfu.room.permissions import Grants
from sfu.server import validation as v
from sfu.server.storage import Storage
from sfu.server.uploads import CHUNK_BYTES, Uploads
from sfu.store import files
from sfu.store.files import StoredFile

MAX_NAME = 255

_STATUS = {
    "bad_request": 400,
    "bad_token": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "wrong_room": 403,
    "not_allowed": 403,
    "not_found": 404,
    "bad_offset": 409,
    "too_large": 413,
    "locked_out": 429,
    "rate_limited": 429,
    "overloaded": 503,
    "storage_failed": 503,
    "quota_exceeded": 507,
}
_NEVER_RUN = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=86400, immutable",
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, as the room or a token knows it."""

    identity: str
    grants: Grants


Who = Callable[[web.Request, str], Awaitable[Person]]
"""Who asks something about a room; raises `RequestError` where that is nobody."""


class Files:
    """The routes below `/api/v1/rooms/{room}/files`."""

    def __init__(self, storage: Storage, uploads: Uploads, who: Who) -> None:
        self._store, self._contents = storage.store, storage.contents
        self._uploads = uploads
        self._who = who

    def routes(self) -> list[web.RouteDef]:
        base = "/api/v1/rooms/{room}/files"
        return [
            web.post(base, self._guarded(self._begin)),
            web.get(base + "/{file}/upload", self._guarded(self._offset)),
            web.patch(base + "/{file}", self._guarded(self._append)),
            web.get(base + "/{file}", self._guarded(self._download)),
            web.get(base + "/{file}/info", self._guarded(self._info)),
            web.get(base + "/{file}/thumbnail", self._guarded(self._thumbnail)),
        ]

    def _guarded(
        self, answer: Callable[[web.Request, str, Person], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            room = request.match_info["room"]
            try:
                return await answer(request, room, await self._who(request, room))
            except RequestError as error:
                body = {"error": {"code": error.code, "message": error.message}}
                return web.json_response(body, status=_STATUS.get(error.code, 400))

        return guarded

    async def _begin(self, request: web.Request, room: str, person: Person) -> web.StreamResponse:
        if not person.grants.may_chat:
            raise RequestError("not_allowed", "no right to chat")
        wanted = v.parse_object(await _text(request))
        name = v.text(wanted, "name", shortest=1, longest=MAX_NAME)
        size = v.integer(wanted, "bytes", lowest=1, highest=v.LARGEST_ID)
        upload = await self._uploads.begin(room, person.identity, name, size, clock.now_us())
        answer = {"id": upload.id, "offset": 0, "chunk_bytes": CHUNK_BYTES, "name": upload.name}
        return web.json_response(answer, status=201)

    async def _offset(self, request: web.Request, room: str, person: Person) -> web.StreamResponse:
        upload = self._uploads.find(room, person.identity, request.match_info["file"])
        return web.json_response({"id": upload.id, "offset": upload.offset, "bytes": upload.bytes})

    async def _append(self, request: web.Request, room: str, person: Person) -> web.StreamResponse:
        upload = self._uploads.find(room, person.identity, request.match_info["file"])
        given = request.query.get("offset", "")
        if not given.isascii() or not given.isdigit() or len(given) > 15:
            raise v.bad("offset must be a whole number")
        if (request.content_length or 0) > CHUNK_BYTES:
            raise RequestError("too_large", f"a chunk has at most {CHUNK_BYTES} bytes")
        chunk = await _read(request, CHUNK_BYTES)
        file = await self._uploads.append(upload, int(given), chunk, clock.now_us(), clock.wall_ms())
        if file is None:
            return web.json_response({"id": upload.id, "offset": upload.offset})
        return web.json_response({"id": file.id, "offset": file.bytes, "file": to_json(file)})

    async def _download(self, request: web.Request, room: str, person: Person) -> web.StreamResponse:
        file = await self._find(request, room)
        headers = _attachment(file.type, file.name)
        return await self._contents.respond(request, file.sha256, small=False, headers=headers)

    async def _thumbnail(self, request: web.Request, room: str, person: Person) -> web.StreamResponse:
        file = await self._find(request, room)
        headers = _attachment("image/jpeg", "thumbnail.jpg")
        return await self._contents.respond(request, file.sha256, small=True, headers=headers)

    async def _info(self, request: web.Request, room: str, person: Person) -> web.StreamResponse:
        return web.json_response({"file": to_json(await self._find(request, room))})

    async def _find(self, request: web.Request, room: str) -> StoredFile:
        async with self._store.reading() as connection:
            found = await files.one(connection, room, request.match_info["file"])
        if found is None:
            raise RequestError("not_found", "no such file")
        return found


def to_json(file: StoredFile) -> dict[str, Any]:
    """The protocol's `file` object."""
    return {
        "id": file.id,
        "name": file.name,
        "type": file.type,
        "bytes": file.bytes,
        "identity": file.identity,
        "width": file.width,
        "height": file.height,
        "created_at_ms": file.created_ms,
    }


def _attachment(media_type: str, name: str) -> dict[str, str]:
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "._- " else "_" for c in name)
    # Both forms: old programs read the first, all others the second. Spec: RFC 6266 section 4.3.
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return {**_NEVER_RUN, "Content-Disposition": disposition, "Content-Type": media_type}


async def _text(request: web.Request) -> str:
    try:
        return (await _read(request, 4096)).decode()
    except UnicodeDecodeError:
        raise v.bad("not UTF-8") from None


async def _read(request: web.Request, most: int) -> bytes:
    """The body, which may come without a length. Raises `RequestError` `too_large`."""
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > most:
            raise RequestError("too_large", f"at most {most} bytes")
    return bytes(body)
