"""Sockets for the web server: every interface on one port number, IPv4 and IPv6."""

from __future__ import annotations

import contextlib
import errno
import socket

from sfu.hosts import endpoint

BACKLOG = 1024
"""Connections that wait to be accepted: a whole school that comes back at once loses no second of a retry."""
ATTEMPTS = 20
"""Tries to find a port number free on both families, when any will do."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for `host` (empty: every interface), all on the same port; 0 picks a free one.

    Raises `OSError`, which names address and port, where the port is taken or the host has no address here.
    """
    for _ in range(ATTEMPTS):
        try:
            return _listen(host, port)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free on every address")


def _listen(host: str, port: int) -> list[socket.socket]:
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, address in _addresses(host):
            try:
                opened = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            except OSError:
                if sockets:
                    continue  # this machine has no IPv6
                raise
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                opened.bind((address, sockets[0].getsockname()[1] if sockets else port))
            except OSError as error:
                if sockets and error.errno == errno.EADDRNOTAVAIL:
                    continue  # IPv6 is compiled in but switched off
                error.filename = endpoint(address, port)
                raise
            opened.listen(BACKLOG)
            opened.setblocking(False)
            sockets.append(opened)
        stack.pop_all()
        return sockets


def _addresses(host: str) -> list[tuple[int, str]]:
    if not host:
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104 - it is the default
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique = {(family, str(address[0])): None for family, _, _, _, address in found}
    return sorted(unique)
