"""The port's side of a plane that uses UDP by itself: what it is told, and what comes up from it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sfu.ids import TransportKey
from sfu.media.plane import Routes
from sfu.transport import timestamps
from sfu.transport.udp import UdpPath, buffer_bytes, set_buffer

if TYPE_CHECKING:
    from sfu.transport.peer import PeerTransport

UPWARD_DATAGRAMS = 128
"""Datagrams taken in one wake-up; then timers and signalling get their turn."""


OnDatagram = Callable[[int, Any, bytes, int, int], None]
OnPacket = Callable[[TransportKey, bytes], None]


class LiftedPaths:
    """Tells `routes` which addresses are whose. TCP stays with the port.

    `on_datagram(place, address, data, read_us, arrival_us)` gets what is not media, from the bound address
    number `place`; `on_packet` what is to be sent to a peer that has no UDP path. `further` are the
    sockets that `start` has bound.
    """

    def __init__(self, routes: Routes, on_datagram: OnDatagram, on_packet: OnPacket) -> None:
        self.routes = routes
        self._on_datagram = on_datagram
        self._on_packet = on_packet
        self.further: list[socket.socket] = []
        self._routed: dict[TransportKey, UdpPath] = {}
        self._readable: int | None = None

    def start(self, sockets: list[socket.socket], threads: int) -> None:
        """Hand over the sockets, and bind as many more of each as there are further threads.

        Raises `OSError` where that fails.
        """
        loop = asyncio.get_running_loop()
        for sock in sockets:
            loop.remove_reader(sock.fileno())
        groups = [sockets]
        for _ in range(threads - 1):
            groups.append([])
            for sock in sockets:
                groups[-1].append(_beside(sock))
                self.further.append(groups[-1][-1])
        self._readable = self.routes.start([[sock.fileno() for sock in group] for group in groups])
        loop.add_reader(self._readable, self._take)

    def stop(self) -> None:
        """End the plane's threads."""
        if self._readable is not None:
            asyncio.get_running_loop().remove_reader(self._readable)
            self._readable = None
            self.routes.stop()
        for sock in self.further:
            sock.close()
        self.further.clear()

    def learn(self, peer: PeerTransport, path: UdpPath) -> None:
        """What comes over `path` is this peer's."""
        self.routes.learn(peer.key, *path.route()[1:])

    def unlearn(self, path: UdpPath) -> None:
        self.routes.unlearn(*path.route()[1:])

    def select(self, peer: PeerTransport) -> None:
        """Another path may have been selected."""
        path = peer.agent.selected
        if path == self._routed.get(peer.key):
            return
        if isinstance(path, UdpPath):
            self._routed[peer.key] = path
            self.routes.set_route(peer.key, *path.route())
        elif self._routed.pop(peer.key, None) is not None:
            peer.bytes_sent += self.routes.route_bytes(peer.key)
            self.routes.clear_route(peer.key)

    def agree(self, peer: PeerTransport) -> None:
        """Checks of a peer over its selected path need no decision any more, as long as they say the same."""
        self.renew(peer)
        agent, path = peer.agent, peer.agent.selected
        if isinstance(path, UdpPath) and (identity := agent.identity()):
            self.routes.set_consent(peer.key, *path.route()[1:], *identity, agent.paths[path])
        else:
            self.routes.withdraw_consent(peer.key)

    def renew(self, peer: PeerTransport) -> None:
        """Take note of the checks that the plane has answered."""
        peer.agent.renewed(self.routes.checked_us(peer.key))

    def _take(self) -> None:
        datagrams, packets = self.routes.take_upward(UPWARD_DATAGRAMS)
        for place, host, port, scope, data, read_us, age_us in datagrams:
            # As `recvmsg` tells an address: IPv6 has a flow label and a scope as well.
            address = (host, port, 0, scope) if ":" in host else (host, port)
            self._on_datagram(place, address, data, read_us, read_us - age_us)
        for transport, packet in packets:
            self._on_packet(TransportKey(transport), packet)


def _beside(sock: socket.socket) -> socket.socket:
    """Another socket like it on the same address and port. One peer always comes to the same one."""
    made = socket.socket(sock.family, socket.SOCK_DGRAM)
    try:
        if sock.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            set_buffer(made, option, buffer_bytes(sock, option))
        timestamps.enable(made)
        made.setblocking(False)
        # The first was bound without it: only so is a port that somebody else has an error.
        for each in (sock, made):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(sock.getsockname())
    except OSError:
        made.close()
        raise
    return made
