"""DTLS between our server end and aiortc's own client, without a network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.rtcdtlstransport import SRTP_PROFILES
from aiortc.rtcsctptransport import DataChunk, ForwardTsnChunk
from pylibsrtp import Policy, Session

from sfu.sdp.negotiate import OTHER_ROLE, DtlsRole
from sfu.transport import dtls
from sfu.transport.data import DataChannels
from sfu.transport.dtls import DtlsEnd, IceEnd, fingerprint, make_certificate

PROFILES = {
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AES128_CM_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
RTP = bytes.fromhex("80600001000000010000002a") + bytes(50)


class Pair:
    """The server's end and a peer's, each other's network. `role` is the server's in DTLS; `lose` counts
    datagrams to lose first."""

    def __init__(self, role: DtlsRole = "server") -> None:
        self.role = role
        self.lose = 0
        self.certificate, self.client_certificate = make_certificate(), RTCCertificate.generateCertificate()
        self.server_ice = IceEnd(lambda data: self._pass(self.client_ice, data))
        self.client_ice = IceEnd(lambda data: self._pass(self.server_ice, data))
        self.server = DtlsEnd(self.server_ice, self.certificate)
        self.client = RTCDtlsTransport(self.client_ice, [self.client_certificate])  # type: ignore[arg-type]
        self.client._set_role(OTHER_ROLE[role])

    def _pass(self, to: IceEnd, data: bytes) -> None:
        if self.lose:
            self.lose -= 1
        else:
            to.push(data)

    async def connect(self, fingerprints: tuple[tuple[str, str], ...] | None = None) -> bool:
        if fingerprints is None:
            algorithm, _, value = fingerprint(self.client_certificate).partition(" ")
            fingerprints = ((algorithm, value),)
        parameters = self.server.getLocalParameters()
        connected, _ = await asyncio.gather(
            self.server.handshake(fingerprints, self.role), self.client.start(parameters)
        )
        return connected

    async def close(self) -> None:
        for end, ice in ((self.client, self.client_ice), (self.server, self.server_ice)):
            await end.stop()
            ice.close()


@contextlib.asynccontextmanager
async def new_pair(role: DtlsRole = "server") -> AsyncIterator[Pair]:
    pair = Pair(role)
    pair.server_ice.reached()
    try:
        async with asyncio.timeout(20):
            yield pair
    finally:
        await pair.close()


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("name", [name for name in PROFILES if f"SRTP_{name}".encode() in dtls._NAMES])
async def test_what_one_side_protects_the_other_can_read(name: str, role: DtlsRole) -> None:
    async with new_pair(role) as pair:
        pair.client._srtp_profiles = [
            profile for profile in SRTP_PROFILES if profile.openssl_profile == f"SRTP_{name}".encode()
        ]
        if not pair.client._srtp_profiles:
            pytest.fail(f"aiortc has no {name}")
        assert await pair.connect()
        keys = pair.server.srtp_keys
        assert keys is not None
        assert keys.profile == name
        receive = Session(
            Policy(key=keys.receive, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[name])
        )
        send = Session(Policy(key=keys.send, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILES[name]))
        assert receive.unprotect(pair.client._tx_srtp.protect(RTP)) == RTP
        assert pair.client._rx_srtp.unprotect(send.protect(RTP)) == RTP


async def test_the_cheapest_profile_is_chosen_of_those_a_client_offers() -> None:
    async with new_pair() as pair:
        pair.client._srtp_profiles = list(reversed(SRTP_PROFILES))
        assert await pair.connect()
        assert pair.server.srtp_keys is not None
        assert pair.server.srtp_keys.profile == "AEAD_AES_128_GCM"


@pytest.mark.parametrize("role", ["client", "server"])
async def test_a_lost_flight_is_sent_again(role: DtlsRole) -> None:
    async with new_pair(role) as pair:
        pair.lose = 1
        assert await pair.connect()


async def test_a_client_sends_nothing_before_its_peer_has_an_address() -> None:
    pair = Pair("client")
    shaking = asyncio.create_task(pair.connect())
    for _ in range(20):
        await asyncio.sleep(0)
    assert pair.client_ice._inbox.empty()
    pair.server_ice.reached()
    async with asyncio.timeout(20):
        assert await shaking
        await pair.close()


@pytest.mark.parametrize(
    "fingerprints",
    [(), (("sha-256", ":".join(["AB"] * 32)),), (("md2", "AB"),)],
    ids=["none", "wrong", "weak"],
)
async def test_a_certificate_that_was_not_described_is_refused(
    fingerprints: tuple[tuple[str, str], ...],
) -> None:
    async with new_pair() as pair:
        client = asyncio.create_task(pair.client.start(pair.server.getLocalParameters()))
        assert not await pair.server.handshake(fingerprints, "server")
        assert pair.server.srtp_keys is None
        pair.client_ice.close()
        await client


async def test_the_inbox_is_bounded() -> None:
    async with new_pair() as pair:
        taken = sum(pair.server_ice.push(b"\x16" + bytes(100)) for _ in range(1000))
        assert taken == dtls.QUEUE_DATAGRAMS


class Association:
    """Data channels between the two ends of a connected pair."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.messages: list[tuple[str, bytes]] = []
        self.channels = DataChannels(lambda label, data: self.messages.append((label, data)), lambda _: None)
        self.client = RTCSctpTransport(pair.client)

    async def start(self) -> RTCDataChannel:
        channel = RTCDataChannel(self.client, RTCDataChannelParameters(label="reliable"))
        await asyncio.gather(
            self.channels.start(self.pair.server, 5000, 65536),
            self.client.start(RTCSctpCapabilities(maxMessageSize=65536), 5000),
        )
        await until(lambda: channel.readyState == "open")
        return channel

    async def stop(self) -> None:
        await self.client.stop()
        await self.channels.stop()


@contextlib.asynccontextmanager
async def associated(role: DtlsRole = "server") -> AsyncIterator[Association]:
    async with new_pair(role) as pair:
        assert await pair.connect()
        association = Association(pair)
        try:
            yield association
        finally:
            await association.stop()


async def flood(association: Association, chunks: list[DataChunk | ForwardTsnChunk]) -> None:
    """Send SCTP chunks past every rule of the client's own association."""
    for chunk in chunks:
        with contextlib.suppress(ConnectionError):
            await association.client._send_chunk(chunk)
        await asyncio.sleep(0)


def fragments(association: Association, count: int, size: int, *, gap: int = 0) -> list[DataChunk]:
    """A message that never ends."""
    made = []
    for number in range(count):
        chunk = DataChunk(flags=2 if number == 0 and not gap else 0)
        chunk.tsn = (association.client._local_tsn + gap + number) % 2**32
        chunk.stream_id, chunk.stream_seq, chunk.protocol = 1, 0, 53
        chunk.user_data = bytes(size)
        made.append(chunk)
    return made


@pytest.mark.parametrize("role", ["client", "server"])
async def test_a_large_message_passes(role: DtlsRole) -> None:
    async with associated(role) as association:
        channel = await association.start()
        channel.send(bytes(60_000))
        await until(lambda: association.messages == [("reliable", bytes(60_000))])


async def test_a_message_that_never_ends_ends_the_association() -> None:
    async with associated() as association:
        await association.start()
        await flood(association, fragments(association, 1200, 1100))
        await until(lambda: association.pair.server.state == "closed")
        assert association.messages == []


async def test_many_tiny_pieces_end_the_association(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtls, "MAX_WAITING_CHUNKS", 100)
    async with associated() as association:
        await association.start()
        await flood(association, fragments(association, 150, 1, gap=5))
        await until(lambda: association.pair.server.state == "closed")


async def test_touching_every_stream_ends_the_association() -> None:
    async with associated() as association:
        await association.start()
        forward = ForwardTsnChunk()
        forward.cumulative_tsn = association.client._local_tsn + 5
        forward.streams = [(stream, 1) for stream in range(200)]
        await flood(association, [forward])
        await until(lambda: association.pair.server.state == "closed")


async def test_what_makes_aiortc_assert_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with associated() as association:
        await association.start()
        opening = fragments(association, 1, 0)[0]
        opening.flags, opening.protocol = 3, 50  # DATA_CHANNEL_ACK of a channel that nobody opened.
        opening.stream_id, opening.user_data = 9, b"\x02"
        await flood(association, [opening])
        await until(lambda: association.pair.server.state == "closed")
    assert caplog.records == []
