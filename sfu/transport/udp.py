"""UDP as the port uses it: a path over one of its sockets, and their buffers."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from sfu.config import RtcConfig
from sfu.hosts import endpoint
from sfu.transport import timestamps

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


def open_socket(host: str, port: int, config: RtcConfig) -> socket.socket | None:
    """Bind a UDP socket as `config` wants it; None where this machine has no IPv6.

    Raises `OSError` where the port is taken.
    """
    version = ipaddress.ip_address(host).version
    try:
        sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    except OSError:
        if version == 4:
            raise
        return None
    try:
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        prepare(sock, config)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if version == 6 and error.errno == errno.EADDRNOTAVAIL:
            return None
        error.filename = f"UDP {endpoint(host, port)}"
        raise
    return sock


def prepare(sock: socket.socket, config: RtcConfig) -> None:
    """Give a socket its buffers and time stamps. Raises `OSError`."""
    set_buffer(sock, socket.SO_RCVBUF, config.receive_buffer_bytes)
    set_buffer(sock, socket.SO_SNDBUF, config.send_buffer_bytes)
    timestamps.enable(sock)
    sock.setblocking(False)


_FORCED = {7: 32, 8: 33} if sys.platform == "linux" else {}
"""SO_SNDBUFFORCE and SO_RCVBUFFORCE, which `socket` lacks, by SO_SNDBUF and SO_RCVBUF; where these have other
numbers, so have those."""


def set_buffer(sock: socket.socket, option: int, size: int) -> None:
    """Ask for a socket buffer of `size` bytes.

    Linux cuts the wish to `net.core.rmem_max` or `wmem_max` in silence, unless the process may exceed them
    (CAP_NET_ADMIN).
    """
    sock.setsockopt(socket.SOL_SOCKET, option, size)
    if buffer_bytes(sock, option) < size and option in _FORCED:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _FORCED[option], size)


def tell_shortfall(sock: socket.socket, receive: int, send: int) -> None:
    """Warn where the buffers are smaller than was asked for."""
    for option, size, limit in (
        (socket.SO_RCVBUF, receive, "rmem_max"),
        (socket.SO_SNDBUF, send, "wmem_max"),
    ):
        given = buffer_bytes(sock, option)
        if given < size:
            log.warning(
                "sockets have %d of %d bytes to buffer: bursts lose packets; sysctl -w net.core.%s=%d",
                given, size, limit, size,
            )  # fmt: skip


_SO_MEMINFO = 55
"""Linux, asm-generic/socket.h; Python does not name it."""
_MEMINFO = struct.Struct("@9I")
_DROPS = 8
"""SK_MEMINFO_DROPS of linux/sock_diag.h."""


def overrun_count(sock: socket.socket) -> int:
    """How many datagrams found the socket's receive buffer full so far; 0 where nobody counts them."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    return int(_MEMINFO.unpack(data)[_DROPS]) if len(data) == _MEMINFO.size else 0


def buffer_bytes(sock: socket.socket, option: int) -> int:
    """The size of a socket buffer, as it was asked for; Linux reports twice that."""
    return sock.getsockopt(socket.SOL_SOCKET, option) // (2 if sys.platform == "linux" else 1)
