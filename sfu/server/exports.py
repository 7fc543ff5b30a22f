"""Long answers that are made while they are sent: how many at once, and how slowly somebody may take them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping

from aiohttp import web

from sfu.errors import RequestError
from sfu.ids import RoomName

log = logging.getLogger(__name__)

MOST = 16
"""Exports of the whole server at once."""
MOST_OF_ROOM = 2
"""Of one room: nobody's exports are in the way of all others'."""
WRITE_S = 30.0
"""Seconds in which a part, some ten kilobytes, has to be taken."""


class Exports:
    """Of one server."""

    def __init__(self) -> None:
        self._open: Counter[RoomName] = Counter()

    async def send(
        self, request: web.Request, room: RoomName, headers: Mapping[str, str], parts: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        """Answer with `parts`, of which none may hold anything that others need while it is sent.

        A failure after the first part, or a client that does not read, breaks the connection: what came is
        not the whole then. Raises `RequestError` `overloaded`, or what the first part does.
        """
        with self._place(room):
            first = await anext(parts, b"")
            response = web.StreamResponse(headers=dict(headers))
            await response.prepare(request)
            try:
                await _write(response, first)
                async for part in parts:
                    await _write(response, part)
                async with asyncio.timeout(WRITE_S):
                    await response.write_eof()
            except ConnectionError:
                pass  # Who asked has gone.
            except (TimeoutError, RequestError) as error:
                log.warning("an export was broken off: %s", type(error).__name__, extra={"room": room})
                if request.transport is not None:
                    request.transport.abort()
            return response

    @contextlib.contextmanager
    def _place(self, room: RoomName) -> Iterator[None]:
        if self._open[room] >= MOST_OF_ROOM or self._open.total() >= MOST:
            raise RequestError("overloaded", "too many exports at once: try again")
        self._open[room] += 1
        try:
            yield
        finally:
            self._open[room] -= 1
            if not self._open[room]:
                del self._open[room]


async def _write(response: web.StreamResponse, part: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(part)
