"""ICE over TCP, passive: for networks that let no UDP out. Spec: RFC 6544, framing RFC 4571."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence

from sfu.hosts import endpoint, host_key

FRAME_HEADER = 2
MAX_FRAME_BYTES = 2048
"""As for UDP: whatever WebRTC sends fits a path MTU, though the framing would allow 64 KiB."""
MAX_BUFFERED_BYTES = 1_048_576
"""Half a second of 16 Mbps; beyond it packets are dropped as a full queue would."""
PROOF_TIMEOUT_S = 5.0
"""A connection that has not passed a connectivity check by then is closed."""
MAX_CONNECTIONS = 2000
MAX_UNPROVEN_PER_HOST = 64
"""Connections of one address that have passed no check yet; a whole office may share an address."""


class TcpPath(asyncio.Protocol):
    """One accepted connection, a path like a UDP address is."""

    protocol = "tcp"

    def __init__(self, received: Callable[[TcpPath, bytes], None], opened: Callable[[TcpPath], bool],
                 closed: Callable[[TcpPath], None], drop: Callable[[str], None]) -> None:  # fmt: skip
        self.host = ""
        self.port = 0
        self.proven = False
        self._received = received
        self._opened = opened
        self._closed = closed
        self._drop = drop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def key(self) -> TcpPath:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.host, self.port = transport.get_extra_info("peername")[:2]
        if not self._opened(self):
            transport.abort()
            return
        self._deadline = asyncio.get_running_loop().call_later(PROOF_TIMEOUT_S, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = None
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames; one longer than `MAX_FRAME_BYTES` ends the connection."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= FRAME_HEADER:
            size = int.from_bytes(buffer[at : at + FRAME_HEADER], "big")
            if size > MAX_FRAME_BYTES:
                self._drop("tcp-frame-too-long")
                buffer.clear()
                self.close()
                return
            end = at + FRAME_HEADER + size
            if len(buffer) < end:
                break
            if size:
                self._received(self, bytes(buffer[at + FRAME_HEADER : end]))
            at = end
        del buffer[:at]

    def send(self, data: bytes) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing():
            self._drop("tcp-closed")
            return False
        if transport.get_write_buffer_size() > MAX_BUFFERED_BYTES:
            self._drop("send-buffer-full")
            return False
        transport.write(len(data).to_bytes(FRAME_HEADER, "big") + data)
        return True

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _late(self) -> None:
        if not self.proven:
            self._drop("tcp-unproven")
            self.close()


def make_place(paths: dict[TcpPath, None], host: str, counters: Counter[str]) -> bool:
    """Let the oldest connection without a check give way where a new one of `host` is too many.

    `paths` are the connections, oldest first. Returns whether there is a place for the new one.
    """
    unproven = [each for each in paths if not each.proven]
    key = host_key(host)
    of_host = [each for each in unproven if host_key(each.host) == key]
    if len(of_host) < MAX_UNPROVEN_PER_HOST:
        if len(paths) < MAX_CONNECTIONS:
            return True
        of_host = unproven
    if not of_host:
        counters["tcp-refused"] += 1
        return False
    counters["tcp-gave-way"] += 1
    del paths[of_host[0]]
    of_host[0].close()
    return True


async def listen(
    made: Callable[[], TcpPath],
    beside: Sequence[socket.socket],
    given: Sequence[socket.socket],
    servers: list[asyncio.Server],
) -> None:
    """Accept connections on the sockets `given`, else on the address and port of each of those `beside`.

    Adds to `servers`. Raises `OSError`, which names address and port, where a port is taken.
    """
    loop = asyncio.get_running_loop()
    for sock in given:
        servers.append(await loop.create_server(made, sock=sock))
    for sock in [] if given else beside:
        host, port = sock.getsockname()[:2]
        try:
            servers.append(await loop.create_server(made, host, port, family=sock.family))
        except OSError as error:
            error.filename = f"TCP {endpoint(host, port)}"
            raise
