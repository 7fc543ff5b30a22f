"""UDP as the port uses it: a path over one of its sockets, and their buffers."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class UdpPath:
    """A remote UDP address on one of our sockets."""

    __slots__ = ("_drop", "_send", "_socket", "key")
    protocol = "udp"

    def __init__(self, sock: socket.socket, address: Any, drop: Callable[[str], None]) -> None:
        self.key = address
        self._socket = sock
        self._send = sock.sendto
        self._drop = drop

    @property
    def host(self) -> str:
        return str(self.key[0])

    @property
    def port(self) -> int:
        return int(self.key[1])

    def route(self) -> tuple[int, str, int, int]:
        """Descriptor of the socket, address, port, scope."""
        host = self.host.partition("%")[0]
        return self._socket.fileno(), host, self.port, self.key[3] if len(self.key) > 3 else 0

    def send(self, data: bytes) -> bool:
        try:
            self._send(data, self.key)
        except OSError as error:
            full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            self._drop("send-buffer-full" if full else "send-error")
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UdpPath) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


def set_buffer(sock: socket.socket, option: int, size: int, limit: str) -> None:
    """Ask for a socket buffer. Linux cuts the wish to `limit` in silence, and reports twice what it gave."""
    sock.setsockopt(socket.SOL_SOCKET, option, size)
    given = sock.getsockopt(socket.SOL_SOCKET, option) // 2
    if given < size:
        log.info("a socket buffer has %d of %d bytes; raise %s for busy servers", given, size, limit)
