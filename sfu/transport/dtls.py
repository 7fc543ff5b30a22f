"""DTLS by aiortc over our own ICE. The one file of the server that touches aiortc's private names.

Used of aiortc 1.16: `RTCDtlsTransport._setup_srtp`, `._set_role`, `._set_state`, `._ssl`, `._role`,
`._srtp_profiles`, `._data_receiver`, `._register_data_receiver`, `._unregister_data_receiver`, the ICE
transport's `_recv` and `_send`, `rtcdtlstransport.SRTP_PROFILES`, `State` and `DataReceiver`,
`RTCSctpTransport._handle_data`, `._advertised_rwnd`, `._inbound_streams` and `._sack_misordered`.
Held by `tests/contract/test_aiortc_private.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiortc import RTCCertificate, RTCDtlsParameters, RTCDtlsTransport, RTCSctpTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES, DataReceiver, RTCDtlsFingerprint, State

from sfu.media.plane import SrtpKeys, SrtpProfile
from sfu.sdp.negotiate import DtlsRole

QUEUE_DATAGRAMS = 64
"""A handshake flight is a handful of datagrams; SCTP's bursts are paced by its receive window."""
MAX_STREAMS = 64
"""SCTP streams a peer may touch: two channels use two, and a browser numbers its channels from 0 or 1."""
MAX_WAITING_CHUNKS = 4096
"""SCTP chunks that wait for others before them. The receive window of 1 MiB holds 900 of full size."""
WINDOW_OVERRUN_BYTES = 65_536
"""How far a peer may exceed the receive window; a sender that keeps to it probes with one chunk at most."""

_NAMES: dict[bytes, SrtpProfile] = {
    b"SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
    b"SRTP_AES128_CM_SHA1_80": "AES128_CM_SHA1_80",
}
_PREFERENCE = list(_NAMES)
"""AES-128-GCM first: it costs least for each packet."""


class IceEnd:
    """What aiortc's DTLS needs of an ICE transport: a bounded inbox, a way out, a role."""

    role = "controlled"
    """The ICE role, after which aiortc's SCTP lets the peer begin, whoever is the DTLS client."""
    state = "completed"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_DATAGRAMS)
        self._send_datagram = send
        self._closed = False
        self._way_out = asyncio.Event()

    def push(self, data: bytes) -> bool:
        """Queue one DTLS datagram; False when the queue is full."""
        try:
            self._inbox.put_nowait(data)
        except asyncio.QueueFull:
            return False
        return True

    def reached(self) -> None:
        """The peer has an address: what is sent from now on goes out."""
        self._way_out.set()

    async def way_out(self) -> None:
        """Wait until the peer has an address."""
        await self._way_out.wait()

    def close(self) -> None:
        """Whoever waits for a datagram gets `ConnectionError` from now on."""
        self._closed = True
        if self._inbox.full():
            self._inbox.get_nowait()
        self._inbox.put_nowait(None)

    async def _recv(self) -> bytes:
        if self._closed:
            raise ConnectionError
        data = await self._inbox.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionError
        self._send_datagram(data)


class BoundedAssociation:
    """Stands before aiortc's SCTP, which trusts its peer: it enforces no receive window and asserts.

    A peer that breaks the rules ends its own association with `ConnectionError`, aiortc's regular way out.
    """

    def __init__(self, association: RTCSctpTransport) -> None:
        self.association = association

    async def _handle_data(self, data: bytes) -> None:
        try:
            await self.association._handle_data(data)
        except ConnectionError:
            raise
        except Exception as error:
            raise ConnectionError("SCTP broke the protocol") from error
        if not self._within_bounds():
            raise ConnectionError("SCTP exceeds its bounds")

    def _within_bounds(self) -> bool:
        streams = self.association._inbound_streams
        return (
            len(streams) <= MAX_STREAMS
            and self.association._advertised_rwnd >= -WINDOW_OVERRUN_BYTES
            and len(self.association._sack_misordered) <= MAX_WAITING_CHUNKS
            and sum(len(each.reassembly) for each in streams.values()) <= MAX_WAITING_CHUNKS
        )


class DtlsEnd(RTCDtlsTransport):
    """aiortc's DTLS, which hands the SRTP keys out instead of using them."""

    def __init__(self, ice: IceEnd, certificate: RTCCertificate) -> None:
        super().__init__(ice, [certificate])  # type: ignore[arg-type]
        self.srtp_keys: SrtpKeys | None = None
        self._ice_end = ice
        self._srtp_profiles = sorted(
            (each for each in SRTP_PROFILES if each.openssl_profile in _NAMES),
            key=lambda each: _PREFERENCE.index(each.openssl_profile),
        )

    async def handshake(self, fingerprints: tuple[tuple[str, str], ...], role: DtlsRole) -> bool:
        """Shake hands in `role` and check the peer's certificate; False where either fails.

        A server waits for the client's first flight, a client for an address to send its own to.
        """
        if not fingerprints:
            return False
        self._set_role(role)
        if role == "client":
            await self._ice_end.way_out()
        await self.start(
            RTCDtlsParameters(
                fingerprints=[RTCDtlsFingerprint(algorithm=a, value=v) for a, v in fingerprints]
            )
        )
        return bool(self.state == "connected")

    def _register_data_receiver(self, receiver: DataReceiver) -> None:
        assert isinstance(receiver, RTCSctpTransport)
        super()._register_data_receiver(BoundedAssociation(receiver))

    def _unregister_data_receiver(self, receiver: DataReceiver) -> None:
        self._data_receiver = None

    def _setup_srtp(self) -> None:
        """Derive the keys. Spec: RFC 5764 section 4.2."""
        assert self._ssl is not None
        selected = self._ssl.get_selected_srtp_profile()
        for profile in self._srtp_profiles:
            if profile.openssl_profile == selected:
                break
        else:
            self._set_state(State.FAILED)
            return
        material = self._ssl.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        clients, servers = (bytes(profile.get_key_and_salt(material, side)) for side in (0, 1))
        own, other = (clients, servers) if self._role == "client" else (servers, clients)
        self.srtp_keys = SrtpKeys(profile=_NAMES[profile.openssl_profile], receive=other, send=own)


def make_certificate() -> RTCCertificate:
    """A fresh ECDSA certificate for this process."""
    return RTCCertificate.generateCertificate()


def fingerprint(certificate: RTCCertificate) -> str:
    """`sha-256 AA:BB:...` as `a=fingerprint` carries it."""
    for each in certificate.getFingerprints():
        if each.algorithm == "sha-256":
            return f"sha-256 {each.value}"
    raise AssertionError("aiortc makes SHA-256 fingerprints")
