"""The port as a network sees it: sockets, framing, addresses."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import time
from dataclasses import replace

import pytest
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
from sfu.config import RtcConfig
from sfu.errors import ConfigError, StartError
from sfu.media.plane import SrtpKeys
from sfu.transport import addresses, stun, timestamps
from sfu.transport.peer import PeerTransport
from sfu.transport.port import TransportPort

KEYS = SrtpKeys(profile="AEAD_AES_128_GCM", receive=bytes(28), send=bytes(28))


def started(port: TransportPort) -> PeerTransport:
    transport = port.create(Observer())
    transport.start("peer", PEER_PWD, (("sha-256", "AA"),), None)
    transport.srtp_keys = KEYS
    return transport


async def frame(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5), "big")
    return await asyncio.wait_for(reader.readexactly(size), 5)


async def test_candidates_name_the_bound_address_over_udp_and_tcp() -> None:
    async with open_port() as port:
        udp, tcp = port.candidates()
        assert f"127.0.0.1 {port.port} typ host" in udp
        assert tcp.endswith("tcptype passive")
        assert int(udp.split()[3]) > int(tcp.split()[3])


async def test_announced_addresses_replace_the_machines_own() -> None:
    async with open_port(announce=("203.0.113.9",), tcp=False) as port:
        assert [line.split()[4] for line in port.candidates()] == ["203.0.113.9"]


async def test_a_taken_port_is_an_error() -> None:
    async with open_port() as port:
        taken = rf"rtc\.port: UDP 127\.0\.0\.1:{port.port}: Address already in use"
        with pytest.raises(StartError, match=taken) as raised:
            await TransportPort.open(RtcConfig(port=port.port, bind=("127.0.0.1",)), lambda *_: None)
        assert raised.value.status == os.EX_UNAVAILABLE


async def test_a_port_taken_for_tcp_alone_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        with pytest.raises(
            StartError, match=rf"rtc\.port: TCP 127\.0\.0\.1:{number}: Address already in use"
        ):
            await TransportPort.open(RtcConfig(port=number, bind=("127.0.0.1",)), lambda *_: None)


async def test_an_address_that_is_not_there_yet_may_come() -> None:
    with pytest.raises(StartError, match=r"rtc\.bind: UDP 192\.0\.2\.1:0: Cannot assign") as raised:
        await TransportPort.open(RtcConfig(port=0, bind=("192.0.2.1",)), lambda *_: None)
    assert raised.value.status == os.EX_TEMPFAIL


async def test_without_netlink_the_addresses_have_to_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(addresses.ifaddr, "get_adapters", refuse)
    config = RtcConfig(port=0, bind=("0.0.0.0",))
    with pytest.raises(ConfigError, match=r"rtc\.announce: Address family not supported .*AF_NETLINK"):
        await TransportPort.open(config, lambda *_: None)
    port = await TransportPort.open(replace(config, announce=("192.0.2.7",)), lambda *_: None)
    assert "192.0.2.7" in port.candidates()[0]
    await port.close()


async def test_a_socket_that_no_thread_can_have_is_told() -> None:
    class NoThreads:
        def start(self, groups: list[list[int]]) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        def stop(self) -> None: ...

    async with open_port() as port:
        with pytest.raises(StartError, match=r"media\.threads: Too many open files"):
            port.follow(NoThreads())  # type: ignore[arg-type]


async def test_ipv6_is_served_on_the_same_number() -> None:
    async with open_port(bind=("127.0.0.1", "::1")) as port:
        transport = started(port)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("::1", port.port))
            assert stun.mapped_address(await prove(sock, transport))[0] == "::1"


async def test_the_peer_moves_to_another_address() -> None:
    packets = Packets()
    async with open_port(packets) as port:
        transport = started(port)
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for sock in socks:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port.port))
            await prove(sock, transport)
            port.send(transport.key, b"\x80media")
            assert await received(sock) == b"\x80media"
            sock.send(b"\x80" + bytes(20))
        async with asyncio.timeout(5):
            while len(packets) < 2:
                await asyncio.sleep(0.01)
        assert {key for key, _, _ in packets} == {transport.key}
        for sock in socks:
            sock.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a datagram arrived")
async def test_a_datagram_that_waited_for_the_event_loop_has_the_time_it_arrived() -> None:
    packets = Packets()
    async with open_port(packets) as port:
        transport = started(port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port.port))
            await prove(sock, transport)
            sock.send(b"\x80" + bytes(20))
            sent_us = clock.now_us()
            while clock.now_us() < sent_us + 50_000:
                pass
            async with asyncio.timeout(5):
                while not packets:
                    await asyncio.sleep(0.01)
        ((_, _, arrival_us),) = packets
        assert arrival_us < sent_us + 10_000


def test_a_wall_clock_that_was_set_makes_no_arrival_of_it() -> None:
    def stamp(ahead_s: int) -> list[tuple[int, int, bytes]]:
        return [(1, timestamps._SO_TIMESTAMPNS, timestamps._TIMESPEC.pack(int(time.time()) + ahead_s, 0))]

    assert timestamps.age_us(stamp(60)) == timestamps.age_us(stamp(-60)) == timestamps.age_us([]) == 0
    assert timestamps.age_us([(1, 99, b"other")]) == 0


async def test_media_from_an_unproven_address_is_dropped() -> None:
    packets = Packets()
    async with open_port(packets) as port:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"\x80" + bytes(20), ("127.0.0.1", port.port))
            async with asyncio.timeout(5):
                while not port.counters["unknown-address"]:
                    await asyncio.sleep(0.01)
        assert packets == []


async def test_tcp_carries_checks_and_media_in_frames() -> None:
    packets = Packets()
    async with open_port(packets) as port:
        transport = started(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        check = a_check(transport)
        framed = len(check).to_bytes(2, "big") + check
        writer.write(framed[:7])
        await writer.drain()
        writer.write(framed[7:])
        answered = an_answer(await frame(reader))
        writer.write(len(answered).to_bytes(2, "big") + answered + b"\x00\x15\x80" + bytes(20))
        answer = stun.parse(await frame(reader))
        assert answer.message_type == stun.BINDING_SUCCESS
        async with asyncio.timeout(5):
            while not packets:
                await asyncio.sleep(0.001)
        port.send(transport.key, b"\x80media")
        assert await frame(reader) == b"\x80media"
        assert transport.stats().protocol == "tcp"
        assert [data for _, data, _ in packets] == [b"\x80" + bytes(20)]
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(5):
            while transport.agent.selected is not None:
                await asyncio.sleep(0.01)


async def test_a_silent_tcp_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.transport.tcp.PROOF_TIMEOUT_S", 0.05)
    async with open_port() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()


async def test_consent_that_runs_out_ends_the_transport() -> None:
    async with open_port() as port:
        observer, client = Observer(), new_client()
        transport, _ = await connect(port, observer, client)
        await asyncio.wait_for(observer.connected.wait(), 10)
        last = transport.agent.paths[transport.agent.selected]  # type: ignore[index]
        transport.watch(last + 12_000_000)
        assert transport.state == "connected"
        transport.watch(last + 14_000_000)
        assert transport.state == "disconnected"
        transport.checked()
        assert transport.state == "connected"
        transport.watch(last + 60_000_000)
        assert await asyncio.wait_for(observer.closed, 5) == "consent-expired"
        assert transport.state == "failed"
        await client.close()


async def test_public_address_is_found_by_stun() -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            request = stun.parse(data)
            seen = stun.xor_address("203.0.113.77", 4000, request.transaction_id)
            self.transport.sendto(b"\x01\x01garbage", addr)  # type: ignore[attr-defined]
            self.transport.sendto(  # type: ignore[attr-defined]
                stun.build(stun.BINDING_SUCCESS, request.transaction_id, [(stun.XOR_MAPPED_ADDRESS, seen)]),
                addr,
            )

    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Server, ("127.0.0.1", 0))
    try:
        where = server.get_extra_info("sockname")
        async with open_port(stun_server=f"127.0.0.1:{where[1]}") as port:
            assert any(" 203.0.113.77 " in line for line in port.candidates())
    finally:
        server.close()


async def test_a_stun_server_that_is_silent_does_not_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "STUN_WAIT_S", 0.01)
    async with open_port(stun_server="127.0.0.1:9") as port:
        assert port.candidates()


def test_loopback_is_announced_only_where_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "machine_addresses", lambda version: ["192.0.2.5"] if version == 4 else [])
    assert addresses.announced(["0.0.0.0", "::"], ()) == ["192.0.2.5"]
    monkeypatch.setattr(addresses, "machine_addresses", lambda version: [])
    assert addresses.announced(["0.0.0.0", "::"], ()) == ["127.0.0.1"]
    assert addresses.announced(["127.0.0.1"], ()) == ["127.0.0.1"]


async def test_a_peer_that_makes_no_checks_is_asked_for_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    real, ahead_us = clock.now_us, 0
    monkeypatch.setattr(clock, "now_us", lambda: real() + ahead_us)
    async with open_port() as port:
        transport = started(port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port.port))
            await prove(sock, transport)
            for _ in range(8):
                ahead_us += 7_000_000
                transport.watch(clock.now_us())
                while stun.parse(check := await received(sock)).message_type != stun.BINDING_REQUEST:
                    pass
                sock.send(an_answer(check))
                async with asyncio.timeout(5):
                    while transport.agent.silent_us(clock.now_us()) > 5_000_000:
                        await asyncio.sleep(0.001)
            assert transport.state == "connecting"


@pytest.mark.parametrize(
    ("announce", "said"), [((), True), (("::1",), True), (("192.0.2.1",), False), (("sfu.example",), False)]
)
async def test_a_port_on_loopback_alone_says_that_firefox_cannot_use_it(
    caplog: pytest.LogCaptureFixture, announce: tuple[str, ...], said: bool
) -> None:
    async with open_port(announce=announce):
        pass
    assert any("Firefox" in record.message for record in caplog.records) is said
