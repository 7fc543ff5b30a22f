"""The port with the native plane on its sockets: real datagrams of peers with SRTP of their own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from plane_harness import OUT_PT, SEEN_IDS, SENT_IDS, VIDEO, Secured, one_byte, rtp, vp8_payload
from transport_client import (
    PEER_PWD,
    Observer,
    Packets,
    a_check,
    an_answer,
    connect,
    new_client,
    open_port,
    prove,
    received,
)

from sfu import clock
from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import EncodingStarted, PublicationConfig, SubscriptionConfig
from sfu.rtp.packet import RtpPacket, is_rtcp, parse_packet
from sfu.rtp.rtcp import PictureLoss, parse_compound, serialize
from sfu.rtp.transport_cc import TransportWideFeedback
from sfu.transport import ice, stun
from sfu.transport.port import TransportPort

if TYPE_CHECKING:
    from sfu.media.native_plane import NativePlane

pytest.importorskip("sfu.media.native_plane", exc_type=ImportError)
CAMERA = PublicationKey(1)


class Peer:
    """A socket that has proven its address, and SRTP keys."""

    def __init__(self, port: TransportPort, seed: int) -> None:
        self.port = port
        self.secured = Secured(seed, "AEAD_AES_128_GCM")
        self.transport = port.create(Observer())
        self.transport.start("peer", PEER_PWD, (("sha-256", "AA"),), None)
        self.transport.srtp_keys = self.secured.keys
        self.key = self.transport.key
        self.sock = self.another()
        self.seq = 0

    def another(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(("127.0.0.1", self.port.port))
        return sock

    async def check(self, *, nominate: bool = True) -> None:
        """A connectivity check, answered."""
        answer = await prove(self.sock, self.transport, nominate=nominate)
        assert answer.message_type == stun.BINDING_SUCCESS
        assert answer.integrity_is_valid(self.transport.ice_pwd)
        assert answer.fingerprint_is_valid()
        assert stun.mapped_address(answer) == self.sock.getsockname()

    async def receive(self) -> bytes:
        return await received(self.sock)

    async def media(self) -> RtpPacket:
        """The next RTP packet."""
        while is_rtcp(data := await self.receive()) or data[0] < 128:
            pass
        return parse_packet(self.secured.inbound.unprotect(data))

    def send_frame(self, *, key: bool = False) -> None:
        """A frame of one packet."""
        self.seq += 1
        payload = vp8_payload(self.seq, key=key, tl0=self.seq)
        extension = one_byte({SENT_IDS.mid: b"0", SENT_IDS.transport_cc: self.seq.to_bytes(2, "big")})
        packet = rtp(0x1000, self.seq, self.seq * 3000, payload, marker=True, extension=extension)
        self.sock.send(self.secured.outbound.protect(packet))


class Onward(Packets):
    """What the port hands on goes to the plane."""

    plane: NativePlane

    def take(self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int) -> None:
        self.plane.receive(transport, packet, now_us, arrival_us)


class Call:
    """A publisher and its viewers on one port."""

    def __init__(self, port: TransportPort, plane: NativePlane) -> None:
        self.port = port
        self.plane = plane
        self.publisher = Peer(port, 1)
        self.peers = [self.publisher]

    async def publish(self) -> None:
        await self.publisher.check()
        self.plane.open_transport(self.publisher.key, self.publisher.secured.keys)
        self.plane.open_publication(
            CAMERA,
            PublicationConfig(
                transport=self.publisher.key, kind="video", mid="0", codecs=(VIDEO,), extensions=SENT_IDS,
                nack=True, transport_cc=True,
            ),
        )  # fmt: skip

    async def view(self) -> Peer:
        viewer = Peer(self.port, len(self.peers) + 1)
        self.peers.append(viewer)
        await viewer.check()
        self.subscribe(viewer)
        return viewer

    def subscribe(self, viewer: Peer) -> None:
        self.plane.open_transport(viewer.key, viewer.secured.keys)
        self.plane.open_subscription(
            SubscriptionKey(viewer.key),
            SubscriptionConfig(
                transport=viewer.key, publication=CAMERA, mid="7", ssrc=0x2000 + viewer.key, rtx_ssrc=None,
                payload_types={96: OUT_PT}, rtx_payload_types={}, extensions=SEEN_IDS, cname="PA_x",
            ),
        )  # fmt: skip

    async def received(self, count: int) -> None:
        """Wait until the plane has received so many datagrams."""
        async with asyncio.timeout(5):
            while self.plane.counters().received < count:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def open_call(threads: int = 1) -> AsyncIterator[Call]:
    from sfu.media.native_plane import NativePlane

    over_tcp = Onward()
    async with open_port(over_tcp, threads=threads) as port:
        call = Call(port, NativePlane(port, rng=random.Random(1)))
        over_tcp.plane = call.plane
        try:
            await call.publish()
            yield call
        finally:
            for peer in call.peers:
                peer.sock.close()


@pytest.mark.parametrize("threads", [1, 2, 3])
async def test_media_goes_from_socket_to_socket(threads: int) -> None:
    """With more threads the viewers are in other lanes than the publisher: what is of no room spreads."""
    async with open_call(threads) as call:
        viewers = [await call.view() for _ in range(7)]
        for number in range(10):
            call.publisher.send_frame(key=number == 0)
        for viewer in viewers:
            seqs = [(await viewer.media()).seq for _ in range(10)]
            assert seqs == [seqs[0] + number for number in range(10)]
        assert EncodingStarted(CAMERA, "", 0x1000) in call.plane.poll_events()
        (encoding,) = call.plane.publication_stats(CAMERA)
        assert (encoding.packets, encoding.lost) == (10, 0)
        stats = call.publisher.transport.stats()
        assert stats.bytes_received > 1000
        assert viewers[0].transport.stats().bytes_sent > 1000


async def test_the_plane_keeps_its_time_by_itself() -> None:
    async with open_call() as call:
        for number in range(3):
            call.publisher.send_frame(key=number == 0)
        while True:
            data = await call.publisher.receive()
            reports = parse_compound(call.publisher.secured.inbound.unprotect_rtcp(data))
            if any(isinstance(report, TransportWideFeedback) for report in reports):
                break


async def test_media_before_the_keys_waits_for_them() -> None:
    async with open_port() as port:
        from sfu.media.native_plane import NativePlane

        plane = NativePlane(port, rng=random.Random(1))
        call = Call(port, plane)
        call.publisher.transport.srtp_keys = None
        await call.publisher.check()
        call.publisher.send_frame(key=True)
        await call.publisher.check()
        assert plane.counters().received == 0
        assert len(call.publisher.transport._early) == 1
        call.publisher.sock.close()


async def test_a_peer_that_makes_no_checks_is_asked_for_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plane, which has its own clock, hears of the answer."""
    monkeypatch.setattr(ice, "CONSENT_CHECK_US", 0)
    async with open_call() as call:
        peer, lifted = call.publisher, call.port._lifted
        assert lifted
        routes = lifted.routes
        for _ in range(3):
            before = routes.checked_us(peer.key)
            peer.transport.watch(clock.now_us())
            while (check := await peer.receive())[0] > 3:
                pass
            peer.sock.send(an_answer(check))
            async with asyncio.timeout(5):
                while routes.checked_us(peer.key) <= before:
                    await asyncio.sleep(0.001)


@pytest.mark.parametrize("threads", [1, 3])
async def test_strangers_are_dropped_and_counted(threads: int) -> None:
    async with open_call(threads) as call:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            check = stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"nobody:peer")], "p" * 24)
            for data in (b"\x80" + bytes(30), b"\x16" + bytes(30), b"\x50" + bytes(30), b"", check):
                stranger.sendto(data, ("127.0.0.1", call.port.port))
            async with asyncio.timeout(5):
                while sum(call.plane.counters().dropped.values()) < 5:
                    await asyncio.sleep(0.005)
        assert call.plane.counters().dropped == {
            "unknown-address": 2,
            "unknown-datagram": 2,
            "stun-unknown-ufrag": 1,
        }


async def test_a_handshake_right_after_the_answer_goes_up() -> None:
    """The peer's datagrams come together: the second one before the port has learnt whose address it is."""
    async with open_call() as call:
        peer = Peer(call.port, 2)
        call.peers.append(peer)
        peer.sock.send(a_check(peer.transport))
        while stun.parse(check := await peer.receive()).message_type != stun.BINDING_REQUEST:
            pass
        before = peer.transport.bytes_received
        peer.sock.send(an_answer(check))
        peer.sock.send(b"\x16" + bytes(40))
        async with asyncio.timeout(5):
            while peer.transport.bytes_received == before:
                await asyncio.sleep(0.005)
        assert "unknown-address" not in call.plane.counters().dropped


async def test_handshakes_and_data_channels_go_up() -> None:
    from sfu.media.native_plane import NativePlane

    async with open_port() as port:
        NativePlane(port, rng=random.Random(1))
        client, observer = new_client(), Observer()
        _, channels = await connect(port, observer, client)
        await asyncio.wait_for(observer.connected.wait(), 10)
        opened = asyncio.Event()
        channels["reliable"].on("open", opened.set)
        if channels["reliable"].readyState != "open":
            await asyncio.wait_for(opened.wait(), 10)
        channels["reliable"].send(b"hello")
        assert await asyncio.wait_for(observer.messages.get(), 5) == ("reliable", b"hello")
        await client.close()


async def test_checks_on_the_proven_path_need_no_decision() -> None:
    async with open_call() as call:
        peer = call.publisher
        agent = peer.transport.agent
        first_us = max(agent.paths.values())
        decided, decide = [], agent.check
        agent.check = lambda *arguments: decided.append(1) or decide(*arguments)  # type: ignore[method-assign,func-returns-value]
        await peer.check()
        await peer.check(nominate=False)
        assert decided == []
        async with asyncio.timeout(5):
            while max(agent.paths.values()) == first_us:
                await asyncio.sleep(0.05)
        peer.transport.restart_ice()
        await peer.check()
        await peer.check()
        assert decided == [1]
        before, peer.sock = peer.sock, peer.another()
        await peer.check(nominate=False)
        assert decided == [1, 1]
        before.close()


@pytest.mark.parametrize("threads", [1, 3])
async def test_the_peer_moves_and_media_follows(threads: int) -> None:
    async with open_call(threads) as call:
        viewer = await call.view()
        call.publisher.send_frame(key=True)
        await viewer.media()
        before, viewer.sock = viewer.sock, viewer.another()
        await viewer.check()
        call.publisher.send_frame()
        await viewer.media()
        before.close()
        old, call.publisher.sock = call.publisher.sock, call.publisher.another()
        await call.publisher.check()
        call.publisher.send_frame()
        await viewer.media()
        old.close()


@pytest.mark.parametrize("threads", [1, 3])
async def test_a_viewer_over_tcp_is_served_by_the_port(threads: int) -> None:
    async with open_call(threads) as call:
        viewer = Peer(call.port, 9)
        viewer.sock.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", call.port.port)
        check = a_check(viewer.transport)
        writer.write(len(check).to_bytes(2, "big") + check)

        async def frame() -> bytes:
            size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5), "big")
            return await asyncio.wait_for(reader.readexactly(size), 5)

        answer = an_answer(await frame())
        writer.write(len(answer).to_bytes(2, "big") + answer)
        assert (await frame())[:2] == b"\x01\x01"
        async with asyncio.timeout(5):
            while viewer.transport.agent.selected is None:
                await asyncio.sleep(0.001)
        call.subscribe(viewer)
        for number in range(5):
            call.publisher.send_frame(key=number == 0)
        received: list[RtpPacket] = []
        while len(received) < 5:
            if not is_rtcp(data := await frame()):
                received.append(parse_packet(viewer.secured.inbound.unprotect(data)))
        assert [packet.seq - received[0].seq for packet in received] == list(range(5))
        feedback = serialize([PictureLoss(sender_ssrc=1, media_ssrc=received[0].ssrc)])
        protected = viewer.secured.outbound.protect_rtcp(feedback)
        writer.write(len(protected).to_bytes(2, "big") + protected)
        await call.received(6)
        writer.close()


@pytest.mark.parametrize("threads", [1, 3])
async def test_transports_close_while_packets_flow(threads: int) -> None:
    async with open_call(threads) as call:
        viewers = [await call.view() for _ in range(4)]
        call.publisher.send_frame(key=True)
        for viewer in viewers:
            await viewer.media()
        for viewer in viewers:
            for _ in range(50):
                call.publisher.send_frame()
            call.plane.close_transport(viewer.key)
            await viewer.transport.close()
        call.publisher.send_frame()
        await call.received(202)
        call.plane.close_transport(call.publisher.key)
        call.publisher.send_frame()
        await call.publisher.transport.close()
        assert call.plane.counters().dropped.keys() <= {"no-transport", "unknown-address"}
