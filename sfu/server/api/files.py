"""Files: uploads by chunks, downloads that no browser runs. See docs/protocol.md, "Files"."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import quote

from sfu import clock
from sfu.errors import RequestError
from sfu.room import rank
from sfu.room.registry import Rooms
from sfu.server import costs
from sfu.server.api import schemas as s
from sfu.server.api.endpoint import Answer, Call, Endpoint, read
from sfu.server.costs import Cost
from sfu.server.queries import Queries
from sfu.server.storage import Storage
from sfu.server.uploads import CHUNK_BYTES, Uploads
from sfu.server.validation import LARGEST_ID
from sfu.server.wire import Json
from sfu.store import files, people
from sfu.store.files import StoredFile

MAX_NAME = 255

_NEVER_RUN = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=86400, immutable",
}


class Files:
    """The endpoints below `/api/v1/rooms/{room}/files`."""

    def __init__(self, storage: Storage, uploads: Uploads, rooms: Rooms, queries: Queries) -> None:
        self._queries = queries
        self._storage = storage
        self._store, self._contents = storage.store, storage.contents
        self._uploads = uploads
        self._rooms = rooms

    def endpoints(self) -> list[Endpoint]:
        every, one = "/rooms/{room}/files", "/rooms/{room}/files/{file}"
        return [
            Endpoint(
                method="GET",
                path=every,
                summary="A room's files that the caller may see, newest first; of closed rooms too",
                needs="moderate",
                cost=Cost(us=1000),
                do=self._list,
                query={"before_ms": s.NUMBER, "before": s.CURSOR, "limit": s.LIMIT},
                answer=s.answer(files=s.listing(s.FILE)),
                errors=("storage_failed",),
            ),
            Endpoint(
                method="POST",
                path=every,
                summary="Begin an upload of so many bytes",
                needs="chat",
                cost=Cost(us=1500),
                do=self._begin,
                status=201,
                body=s.closed({"name": s.text(MAX_NAME, 1), "bytes": s.integer(1, LARGEST_ID)}),
                answer=s.answer(id=s.ID, offset=s.NUMBER, chunk_bytes=s.NUMBER, name={"type": "string"}),
                errors=("too_large", "quota_exceeded", "rate_limited", "storage_failed"),
            ),
            Endpoint(
                method="PATCH",
                path=one,
                summary="Add the next bytes to an upload; with the last ones the answer has the `file`",
                needs="room",
                cost=Cost(us=2000),
                do=self._append,
                query={"offset": s.NUMBER},
                raw_body=True,
                answer=s.answer(id=s.ID, offset=s.NUMBER),
                errors=("bad_offset", "overloaded", "quota_exceeded", "storage_failed"),
            ),
            Endpoint(
                method="GET",
                path=one + "/upload",
                summary="How far an upload has come",
                needs="room",
                cost=costs.SMALL,
                do=self._offset,
                answer=s.answer(id=s.ID, offset=s.NUMBER, bytes=s.NUMBER),
            ),
            Endpoint(
                method="GET",
                path=one,
                summary="The content, always as an attachment",
                needs="follow",
                cost=Cost(us=1500),
                do=self._download,
                media_type="*/*",
                errors=("bad_request", "storage_failed"),
            ),
            Endpoint(
                method="GET",
                path=one + "/thumbnail",
                summary="A picture's small JPEG",
                needs="follow",
                cost=Cost(us=1500),
                do=self._thumbnail,
                media_type="image/jpeg",
                errors=("bad_request", "storage_failed"),
            ),
            Endpoint(
                method="GET",
                path=one + "/info",
                summary="What is known of a file",
                needs="follow",
                cost=Cost(us=1000),
                do=self._info,
                answer=s.answer(file=s.FILE),
                errors=("storage_failed",),
            ),
            Endpoint(
                method="DELETE",
                path=one,
                summary="Give up one's own upload; delete one's own file, or for who moderates any it sees",
                needs="room",
                cost=Cost(us=1500),
                do=self._delete,
                answer=s.answer(),
                errors=("storage_failed",),
            ),
        ]

    async def _list(self, call: Call) -> Json:
        async with self._queries.reading(call.account) as connection:
            found = await files.in_room(
                connection,
                call.room,
                call.caller.identity,
                limit=call.query["limit"],
                before=call.cursor(),
            )
        await self._queries.read(call.account, len(found))
        return {"files": [to_json(each) for each in found]}

    async def _begin(self, call: Call) -> Json:
        name, size = call.body["name"], call.body["bytes"]
        upload = await self._uploads.begin(
            call.room, call.caller.identity, call.caller.payer, name, size, clock.now_us()
        )
        return {"id": upload.id, "offset": 0, "chunk_bytes": CHUNK_BYTES, "name": upload.name}

    async def _offset(self, call: Call) -> Json:
        upload = self._uploads.find(call.room, call.caller.identity, call.part("file"))
        return {"id": upload.id, "offset": upload.offset, "bytes": upload.bytes}

    async def _append(self, call: Call) -> Json:
        upload = self._uploads.find(call.room, call.caller.identity, call.part("file"))
        if "offset" not in call.query:
            raise RequestError("bad_request", "offset must be a whole number")
        if (call.request.content_length or 0) > CHUNK_BYTES:
            raise RequestError("too_large", f"a chunk has at most {CHUNK_BYTES} bytes")
        chunk = await read(call.request, CHUNK_BYTES)
        file = await self._uploads.append(
            upload, call.query["offset"], chunk, clock.now_us(), clock.wall_ms()
        )
        if file is None:
            return {"id": upload.id, "offset": upload.offset}
        return {"id": file.id, "offset": file.bytes, "file": to_json(file)}

    async def _download(self, call: Call) -> Answer:
        file = await self._find(call)
        headers = _attachment(file.type, file.name)
        return await self._contents.respond(call.request, file.sha256, small=False, headers=headers)

    async def _thumbnail(self, call: Call) -> Answer:
        file = await self._find(call)
        headers = _attachment("image/jpeg", "thumbnail.jpg")
        return await self._contents.respond(call.request, file.sha256, small=True, headers=headers)

    async def _info(self, call: Call) -> Json:
        return {"file": to_json(await self._find(call))}

    async def _delete(self, call: Call) -> Json:
        if await self._uploads.drop(call.room, call.caller.identity, call.part("file")):
            return {}
        file = await self._find(call)
        if file.identity != call.caller.identity and not call.caller.grants.may_moderate:
            raise RequestError("not_allowed", "this is another's file")
        rank.check_author(
            call.caller.role, call.caller.identity, file.identity, self._rooms.owners(call.room)
        )
        if file.identity != call.caller.identity:
            detail = {"file": file.id, "of": file.identity}
            self._store.writes.submit(
                people.recorded(clock.wall_ms(), call.room, call.caller.identity, "file_delete", detail)
            )
        await self._storage.remove(functools.partial(files.delete, file=file))
        return {}

    async def _find(self, call: Call) -> StoredFile:
        async with self._queries.reading(call.account) as connection:
            found = await files.one(connection, call.room, call.part("file"), call.caller.identity)
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
