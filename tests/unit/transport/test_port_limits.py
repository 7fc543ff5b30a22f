"""What strangers, thieves and slow peers can do to the port: little, and every drop is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from transport_client import Observer, Packets, open_port

from sfu.config import RtcConfig
from sfu.errors import ConfigError
from sfu.media.plane import SrtpKeys
from sfu.transport import addresses, ice, stun, tcp
from sfu.transport import port as port_module
from sfu.transport.peer import EARLY_PACKETS, PeerTransport
from sfu.transport.port import TransportPort

KEYS = SrtpKeys(profile="AEAD_AES_128_GCM", receive=bytes(28), send=bytes(28))
RTP = b"\x80" + bytes(20)


def started(port: TransportPort, *, keys: bool = True) -> PeerTransport:
    transport = port.create(Observer())
    transport.start("peer", "q" * 24, (("sha-256", "AA"),), None)
    transport.srtp_keys = KEYS if keys else None
    return transport


def a_check(transport: PeerTransport, *, nominate: bool = True) -> bytes:
    attributes = [(stun.USERNAME, f"{transport.ice_ufrag}:peer".encode()), (stun.ICE_CONTROLLING, bytes(8))]
    if nominate:
        attributes.append((stun.USE_CANDIDATE, b""))
    return stun.build(stun.BINDING_REQUEST, os.urandom(12), attributes, transport.ice_pwd)


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def udp_socket(port: TransportPort) -> AsyncIterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port.port))
        yield sock


async def received(sock: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 2000), 5)


@contextlib.asynccontextmanager
async def connection(port: TransportPort) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


async def test_an_address_in_use_cannot_be_claimed_by_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = Packets()
    async with open_port(packets) as port, udp_socket(port) as sock:
        victim, thief = started(port), started(port)
        sock.send(a_check(victim))
        await received(sock)
        sock.send(a_check(thief))
        await until(lambda: port.counters["stun-address-taken"])
        sock.send(RTP)
        await until(lambda: packets)
        assert packets[0][0] == victim.key
        assert thief.agent.selected is None
        monkeypatch.setattr(ice, "STALE_US", -1)  # The victim has gone: its address is free again.
        sock.send(a_check(thief))
        await received(sock)
        assert thief.agent.selected is not None
        assert victim.agent.selected is None


async def test_a_restarted_transport_is_known_by_its_new_ufrag_only() -> None:
    async with open_port() as port, udp_socket(port) as sock:
        transport = started(port)
        before = a_check(transport)
        sock.send(before)
        await received(sock)
        transport.restart_ice()
        sock.send(before)
        assert stun.parse(await received(sock)).message_type == stun.BINDING_SUCCESS
        sock.send(a_check(transport))
        await received(sock)
        sock.send(before)
        await until(lambda: port.counters["stun-unknown-ufrag"])
        for _ in range(5):
            transport.restart_ice()
        await transport.close()
        assert not port._by_ufrag


async def test_packets_before_the_keys_wait_and_are_bounded() -> None:
    packets = Packets()
    async with open_port(packets) as port, udp_socket(port) as sock:
        transport = started(port, keys=False)
        sock.send(a_check(transport))
        await received(sock)
        for number in range(EARLY_PACKETS + 3):
            sock.send(RTP + bytes([number]))
        await until(lambda: port.counters["srtp-before-keys"] == 3)
        assert packets == []
        assert [data[-1] for data, _ in transport._early] == list(range(EARLY_PACKETS))


async def test_a_refused_check_is_answered_with_nothing() -> None:
    async with open_port() as port, udp_socket(port) as sock:
        transport = started(port)
        username = f"{transport.ice_ufrag}:peer".encode()
        forged = stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, username)], "guess")
        sock.send(forged)
        await until(lambda: port.counters["stun-refused"])
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        port.send(transport.key, RTP)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


async def test_a_long_burst_lets_others_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = [0]

    def packet(*_: object) -> None:
        batches[-1] += 1

    port = await TransportPort.open(
        RtcConfig(port=0, bind=("127.0.0.1",), tcp=False), packet, lambda: batches.append(0)
    )
    try:
        async with udp_socket(port) as sock:
            sock.send(a_check(started(port)))
            await received(sock)
            batches[:] = [0]
            for _ in range(200):
                sock.send(RTP)
            await until(lambda: sum(batches) == 200)
            assert max(batches) <= port_module.DRAIN_DATAGRAMS
            monkeypatch.setattr(port_module, "DRAIN_US", -1)
            batches[:] = [0]
            for _ in range(5):
                sock.send(RTP)
            await until(lambda: sum(batches) == 5)
            assert max(batches) == 1
    finally:
        await port.close()


async def test_a_full_send_buffer_drops_and_counts() -> None:
    class Full:
        def sendto(self, data: bytes, address: object) -> int:
            raise BlockingIOError(11, "full")

    async with open_port() as port:
        path = port_module.UdpPath(Full(), ("192.0.2.1", 1), port.count)  # type: ignore[arg-type]
        assert not path.send(RTP)
        assert port.counters["send-buffer-full"] == 1


async def test_a_frame_that_no_peer_sends_ends_the_connection() -> None:
    async with open_port() as port, connection(port) as (reader, writer):
        writer.write((tcp.MAX_FRAME_BYTES + 1).to_bytes(2, "big") + bytes(100))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        assert port.counters["tcp-frame-too-long"] == 1


async def test_unproven_connections_of_one_address_are_limited_proven_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "MAX_UNPROVEN_PER_HOST", 2)
    async with open_port() as port, contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            reader, writer = await stack.enter_async_context(connection(port))
            writer.write(framed(a_check(started(port))))
            await asyncio.wait_for(reader.readexactly(2), 5)
        silent = [await stack.enter_async_context(connection(port)) for _ in range(2)]
        await until(lambda: len(port._tcp_paths) == 6)
        reader, writer = await stack.enter_async_context(connection(port))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(silent[0][0].readexactly(1), 5)
        assert port.counters["tcp-gave-way"] == 1
        writer.write(framed(a_check(started(port))))
        await asyncio.wait_for(reader.readexactly(2), 5)


async def test_unproven_connections_are_counted_for_a_64_of_ipv6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "MAX_UNPROVEN_PER_HOST", 2)
    async with open_port() as port:

        def opens(host: str) -> bool:
            path = tcp.TcpPath(port._framed, port._tcp_opened, port._tcp_closed, port.count)
            path.host = host
            return port._tcp_opened(path)

        assert [opens(f"2001:db8::{number}") for number in range(3)] == [True] * 3
        assert port.counters["tcp-gave-way"] == 1
        assert opens("2001:db8:0:1::1")
        assert port.counters["tcp-gave-way"] == 1


async def test_where_all_connections_have_passed_a_check_no_more_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 2)
    paths: dict[tcp.TcpPath, None] = {}
    counters: Counter[str] = Counter()

    def come(host: str, *, proven: bool) -> bool:
        path = tcp.TcpPath(lambda *_: None, lambda _: True, lambda _: None, lambda _: None)
        path.host, path.proven = host, proven
        if there := tcp.make_place(paths, host, counters):
            paths[path] = None
        return there

    assert [come(f"192.0.2.{number}", proven=number == 1) for number in range(3)] == [True] * 3
    assert [path.host for path in paths] == ["192.0.2.1", "192.0.2.2"], "the one without a check gave way"
    assert come("192.0.2.3", proven=True)
    assert not come("192.0.2.4", proven=False)
    assert counters == {"tcp-gave-way": 2, "tcp-refused": 1}


async def test_a_tcp_peer_that_does_not_read_misses_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_BUFFERED_BYTES", 50_000)
    async with open_port() as port, connection(port) as (reader, writer):
        transport = started(port)
        writer.write(framed(a_check(transport)))
        await asyncio.wait_for(reader.readexactly(2), 5)
        for _ in range(20_000):
            port.send(transport.key, bytes([128]) * 1200)
            if port.counters["send-buffer-full"]:
                break
        assert port.counters["send-buffer-full"]
        path = transport.agent.selected
        assert isinstance(path, tcp.TcpPath)
        assert path._transport is not None
        assert path._transport.get_write_buffer_size() < 50_000 + 2000


async def test_what_the_kernel_drops_is_counted_too() -> None:
    async with open_port() as port, udp_socket(port) as sock:
        assert "receive-buffer-full" not in port.dropped()
        port._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        # Nobody reads until the event loop runs.
        for _ in range(50):
            sock.send(bytes([80]) * 1200)
        overruns = port.dropped()["receive-buffer-full"]
        assert 0 < overruns < 50
        await until(lambda: port.counters["unknown-datagram"] == 50 - overruns)


async def test_a_forgotten_tcp_path_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "MAX_PATHS", 1)
    async with open_port() as port, connection(port) as (reader, writer), connection(port) as second:
        transport = started(port)
        for each_reader, each_writer in ((reader, writer), second):
            each_writer.write(framed(a_check(transport)))
            await asyncio.wait_for(each_reader.readexactly(2), 5)
        await asyncio.wait_for(reader.read(), 5)
        assert reader.at_eof()
        assert len(transport.agent.paths) == 1
        assert transport.agent.selected in transport.agent.paths


async def test_a_number_the_system_picked_is_tried_again_when_tcp_lacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listen, tries = TransportPort._listen, 0

    async def taken_once(self: TransportPort) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError(98, "in use")
        await listen(self)

    monkeypatch.setattr(TransportPort, "_listen", taken_once)
    async with open_port() as port:
        assert tries == 2
        assert f" {port.port} " in port.candidates()[0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stun.example.org", ("stun.example.org", 3478)),
        ("stun.example.org:19302", ("stun.example.org", 19302)),
        ("[2001:db8::1]:5", ("2001:db8::1", 5)),
    ],
)
def test_stun_server_texts(text: str, parts: tuple[str, int]) -> None:
    assert addresses._host_and_port(text) == parts


@pytest.mark.parametrize("text", ["", ":3478", "host:port", "host:99999", "[::1"])
async def test_a_malformed_stun_server_is_a_configuration_error(text: str) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(ConfigError, match=r"rtc\.stun_server"),
    ):
        await addresses.discover_public_address(text, sock)
