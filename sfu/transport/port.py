"""The one media port: UDP over IPv4 and IPv6, and ICE-TCP on the same number."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from aiortc import RTCCertificate

from sfu import clock
from sfu.config import RtcConfig
from sfu.errors import ParseError
from sfu.faults import start_fault
from sfu.ids import TransportKey
from sfu.media.plane import Routes
from sfu.transport import addresses, handed_over, stun, timestamps
from sfu.transport.dtls import fingerprint, make_certificate
from sfu.transport.ice import REFUSED, IceAgent, Verdict
from sfu.transport.lifted import LiftedPaths
from sfu.transport.path import Path
from sfu.transport.peer import PeerTransport, TransportObserver, new_credentials
from sfu.transport.tcp import TcpPath, listen, make_place
from sfu.transport.udp import UdpPath, open_socket, overrun_count, prepare, tell_shortfall
from sfu.transport.validation import Credentials, named

DRAIN_DATAGRAMS = 128
"""Datagrams taken in one wake-up; then timers and signalling get their turn."""
DRAIN_US = 5_000
"""The same in time: with many subscribers one datagram costs a millisecond."""
DATAGRAM_BYTES = 2048
"""More than any path MTU lets through; a longer datagram is cut and fails its authentication."""
WATCH_S = 1.0
CHECKS_S = 0.05
"""Between two looks at addresses that have not answered; the first wait of one is twice as long."""
BIND_TRIES = 8
"""For a port number the system picks: free for UDP over IPv4, it may be taken for IPv6 or TCP."""

OnPacket = Callable[[TransportKey, bytes, int, int], None]


class TransportPort:
    """Made by `open`. Implements `sfu.media.plane.RoutedEgress`.

    `counters` counts what was dropped, by reason.
    """

    def __init__(
        self,
        config: RtcConfig,
        on_packet: OnPacket,
        on_drained: Callable[[], None] | None,
        threads: int,
        given: Sequence[socket.socket] = (),
    ) -> None:
        self.certificate: RTCCertificate = make_certificate()
        self.local_fingerprint = fingerprint(self.certificate)
        self.counters: Counter[str] = Counter()
        self.port = 0
        self._config = config
        self._on_packet = on_packet
        self._on_drained = on_drained
        self._consent_timeout_us = int(config.consent_timeout_s * 1_000_000)
        self._keys = itertools.count(1)
        self._sockets: list[socket.socket] = []
        self._tcp_servers: list[asyncio.Server] = []
        self._tcp_paths: dict[TcpPath, None] = {}
        self._candidates: tuple[str, ...] = ()
        self._peers: dict[TransportKey, PeerTransport] = {}
        self._taps: dict[TransportKey, Callable[[bytes], None]] = {}
        self._by_ufrag: dict[str, PeerTransport] = {}
        self._by_address: dict[Any, PeerTransport] = {}
        self._threads = threads
        self._handed_over, self._listening = handed_over.sort(given)
        self._lifted: LiftedPaths | None = None
        self._validating: set[PeerTransport] = set()
        self._next_checks: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        config: RtcConfig,
        on_packet: OnPacket,
        on_drained: Callable[[], None] | None = None,
        *,
        threads: int = 1,
        given: Sequence[socket.socket] = (),
    ) -> TransportPort:
        """Bind every configured address, unless sockets are `given`, which then are the port.

        Raises `StartError` or `ConfigError`, which name what cannot be had.
        `on_packet(key, datagram, now_us, arrival_us)` gets every SRTP and SRTCP datagram from a proven
        address that no plane takes by itself, `on_drained()` follows each batch. `threads` is how many a
        plane that does shall use.
        """
        port = cls(config, on_packet, on_drained, threads, given)
        try:
            await port._occupy()
            port._candidates = await addresses.find(config, port._sockets, port.port)
        except OSError as error:
            await port.close()
            absent = error.errno == errno.EADDRNOTAVAIL
            raise start_fault("rtc.bind" if absent else "rtc.port", error) from error
        except BaseException:
            await port.close()
            raise
        if port._sockets:
            tell_shortfall(port._sockets[0], config.receive_buffer_bytes, config.send_buffer_bytes)
        loop = asyncio.get_running_loop()
        for sock in port._sockets:
            loop.add_reader(sock.fileno(), port._drain, sock)
        port._watching = asyncio.create_task(port._watch())
        return port

    async def close(self) -> None:
        """Close every transport and release the port."""
        await asyncio.gather(*(peer.close() for peer in list(self._peers.values())))
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._next_checks is not None:
            self._next_checks.cancel()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._vacate()

    def candidates(self) -> tuple[str, ...]:
        """Candidate attributes (the text after `candidate:`) for every description."""
        return self._candidates

    def create(self, observer: TransportObserver) -> PeerTransport:
        """A new transport, reachable by its `ice_ufrag` once it is started."""
        key = TransportKey(next(self._keys))
        peer = PeerTransport(
            self, key, observer, IceAgent(self._unused(), self._consent_timeout_us, secrets.token_bytes(32))
        )
        self._peers[key] = peer
        self._name(peer)
        return peer

    def send(self, transport: TransportKey, packet: bytes) -> None:
        """Send a protected packet to the transport's selected address; dropped where there is none."""
        peer = self._peers.get(transport)
        if peer is None:
            if (tap := self._taps.get(transport)) is not None:
                tap(packet)
            return
        path = peer.agent.selected
        if path is not None and path.send(packet):
            peer.bytes_sent += len(packet)

    def open_tap(self, on_packet: Callable[[bytes], None]) -> TransportKey:
        """A transport that ends in this process: what is sent on it is handed to `on_packet`."""
        key = TransportKey(next(self._keys))
        self._taps[key] = on_packet
        return key

    def close_tap(self, transport: TransportKey) -> None:
        self._taps.pop(transport, None)
        if self._lifted is not None:
            self._lifted.routes.forget(transport)

    def follow(self, routes: Routes) -> None:
        """Leave UDP to a plane that uses it by itself, and tell it where each transport's peer is.

        Raises `StartError` or `ConfigError` where there are no sockets for all its threads.
        """
        lifted = LiftedPaths(routes, self._came_up, self.send)
        try:
            lifted.start(self._sockets, self._threads)
        except BaseException as error:
            lifted.stop()
            if isinstance(error, OSError):
                raise start_fault("media.threads", error) from error
            raise
        self._lifted = lifted
        for ufrag in self._by_ufrag:
            routes.expect_checks(ufrag)

    def lifted_bytes(self, transport: TransportKey) -> tuple[int, int]:
        """Bytes that the plane sent to, and received from, a transport's peer by itself."""
        if self._lifted is None:
            return 0, 0
        routes = self._lifted.routes
        return routes.route_bytes(transport), routes.received_bytes(transport)

    def dropped(self) -> dict[str, int]:
        """What was dropped so far, by reason; also by the kernel, which was not asked for it in time."""
        sockets = self._sockets + (self._lifted.further if self._lifted is not None else [])
        overruns = sum(map(overrun_count, sockets))
        return {**self.counters, **({"receive-buffer-full": overruns} if overruns else {})}

    def knock(self) -> bool:
        """Send the port a datagram that no peer sends. False where this machine does not let it pass."""
        return not self._sockets or handed_over.knock(self._sockets[0])

    def flush(self) -> None:
        """End of a batch of `send`: nothing is held back here."""

    # --- called by transports ------------------------------------------------------------------

    def restart(self, peer: PeerTransport) -> None:
        """Give a transport new local ICE credentials; at most one older pair stays valid."""
        if peer.agent.previous is not None:
            self._unname(peer.agent.previous.ufrag)
        peer.agent.restart(self._unused())
        self._name(peer)
        self.agree(peer)

    def agree(self, peer: PeerTransport) -> None:
        """Its selected path has been proven, or its checks have to carry other credentials from now on."""
        if self._lifted is not None:
            self._lifted.agree(peer)

    def validate(self, peer: PeerTransport) -> None:
        """Check addresses of its that have not answered, and go on with that until they have, or do not."""
        now_us = clock.now_us()
        for datagram in peer.agent.due(now_us):
            datagram.path.send(datagram.data)
        if peer.agent.validates:
            self._validating.add(peer)
            if self._next_checks is None:
                self._next_checks = asyncio.get_running_loop().call_later(CHECKS_S, self._check_again)

    def deliver(self, peer: PeerTransport, packet: bytes, now_us: int, arrival_us: int) -> None:
        """Hand on SRTP or SRTCP of a peer, or keep it back until there are keys to read it with."""
        if peer.srtp_keys is not None:
            self._on_packet(peer.key, packet, now_us, arrival_us)
        elif not peer.hold(packet, arrival_us):
            self.counters["srtp-before-keys"] += 1

    def forget(self, peer: PeerTransport) -> None:
        """Nothing is received for, or sent by, this transport any more."""
        self._peers.pop(peer.key, None)
        self._validating.discard(peer)
        for credentials in (peer.agent.local, peer.agent.previous):
            if credentials is not None:
                self._unname(credentials.ufrag)
        for path in peer.agent.paths:
            if self._by_address.get(path.key) is peer:
                self._disown(path)
            if isinstance(path, TcpPath):
                path.close()
        peer.agent.paths.clear()
        peer.agent.selected = None
        self._route(peer)
        if self._lifted is not None:
            self._lifted.routes.forget(peer.key)

    def release_later(self, release: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a transport's release beside everything else; `close` waits for it."""
        task = asyncio.create_task(release)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- receiving -----------------------------------------------------------------------------

    def _drain(self, sock: socket.socket) -> None:
        """Take what waits on a socket, at most `DRAIN_DATAGRAMS` and for `DRAIN_US`."""
        receive, owners, deliver = sock.recvmsg, self._by_address, self.deliver
        age_us, ancillary_bytes = timestamps.age_us, timestamps.ANCILLARY_BYTES
        now_us = clock.now_us()
        deadline_us = now_us + DRAIN_US
        for _ in range(DRAIN_DATAGRAMS):
            try:
                data, ancillary, _, address = receive(DATAGRAM_BYTES, ancillary_bytes)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                # An ICMP error of an earlier send surfaces here; the socket itself is fine.
                self.counters["receive-error"] += 1
                continue
            now_us = clock.now_us()
            if data and 127 < data[0] < 192:
                peer = owners.get(address)
                if peer is None:
                    self.counters["unknown-address"] += 1
                    continue
                peer.bytes_received += len(data)
                deliver(peer, data, now_us, now_us - age_us(ancillary))
            else:
                self._other(UdpPath(sock, address, self.count), data, now_us)
            if now_us > deadline_us:
                break
        if self._on_drained is not None:
            self._on_drained()

    def _came_up(self, place: int, address: Any, data: bytes, read_us: int, arrival_us: int) -> None:
        """What a plane that receives by itself leaves to us; of media that what comes before the keys."""
        if data and 127 < data[0] < 192:
            peer = self._by_address.get(address)
            if peer is not None:
                self.deliver(peer, data, read_us, arrival_us)
        else:
            self._other(UdpPath(self._sockets[place], address, self.count), data, read_us)

    def _framed(self, path: TcpPath, data: bytes) -> None:
        """One frame of a TCP connection."""
        now_us = clock.now_us()
        if 127 < data[0] < 192:
            peer = self._by_address.get(path)
            if peer is None:
                self.counters["unknown-address"] += 1
                return
            peer.bytes_received += len(data)
            self.deliver(peer, data, now_us, now_us)
            if self._on_drained is not None:
                self._on_drained()
        else:
            self._other(path, data, now_us)

    def _other(self, path: Path, data: bytes, now_us: int) -> None:
        """Everything that is not SRTP. Spec: RFC 7983 section 7."""
        first = data[0] if data else 255
        if first < 4:
            self._stun(path, data, now_us)
        elif 19 < first < 64:
            peer = self._by_address.get(path.key)
            if peer is None:
                self.counters["unknown-address"] += 1
            elif not peer.dtls_received(data):
                self.counters["dtls-queue-full"] += 1
        else:
            self.counters["unknown-datagram"] += 1

    def _stun(self, path: Path, data: bytes, now_us: int) -> None:
        try:
            message = stun.parse(data)
        except ParseError as error:
            self.counters[error.reason] += 1
            return
        if message.message_type == stun.BINDING_INDICATION:
            return
        answers = message.message_type == stun.BINDING_SUCCESS
        peer = self._by_ufrag.get(named(message) if answers else message.username()[0])
        if peer is None:
            self.counters["stun-unknown-ufrag"] += 1
            return
        if self._lifted is not None:
            self._lifted.renew(peer)
        verdict = (peer.agent.answered if answers else peer.agent.check)(message, path, now_us)
        if verdict is REFUSED:
            self.counters["stun-refused"] += 1
            return
        self._follow(peer, path, verdict)
        if verdict.answer is not None:
            path.send(verdict.answer)
        if verdict.waiting:
            self.validate(peer)

    def _follow(self, peer: PeerTransport, path: Path, verdict: Verdict) -> None:
        """Do what a check, or an answer to one of ours, has changed."""
        if verdict.retired is not None:
            self._unname(verdict.retired)
        if verdict.evicted is not None:
            self._disown(verdict.evicted)
            if isinstance(verdict.evicted, TcpPath):
                verdict.evicted.close()
        if verdict.proven:
            self._learn(peer, path)
            self._route(peer)
            self.agree(peer)
            peer.checked()
        elif verdict.retired is not None:
            self.agree(peer)

    def _name(self, peer: PeerTransport) -> None:
        """Checks that name its present ufrag are this peer's."""
        self._by_ufrag[peer.ice_ufrag] = peer
        if self._lifted is not None:
            self._lifted.routes.expect_checks(peer.ice_ufrag)

    def _unname(self, ufrag: str) -> None:
        self._by_ufrag.pop(ufrag, None)
        if self._lifted is not None:
            self._lifted.routes.refuse_checks(ufrag)

    def _learn(self, peer: PeerTransport, path: Path) -> None:
        """The peer has proven `path` by its answer: what comes from there is its."""
        owner = self._by_address.get(path.key)
        if owner is not None and owner is not peer:
            owner.agent.forget(path)
            self._route(owner)
        self._by_address[path.key] = peer
        if isinstance(path, TcpPath):
            path.proven = True
        elif self._lifted is not None and owner is not peer and isinstance(path, UdpPath):
            self._lifted.learn(peer, path)

    def _disown(self, path: Path) -> None:
        """What comes over `path` is nobody's."""
        self._by_address.pop(path.key, None)
        if self._lifted is not None and isinstance(path, UdpPath):
            self._lifted.unlearn(path)

    def _route(self, peer: PeerTransport) -> None:
        """Where a peer is may have changed."""
        if self._lifted is not None:
            self._lifted.select(peer)

    def _check_again(self) -> None:
        self._next_checks = None
        validating, self._validating = self._validating, set()
        for peer in validating:
            self.validate(peer)

    def count(self, reason: str) -> None:
        """Note that something was dropped. `reason` is a constant, never a peer's text."""
        self.counters[reason] += 1

    def _unused(self) -> Credentials:
        """New credentials whose ufrag names nobody yet."""
        while (made := new_credentials()).ufrag in self._by_ufrag:
            pass
        return made

    # --- opening -------------------------------------------------------------------------------

    async def _occupy(self) -> None:
        """Take the port for UDP and TCP, on every address."""
        for tries_left in reversed(range(BIND_TRIES)):
            try:
                self._bind()
                if self._config.tcp:
                    await self._listen()
            except OSError as error:
                if self._config.port or error.errno != errno.EADDRINUSE or not tries_left:
                    raise
                await self._vacate()
                self.port = 0
            else:
                return

    async def _vacate(self) -> None:
        if self._lifted is not None:
            self._lifted.stop()
        for server in self._tcp_servers:
            server.close()
        for path in list(self._tcp_paths):
            path.close()
        for server in self._tcp_servers:
            await server.wait_closed()
        self._tcp_servers.clear()
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _bind(self) -> None:
        for sock in self._handed_over:
            prepare(sock, self._config)
            self.port = sock.getsockname()[1]
            self._sockets.append(sock)
        for host in [] if self._handed_over else self._config.bind:
            bound = open_socket(host, self.port or self._config.port, self._config)
            if bound is not None:
                self.port = bound.getsockname()[1]
                self._sockets.append(bound)

    async def _listen(self) -> None:
        def made() -> TcpPath:
            return TcpPath(self._framed, self._tcp_opened, self._tcp_closed, self.count)

        await listen(made, self._sockets, self._listening, self._tcp_servers)

    def _tcp_opened(self, path: TcpPath) -> bool:
        if not make_place(self._tcp_paths, path.host, self.counters):
            return False
        self._tcp_paths[path] = None
        return True

    def _tcp_closed(self, path: TcpPath) -> None:
        self._tcp_paths.pop(path, None)
        peer = self._by_address.pop(path, None)
        if peer is not None:
            peer.agent.forget(path)
            self._route(peer)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            now_us = clock.now_us()
            for peer in list(self._peers.values()):
                if self._lifted is not None:
                    self._lifted.renew(peer)
                peer.watch(now_us)
