"""Sockets of the media port that somebody else has opened; a datagram that tries whether one is read."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from sfu.errors import ConfigError


def sort(sockets: Sequence[socket.socket]) -> tuple[list[socket.socket], list[socket.socket]]:
    """UDP and TCP apart. Raises `ConfigError` where they cannot be one media port."""
    if len({sock.getsockname()[1] for sock in sockets}) > 1:
        raise ConfigError(["LISTEN_FDS: the sockets of the media port have more than one port number"])
    for sock in sockets:
        # Its IPv4 peers would have IPv6 addresses, and IPv4 candidates would lead nowhere.
        if sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            raise ConfigError(
                ["LISTEN_FDS: the media port needs BindIPv6Only=ipv6-only, and a socket of each IP version"]
            )
    datagrams = [sock for sock in sockets if sock.type == socket.SOCK_DGRAM]
    streams = [sock for sock in sockets if sock.type == socket.SOCK_STREAM]
    if streams and not datagrams:
        raise ConfigError(["LISTEN_FDS: the media port has a socket for TCP, and none for UDP"])
    return datagrams, streams


def knock(bound: socket.socket) -> bool:
    """Send a bound socket a datagram that no peer sends. False where this machine does not let it pass."""
    if bound.fileno() < 0:
        return True
    host, port = bound.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    with socket.socket(bound.family, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(b"\xff", (host, port))
        except OSError:
            return False
    return True
