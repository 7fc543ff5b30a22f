"""Accept connections to the web server: bound their number, and how long one may be without a request.

A connection needs no permission, so it must cost little: each host has its share, all together leave
descriptors for everything else, and one that does not finish the head of a request in time is dropped. Where
there are too many the oldest that has shown least gives way to the new one (`connections.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler

from sfu.hosts import host_key
from sfu.log import Seldom, peer_address
from sfu.server.connections import Connections, Rank

log = logging.getLogger(__name__)

HEAD_S = 10.0
"""How long TLS, and then the head of the first request, may take: slow networks need a second or two."""
IDLE_S = 75.0
"""How long a connection is kept for a next request: longer than proxies keep theirs."""
ACCEPTED_AT_ONCE = 128
PAUSE_S = 0.5
"""Without a descriptor for one more connection, accepting is tried again after this long."""

_NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


Context = Callable[[], ssl.SSLContext]
"""The TLS context of the moment."""


class Connection(asyncio.Protocol):
    """Passes everything on to the HTTP protocol, and drops a connection whose first request does not come.

    The next ones have `IDLE_S`, which the HTTP protocol sees to.
    """

    def __init__(self, inner: asyncio.Protocol, host: str, table: Connections) -> None:
        self.host = host
        self._inner = inner
        self._table = table
        self._opening: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def opened_by(self, opening: asyncio.Task[None]) -> None:
        """Until the connection is made (TLS takes its time) it is this task."""
        self._opening = opening

    def give_way(self) -> None:
        """End at once, for a newer connection."""
        if self._transport is not None:
            self._transport.abort()
        elif self._opening is not None:
            self._opening.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(HEAD_S, transport.abort)
        self._inner.connection_made(transport)

    def requested(self) -> None:
        """The head of a request is here."""
        self._in_time()
        self._table.rank(self, Rank.ASKING)

    def known(self) -> None:
        """The request that is under way has brought a good credential."""
        self._table.rank(self, Rank.KNOWN)

    def joined(self) -> None:
        """Somebody has joined over the connection, which stays as long as they do."""
        self._table.hold(self)

    def answered(self) -> None:
        """No request is under way any more."""
        self._table.rank(self, Rank.IDLE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        self._table.remove(self)
        self._inner.connection_lost(exc)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def connection_of(request: web.Request) -> Connection | None:
    """The connection that a request came over; None where it is gone."""
    transport = request.transport
    connection = transport.get_protocol() if transport is not None else None
    return connection if isinstance(connection, Connection) else None


@web.middleware
async def notice_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that its request has come, and that it is answered."""
    connection = connection_of(request)
    if connection is None:
        return await handler(request)
    connection.requested()
    try:
        response = await handler(request)
        # A client that is gone by now is aiohttp's affair, which finds it out as well.
        with contextlib.suppress(ConnectionError):
            # Before the connection counts as idle: a download is no less a request than what asked for it.
            await response.prepare(request)
            await response.write_eof()
        return response
    finally:
        connection.answered()


class FileResponse(web.FileResponse):
    """A file as an answer that is sent once: `notice_requests` prepares it, and aiohttp again after it."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None if self.prepared else await super().prepare(request)


class Door:
    """Accepts connections for `runner`: at most `most` at once, and `most_per_host` of one host (0: any)."""

    def __init__(self, runner: web.AppRunner, *, most: int, most_per_host: int) -> None:
        self._runner = runner
        self._seldom = Seldom(log)
        # One host does not fill the house.
        self.connections = Connections(most, min(most_per_host, max(1, most // 2)) if most_per_host else most)
        self._sockets: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()

    def listen(self, sockets: list[socket.socket], tls: Context | None) -> None:
        """Accept on listening sockets from now on; they are the door's. `tls` is asked each time."""
        for each in sockets:
            self._sockets.append(each)
            self._watch(each, tls)

    def close(self) -> None:
        """Accept nobody any more. Connections that are open stay the runner's."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            loop.remove_reader(each.fileno())
            each.close()
        self._sockets.clear()
        for task in self._opening:
            task.cancel()

    def _watch(self, listening: socket.socket, tls: Context | None) -> None:
        if listening in self._sockets:
            loop = asyncio.get_running_loop()
            loop.add_reader(listening.fileno(), self._accept, listening, tls)

    def _accept(self, listening: socket.socket, tls: Context | None) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NOTHING_LEFT:
                    raise
                self._seldom.warning("no descriptor is left for a connection: raise the limit (ulimit -n)")
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening.fileno())
                loop.call_later(PAUSE_S, self._watch, listening, tls)
                return
            accepted.setblocking(False)
            self._admit(accepted, host_key(address[0]), tls)

    def _admit(self, accepted: socket.socket, host: str, tls: Context | None) -> None:
        before = len(self.connections)
        if not self.connections.make_place(host):
            self._seldom.warning("too many connections: new ones are refused")
            accepted.close()
            return
        if len(self.connections) < before:
            self._seldom.warning(
                "too many connections: the oldest give way, the last time to one from %s", peer_address(host)
            )
        server = self._runner.server
        assert server is not None
        connection = Connection(server(), host, self.connections)
        self.connections.add(connection)
        task = asyncio.create_task(self._open(accepted, connection, tls))
        connection.opened_by(task)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        # One that is cancelled before it has begun closes nothing.
        task.add_done_callback(lambda done: accepted.close() if done.cancelled() else None)

    async def _open(self, accepted: socket.socket, connection: Connection, tls: Context | None) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=tls() if tls is not None else None,
                ssl_handshake_timeout=HEAD_S if tls is not None else None,
            )
        except BaseException as error:
            self.connections.remove(connection)
            accepted.close()
            if not isinstance(error, (OSError, asyncio.CancelledError)):
                raise
