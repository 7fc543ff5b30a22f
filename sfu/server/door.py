"""Connections to the web server: how many there may be, and how long one may say nothing of use.

Who connects needs nobody's leave, so a connection must cost little: each host has its share, all together
leave descriptors for everything else, and one that does not finish the head of a request in time is dropped.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from sfu import clock
from sfu.hosts import host_key
from sfu.log import peer_address

log = logging.getLogger(__name__)

HEAD_S = 10.0
"""How long TLS, and then the head of the first request, may take: slow networks need a second or two."""
IDLE_S = 75.0
"""How long a connection is kept for a next request: longer than proxies keep theirs."""
ACCEPTED_AT_ONCE = 128
PAUSE_S = 0.5
"""Without a descriptor for one more connection, accepting is tried again after this long."""
SAY_EVERY_US = 60_000_000
"""What strangers cause is logged at most this often."""

_NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connection(asyncio.Protocol):
    """Passes everything on to the HTTP protocol, and drops a connection whose first request does not come.

    The next ones have `IDLE_S`, which the HTTP protocol sees to.
    """

    def __init__(self, inner: asyncio.Protocol, ended: Callable[[], None]) -> None:
        self.made = False
        self._inner = inner
        self._ended = ended
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.made = True
        self._deadline = asyncio.get_running_loop().call_later(HEAD_S, transport.abort)
        self._inner.connection_made(transport)

    def requested(self) -> None:
        """The head of a request is here."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.requested()
        self._ended()
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


@web.middleware
async def notice_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that its request has come."""
    transport = request.transport
    connection = transport.get_protocol() if transport is not None else None
    if isinstance(connection, Connection):
        connection.requested()
    return await handler(request)


class Door:
    """Accepts connections for `runner`: at most `most` at once, and `most_per_host` of one host (0: any)."""

    def __init__(self, runner: web.AppRunner, *, most: int, most_per_host: int) -> None:
        self._runner = runner
        self._most = most
        # One host does not fill the house.
        self._most_per_host = min(most_per_host, max(1, most // 2)) if most_per_host else most
        self._hosts: Counter[str] = Counter()
        self._sockets: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._said_us: dict[str, int] = {}

    def listen(self, sockets: list[socket.socket], ssl_context: ssl.SSLContext | None) -> None:
        """Accept on listening sockets from now on; they are the door's."""
        for each in sockets:
            self._sockets.append(each)
            self._watch(each, ssl_context)

    def close(self) -> None:
        """Accept nobody any more. Connections that are open stay the runner's."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            loop.remove_reader(each.fileno())
            each.close()
        self._sockets.clear()
        for task in self._opening:
            task.cancel()

    def _watch(self, listening: socket.socket, ssl_context: ssl.SSLContext | None) -> None:
        if listening in self._sockets:
            loop = asyncio.get_running_loop()
            loop.add_reader(listening.fileno(), self._accept, listening, ssl_context)

    def _accept(self, listening: socket.socket, ssl_context: ssl.SSLContext | None) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NOTHING_LEFT:
                    raise
                self._say("no descriptor is left for a connection: raise the limit (ulimit -n)")
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening.fileno())
                loop.call_later(PAUSE_S, self._watch, listening, ssl_context)
                return
            accepted.setblocking(False)
            self._admit(accepted, host_key(address[0]), ssl_context)

    def _admit(self, accepted: socket.socket, host: str, ssl_context: ssl.SSLContext | None) -> None:
        if self._hosts.total() >= self._most:
            self._say("too many connections: new ones are refused")
        elif self._hosts[host] >= self._most_per_host:
            self._say("too many connections from %s", peer_address(host))
        else:
            self._hosts[host] += 1
            task = asyncio.create_task(self._open(accepted, host, ssl_context))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
            return
        accepted.close()

    async def _open(self, accepted: socket.socket, host: str, ssl_context: ssl.SSLContext | None) -> None:
        made: list[Connection] = []

        def make() -> Connection:
            server = self._runner.server
            assert server is not None
            made.append(Connection(server(), lambda: self._left(host)))
            return made[0]

        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                make, accepted, ssl=ssl_context, ssl_handshake_timeout=HEAD_S if ssl_context else None
            )
        except BaseException as error:
            if not made or not made[0].made:
                self._left(host)
            accepted.close()
            if not isinstance(error, (OSError, asyncio.CancelledError)):
                raise

    def _left(self, host: str) -> None:
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]

    def _say(self, message: str, *details: str) -> None:
        now_us = clock.now_us()
        if now_us - self._said_us.get(message, -SAY_EVERY_US) >= SAY_EVERY_US:
            self._said_us[message] = now_us
            log.warning(message, *details)
