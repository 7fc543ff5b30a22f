"""Transports against a real aiortc client over loopback."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Callable
from typing import cast

import pylibsrtp
import pytest
from aiortc import RTCDataChannel
from aiortc.mediastreams import AudioStreamTrack
from transport_client import Observer, Packets, connect, negotiate, new_client, open_port

from sfu.ids import TransportKey
from sfu.sdp.negotiate import OTHER_ROLE
from sfu.transport import addresses
from sfu.transport.peer import PeerTransport
from sfu.transport.port import TransportPort


async def until(check: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not check():
            await asyncio.sleep(0.01)


async def opened(channel: RTCDataChannel) -> None:
    await until(lambda: channel.readyState == "open")


@pytest.mark.parametrize(("setup", "role"), [("actpass", "server"), ("passive", "client")])
async def test_connects_and_carries_data_both_ways(setup: str, role: str) -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        transport, channels = await connect(port, observer, client, setup)
        try:
            await asyncio.wait_for(observer.connected.wait(), 10)
            assert transport.state == "connected"
            assert transport.dtls_role == role
            assert transport.srtp_keys is not None
            assert role == "client" or transport.srtp_keys.profile == "AEAD_AES_128_GCM"
            for channel in channels.values():
                await opened(channel)
            await until(lambda: observer.ready == {"reliable", "lossy"})
            got: asyncio.Queue[bytes] = asyncio.Queue()
            for label, channel in channels.items():
                channel.on("message", got.put_nowait)
                channel.send(label.encode())
                assert await asyncio.wait_for(observer.messages.get(), 10) == (label, label.encode())
                assert transport.send_data(label, b"back")
                assert await asyncio.wait_for(got.get(), 10) == b"back"
            stats = transport.stats()
            assert stats.protocol == "udp"
            assert stats.bytes_received > 0
            assert stats.bytes_sent > 0
        finally:
            await client.close()
        assert await asyncio.wait_for(observer.closed, 10) == "closed-by-peer"


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("setup", ["actpass", "passive"])
async def test_a_channel_of_a_later_offer_opens(early: bool, setup: str) -> None:
    """Before DTLS has ended, or after."""
    async with open_port() as port:
        observer, client = Observer(), new_client()
        client.addTrack(AudioStreamTrack())
        transport = port.create(observer)
        try:
            first = await negotiate(port, transport, client, setup=setup)
            assert first.sctp_port is None
            transport.start(
                first.ice_ufrag, first.ice_pwd, first.fingerprints, None, OTHER_ROLE[first.dtls_role]
            )
            if not early:
                await asyncio.wait_for(observer.connected.wait(), 10)
            channel = client.createDataChannel("reliable")
            remote = await negotiate(port, transport, client, version=2)
            assert remote.continues(first)
            assert remote.sctp_port is not None
            for _ in range(2):
                transport.open_data((remote.sctp_port, remote.max_message_size))
            await opened(channel)
            channel.send(b"late")
            assert await asyncio.wait_for(observer.messages.get(), 10) == ("reliable", b"late")
        finally:
            await client.close()


@pytest.mark.parametrize("setup", ["actpass", "passive"])
async def test_srtp_keys_fit_the_clients(setup: str) -> None:
    packets = Packets()
    async with open_port(packets) as port:
        observer, client = Observer(), new_client()
        client.addTrack(AudioStreamTrack())
        transport, _ = await connect(port, observer, client, setup)
        try:
            await asyncio.wait_for(observer.connected.wait(), 10)
            await until(lambda: any(data[0] > 127 and not 191 < data[1] < 224 for _, data, _ in packets))
            keys = transport.srtp_keys
            assert keys is not None
            session = pylibsrtp.Session(
                pylibsrtp.Policy(
                    key=keys.receive,
                    ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
                    srtp_profile=getattr(pylibsrtp.Policy, f"SRTP_PROFILE_{keys.profile}"),
                )
            )
            key, data, _ = next(each for each in packets if not 191 < each[1][1] < 224)
            assert key == transport.key
            assert len(session.unprotect(data)) == len(data) - 16
        finally:
            await client.close()


async def test_packets_that_outran_the_handshake_follow_its_end() -> None:
    order: list[object] = []

    class Watching(Observer):
        def on_connected(self, transport: PeerTransport) -> None:
            order.append("connected")
            super().on_connected(transport)

    class Noting(Packets):
        def take(self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int) -> None:
            order.append((transport, packet, arrival_us))

    async with open_port(Noting()) as port:
        observer, client = Watching(), new_client()
        transport, _ = await connect(port, observer, client)
        try:
            for number in range(3):
                port.deliver(transport, bytes([128, number]), 5000, 1000 + number)
            assert order == []
            await asyncio.wait_for(observer.connected.wait(), 10)
            await until(lambda: len(order) >= 4)
            late = [(transport.key, bytes([128, number]), 1000 + number) for number in range(3)]
            assert order[:4] == ["connected", *late]
            port.deliver(transport, b"\x80now", 6000, 2000)
            assert order[-1] == (transport.key, b"\x80now", 2000)
        finally:
            await client.close()


async def test_credentials_are_as_long_as_the_rfc_demands() -> None:
    async with open_port() as port:
        made = [port.create(Observer()) for _ in range(20)]
        for transport in made:
            # Hexadecimal, four bits a character: 24 and 128 bits. RFC 8445 section 5.3.
            assert 4 * len(transport.ice_ufrag) >= 24
            assert 4 * len(transport.ice_pwd) >= 128
            assert set(transport.ice_ufrag + transport.ice_pwd) <= set("0123456789abcdef")
        assert len({transport.ice_ufrag for transport in made}) == 20
        assert len({transport.ice_pwd for transport in made}) == 20


async def test_wrong_fingerprint_is_refused() -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        original = PeerTransport.start

        def forged(self: PeerTransport, ufrag: str, pwd: str, fingerprints: object, *rest: object) -> None:
            original(self, ufrag, pwd, (("sha-256", ":".join(["AB"] * 32)),), None)

        PeerTransport.start = forged  # type: ignore[method-assign, assignment]
        try:
            transport, _ = await connect(port, observer, client)
        finally:
            PeerTransport.start = original  # type: ignore[method-assign]
        try:
            assert await asyncio.wait_for(observer.closed, 10) == "dtls-failed"
            assert transport.srtp_keys is None
        finally:
            await client.close()


class Nat(asyncio.DatagramProtocol):
    """Between a client and the port; `rebind` gives the client another address, as a NAT or a phone does."""

    def __init__(self, inside: Nat | None = None) -> None:
        self.inside = inside
        self.outside: Nat | None = None
        self.transport: asyncio.DatagramTransport | None = None
        self.client: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # CPython 3.11: not a subclass.

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.inside is None:
            self.client = addr
            if self.outside is not None and self.outside.transport is not None:
                self.outside.transport.sendto(data)
        elif self.inside.client is not None and self.inside.transport is not None:
            self.inside.transport.sendto(data, self.inside.client)

    @classmethod
    async def before(cls, port: TransportPort) -> Nat:
        loop = asyncio.get_running_loop()
        _, nat = await loop.create_datagram_endpoint(cls, ("127.0.0.1", 0))
        await nat.rebind(port)
        return nat

    async def rebind(self, port: TransportPort) -> None:
        if self.outside is not None and self.outside.transport is not None:
            self.outside.transport.close()
        _, self.outside = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Nat(self), remote_addr=("127.0.0.1", port.port)
        )

    def close(self) -> None:
        for end in (self, self.outside):
            if end is not None and end.transport is not None:
                end.transport.close()


async def test_a_live_connection_survives_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.1)
    monkeypatch.setattr("sfu.transport.ice.STALE_US", 300_000)
    async with open_port(tcp=False) as port:
        nat = await Nat.before(port)
        assert nat.transport is not None
        number = nat.transport.get_extra_info("sockname")[1]
        port._candidates = addresses.candidates(["127.0.0.1"], number, tcp=False)
        observer, client = Observer(), new_client()
        transport, channels = await connect(port, observer, client)
        try:
            await opened(channels["reliable"])
            await until(lambda: "reliable" in observer.ready)
            before = transport.stats().remote_address
            await nat.rebind(port)
            await until(lambda: transport.stats().remote_address != before)
            got: asyncio.Queue[bytes] = asyncio.Queue()
            channels["reliable"].on("message", got.put_nowait)
            channels["reliable"].send(b"moved")
            assert await asyncio.wait_for(observer.messages.get(), 10) == ("reliable", b"moved")
            assert transport.send_data("reliable", b"seen")
            assert await asyncio.wait_for(got.get(), 10) == b"seen"
            assert transport.state == "connected"
        finally:
            await client.close()
            nat.close()


async def test_garbage_does_not_disturb_a_live_transport() -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        transport, channels = await connect(port, observer, client)
        try:
            await asyncio.wait_for(observer.connected.wait(), 10)
            await opened(channels["reliable"])
            rng = random.Random(1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for first in [0, 1, 3, 20, 22, 63, 64, 128, 144, 191, 192, 255] * 20:
                    stranger.sendto(
                        bytes([first]) + rng.randbytes(rng.randrange(200)), ("127.0.0.1", port.port)
                    )
                stranger.sendto(b"", ("127.0.0.1", port.port))
                channels["reliable"].send(b"still here")
                assert await asyncio.wait_for(observer.messages.get(), 10) == ("reliable", b"still here")
                stranger.setblocking(False)
                with pytest.raises(BlockingIOError):
                    stranger.recv(1)  # Nothing is sent to an address that has proven nothing.
            assert sum(port.counters.values()) > 100
            assert transport.state == "connected"
        finally:
            await client.close()


async def test_a_busy_channel_says_no_instead_of_growing() -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        transport, channels = await connect(port, observer, client)
        try:
            await opened(channels["reliable"])
            await until(lambda: "reliable" in observer.ready)
            observer.ready.clear()
            taken = 0
            while transport.send_data("reliable", bytes(60_000)):
                taken += 1
                assert taken < 100
            await until(lambda: "reliable" in observer.ready, 30)
            assert transport.send_data("reliable", b"again")
        finally:
            await client.close()


async def test_strange_channels_are_closed() -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        stranger = client.createDataChannel("stranger")
        _, channels = await connect(port, observer, client)
        try:
            await opened(channels["reliable"])
            await until(lambda: stranger.readyState == "closed")
        finally:
            await client.close()


async def test_nothing_is_left_after_many_transports() -> None:
    async def round_trip(port: TransportPort) -> None:
        observer, client = Observer(), new_client()
        transport, _ = await connect(port, observer, client)
        await asyncio.wait_for(observer.connected.wait(), 10)
        await client.close()
        await transport.close()

    async with open_port() as port:
        tasks = len(asyncio.all_tasks())
        for _ in range(10):
            await round_trip(port)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: _count_transports() == 0)
        assert not port._peers
        assert not port._by_address
        assert not port._by_ufrag


async def test_fifty_transports_that_nobody_joins_leave_nothing() -> None:
    async with open_port() as port:
        tasks = len(asyncio.all_tasks())
        for number in range(50):
            transport = port.create(Observer())
            if number % 2:
                transport.start("peer", "q" * 24, (("sha-256", "AA"),), (5000, 65536))
            if number % 4 > 1:
                await asyncio.sleep(0)
                transport.restart_ice()
            await transport.close()
            await transport.close()
        del transport
        assert len(asyncio.all_tasks()) == tasks
        assert not port._by_ufrag
        await until(lambda: _count_transports() == 0)


async def test_closing_is_told_to_the_peer() -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        transport, channels = await connect(port, observer, client)
        try:
            await opened(channels["reliable"])
            await until(lambda: "reliable" in observer.ready)
            assert client.sctp is not None
            dtls = client.sctp.transport
            await transport.close()
            await until(lambda: channels["reliable"].readyState == "closed")
            await until(lambda: dtls.state == "closed")
            assert not observer.closed.done()  # Whoever closes knows it.
        finally:
            await client.close()


def _count_transports() -> int:
    gc.collect()
    return sum(isinstance(each, PeerTransport) for each in gc.get_objects())
