"""One transport: an ICE association, the DTLS-SRTP association over it, and its data channels."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from sfu import clock
from sfu.ids import TransportKey
from sfu.media.plane import SrtpKeys
from sfu.sdp.negotiate import DtlsRole
from sfu.transport.data import DataChannels
from sfu.transport.dtls import DtlsEnd, IceEnd
from sfu.transport.ice import IceAgent
from sfu.transport.validation import Credentials

if TYPE_CHECKING:
    from sfu.transport.port import TransportPort

log = logging.getLogger(__name__)

State = Literal["new", "connecting", "connected", "disconnected", "failed", "closed"]

CONNECT_TIMEOUT_S = 30.0
"""From the description to the end of the DTLS handshake; TURN over TCP with retries takes some seconds."""
SILENCE_US = 13_000_000
"""Without a check for so long a peer is disconnected: aioice checks every 4 to 6 s, and one may be lost."""
EARLY_PACKETS = 32
"""SRTP kept until the keys are known: a client may send as soon as its half of the handshake has ended."""


class TransportObserver(Protocol):
    """Told what happens to a transport. Called on the event loop; must not block."""

    def on_connected(self, transport: PeerTransport) -> None:
        """DTLS has ended and `srtp_keys` are set."""

    def on_disconnected(self, transport: PeerTransport) -> None:
        """Nothing has been heard for a while; it may come back."""

    def on_reconnected(self, transport: PeerTransport) -> None:
        """It came back."""

    def on_closed(self, transport: PeerTransport, reason: str) -> None:
        """It is over, by the peer or by a failure; not called after `close`."""

    def on_data(self, transport: PeerTransport, label: str, message: bytes) -> None:
        """A message on one of the data channels."""

    def on_data_ready(self, transport: PeerTransport, label: str) -> None:
        """A channel has opened, or drained after it was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStats:
    """`remote_address` and `protocol` are empty before a path is proven."""

    state: State
    remote_address: str
    protocol: str
    paths: int
    bytes_received: int
    bytes_sent: int


class PeerTransport:
    """Made by `TransportPort.create`. `ice_ufrag` and `ice_pwd` are ours, for the description."""

    def __init__(
        self, port: TransportPort, key: TransportKey, observer: TransportObserver, agent: IceAgent
    ) -> None:
        self.key = key
        self.state: State = "new"
        self.srtp_keys: SrtpKeys | None = None
        self.dtls_role: DtlsRole = "server"
        self.agent = agent
        self.bytes_received = 0
        self.bytes_sent = 0
        self._port = port
        self._observer = observer
        self._early: list[tuple[bytes, int]] = []
        self._ice_end = IceEnd(self._send_dtls)
        self._dtls = DtlsEnd(self._ice_end, port.certificate)
        self._data = DataChannels(
            lambda label, message: self._guard(lambda: observer.on_data(self, label, message)),
            lambda label: self._guard(lambda: observer.on_data_ready(self, label)),
        )
        self._task: asyncio.Task[None] | None = None
        self._sctp: tuple[int, int] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._releasing: asyncio.Task[None] | None = None

    @property
    def ice_ufrag(self) -> str:
        return self.agent.local.ufrag

    @property
    def ice_pwd(self) -> str:
        return self.agent.local.pwd

    def start(
        self,
        remote_ufrag: str,
        remote_pwd: str,
        fingerprints: tuple[tuple[str, str], ...],
        sctp: tuple[int, int] | None,
        dtls_role: DtlsRole = "server",
    ) -> None:
        """The peer's description is known: let it connect. `sctp` is its port and largest message, bytes;
        `dtls_role` is ours."""
        if self.state != "new":
            return
        self.agent.remote = Credentials(remote_ufrag, remote_pwd)
        self.state = "connecting"
        self._sctp = sctp
        self.dtls_role = dtls_role
        self._task = asyncio.create_task(self._connect(fingerprints))
        self._port.validate(self)

    def open_data(self, sctp: tuple[int, int]) -> None:
        """The peer has an SCTP association from now on, where `start` was told of none; see there."""
        if self._sctp is not None or self.state in ("failed", "closed"):
            return
        self._sctp = sctp
        if self.state in ("connected", "disconnected"):
            self._opening = asyncio.create_task(self._start_data(sctp))

    def update_remote(self, remote_ufrag: str, remote_pwd: str) -> None:
        """The peer restarted ICE. Spec: RFC 8839 section 4.4.1.1.1."""
        self.agent.remote = Credentials(remote_ufrag, remote_pwd)
        self._port.agree(self)
        self._port.validate(self)

    def restart_ice(self) -> None:
        """Make new local credentials; the path in use goes on until the peer has proven a new one."""
        self._port.restart(self)

    def send_data(self, label: str, message: bytes) -> bool:
        """Queue a message on the channel `reliable` or `lossy`; False where it cannot be taken now."""
        return self._data.send(label, message)

    def buffered_bytes(self, label: str) -> int:
        """Bytes that wait on a channel."""
        return self._data.buffered_bytes(label)

    def stats(self) -> TransportStats:
        path = self.agent.selected
        lifted_sent, lifted_received = self._port.lifted_bytes(self.key)
        return TransportStats(
            state=self.state,
            remote_address=f"{path.host}:{path.port}" if path else "",
            protocol=path.protocol if path else "",
            paths=len(self.agent.paths),
            bytes_received=self.bytes_received + lifted_received,
            bytes_sent=self.bytes_sent + lifted_sent,
        )

    async def close(self) -> None:
        """Say goodbye to the peer, as far as it can be reached, and release everything.

        May be called again, and after the peer has gone: it returns when nothing is left.
        """
        self.state = "closed"
        await asyncio.shield(self._begin_release())

    # --- called by the port --------------------------------------------------------------------

    def dtls_received(self, data: bytes) -> bool:
        """A DTLS datagram from a proven address; False when too many wait."""
        self.bytes_received += len(data)
        return self._ice_end.push(data)

    def hold(self, packet: bytes, arrival_us: int) -> bool:
        """Keep an SRTP packet that came before the keys; False when too many wait."""
        if len(self._early) >= EARLY_PACKETS:
            return False
        self._early.append((packet, arrival_us))
        return True

    def watch(self, now_us: int) -> None:
        """Follow consent, and ask for it where the peer does not renew it. Called about once a second."""
        check = self.agent.consent_check(now_us)
        if check is not None:
            check.path.send(check.data)
        if self.state in ("connected", "disconnected", "connecting") and self.agent.expired(now_us):
            self._over("failed", "consent-expired")
        elif self.state == "connected" and self.agent.silent_us(now_us) > SILENCE_US:
            self.state = "disconnected"
            self._guard(lambda: self._observer.on_disconnected(self))

    def checked(self) -> None:
        """A valid check came."""
        self._ice_end.reached()
        if self.state == "disconnected":
            self.state = "connected"
            self._guard(lambda: self._observer.on_reconnected(self))

    # --- inside --------------------------------------------------------------------------------

    async def _connect(self, fingerprints: tuple[tuple[str, str], ...]) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connected = await self._dtls.handshake(fingerprints, self.dtls_role)
        except TimeoutError:
            self._over("failed", "connect-timeout")
            return
        except Exception:
            log.exception("a handshake failed by our fault", extra={"transport": self.key})
            self._over("failed", "internal")
            return
        if self.state != "connecting":
            return
        if not connected:
            self._over("failed", "dtls-failed")
            return
        self.srtp_keys = self._dtls.srtp_keys
        self.state = "connected"
        self._dtls.on("statechange", self._dtls_changed)
        self._guard(lambda: self._observer.on_connected(self))
        early, self._early = self._early, []
        for packet, arrival_us in early:
            self._port.deliver(self, packet, clock.now_us(), arrival_us)
        if self._sctp is not None and self.state == "connected" and self._opening is None:
            await self._start_data(self._sctp)

    async def _start_data(self, sctp: tuple[int, int]) -> None:
        with contextlib.suppress(ConnectionError):
            await self._data.start(self._dtls, *sctp)

    def _dtls_changed(self) -> None:
        if self._dtls.state == "closed":
            self._over("closed", "closed-by-peer")

    def _over(self, state: State, reason: str) -> None:
        """The end came from outside: release, then tell."""
        if self.state in ("failed", "closed"):
            return
        self.state = state
        self._begin_release()
        self._guard(lambda: self._observer.on_closed(self, reason))

    def _begin_release(self) -> asyncio.Task[None]:
        """Release once, whoever asks first."""
        if self._releasing is None:
            self._releasing = self._port.release_later(self._release())
        return self._releasing

    async def _release(self) -> None:
        self._dtls.remove_all_listeners()
        for task in (self._task, self._opening):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        with contextlib.suppress(ConnectionError):
            await self._data.stop()
        await self._dtls.stop()
        self._ice_end.close()
        self._early.clear()
        self._port.forget(self)

    def _send_dtls(self, data: bytes) -> None:
        path = self.agent.selected
        if path is not None and path.send(data):
            self.bytes_sent += len(data)

    def _guard(self, call: Callable[[], None]) -> None:
        """An observer's bug must not reach the port's receive loop."""
        try:
            call()
        except Exception:
            log.exception("a transport's observer failed", extra={"transport": self.key})


def new_credentials() -> Credentials:
    """Unguessable ICE credentials. Spec: RFC 8445 section 5.3 (24 and 128 bits at least)."""
    return Credentials(secrets.token_hex(4), secrets.token_hex(16))
