"""What strangers, thieves and slow peers can do to the port: little, and every drop is counted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from transport_client import PEER_PWD, Observer, Packets, a_check, an_answer, open_port, prove, received

from sfu.config import RtcConfig
from sfu.errors import ConfigError
from sfu.media.plane import SrtpKeys
from sfu.transport import addresses, ice, stun, tcp, validation
from sfu.transport import port as port_module
from sfu.transport.peer import EARLY_PACKETS, PeerTransport
from sfu.transport.port import TransportPort
from sfu.transport.validation import AMPLIFICATION

KEYS = SrtpKeys(profile="AEAD_AES_128_GCM", receive=bytes(28), send=bytes(28))
RTP = b"\x80" + bytes(20)


def started(port: TransportPort, *, keys: bool = True, ufrag: str = "peer") -> PeerTransport:
    transport = port.create(Observer())
    transport.start(ufrag, PEER_PWD, (("sha-256", "AA"),), None)
    transport.srtp_keys = KEYS if keys else None
    return transport


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


async def prove_tcp(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, transport: PeerTransport
) -> None:
    """Have a connection prove itself."""
    writer.write(framed(a_check(transport)))
    size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5), "big")
    writer.write(framed(an_answer(await asyncio.wait_for(reader.readexactly(size), 5))))
    own = writer.get_extra_info("sockname")
    await until(lambda: any((path.host, path.port) == own for path in transport.agent.paths))


async def test_an_address_goes_to_whoever_answers_there() -> None:
    """A forged check names the thief and comes from the victim's address; the victim does not answer it."""
    packets = Packets()
    async with open_port(packets) as port, udp_socket(port) as sock:
        victim, thief = started(port), started(port, ufrag="thief")
        for connected in (False, True):
            sock.send(a_check(thief, peer="thief"))
            assert stun.parse(await received(sock)).username()[0] == "thief"
            assert stun.parse(await received(sock)).message_type == stun.BINDING_SUCCESS
            assert thief.agent.selected is None
            if not connected:
                await prove(sock, victim)
        sock.send(RTP)
        await until(lambda: packets)
        assert packets[0][0] == victim.key
        await prove(sock, thief, peer="thief")
        assert victim.agent.selected is None
        sock.send(RTP)
        await until(lambda: len(packets) == 2)
        assert packets[1][0] == thief.key


@pytest.mark.parametrize("connected", [False, True])
async def test_a_victim_that_never_answers_gets_three_times_what_came_in_its_name(
    connected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks with the right credentials and a forged source: neither media nor a handshake goes there."""
    monkeypatch.setattr(validation, "RETRY_US", 1)
    async with open_port() as port, udp_socket(port) as attacker, udp_socket(port) as victim:
        transport = started(port)
        if connected:
            await prove(attacker, transport)
        check = a_check(transport)
        victim.send(check)
        got = len(await received(victim))
        for _ in range(100):
            port.send(transport.key, RTP)
            transport._send_dtls(b"\x16" + bytes(1000))
        await until(lambda: not transport.agent.validates)
        with contextlib.suppress(BlockingIOError):
            while data := victim.recv(2048):
                assert data[0] < 4
                got += len(data)
        assert got <= AMPLIFICATION * len(check)
        assert transport.bytes_sent == (100 * (len(RTP) + 1001) if connected else 0)


async def test_a_connection_over_tcp_takes_media_only_when_it_has_answered() -> None:
    async with open_port() as port, udp_socket(port) as sock, connection(port) as (reader, writer):
        transport = started(port)
        await prove(sock, transport)
        writer.write(framed(a_check(transport)))
        for kind in (stun.BINDING_REQUEST, stun.BINDING_SUCCESS):
            size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5), "big")
            message = stun.parse(await asyncio.wait_for(reader.readexactly(size), 5))
            assert message.message_type == kind
        assert transport.stats().protocol == "udp"
        port.send(transport.key, RTP)
        assert await received(sock) == RTP


async def test_a_restarted_transport_is_known_by_its_new_ufrag_only() -> None:
    async with open_port() as port, udp_socket(port) as sock:
        transport = started(port)
        await prove(sock, transport)
        before = a_check(transport)
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
        await prove(sock, transport)
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
            await prove(sock, started(port))
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
            await prove_tcp(reader, writer, started(port))
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
        await prove_tcp(reader, writer, transport)
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
            await prove_tcp(each_reader, each_writer, transport)
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
