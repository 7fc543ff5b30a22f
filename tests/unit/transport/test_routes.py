"""The port tells a plane that sends by itself where each peer is, and every change of it."""

from __future__ import annotations

import random
import socket

import pytest
from plane_harness import Camera, Stage
from transport_client import Observer, connect, new_client, open_port

from sfu.ids import TransportKey
from sfu.media.plane import Egress, Routes


class Table:
    """Routes as they were told."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, str, int, int]] = {}

    def set_route(self, transport: int, descriptor: int, host: str, port: int, scope: int) -> None:
        self.known[transport] = (descriptor, host, port, scope)

    def clear_route(self, transport: int) -> None:
        del self.known[transport]

    def route_bytes(self, transport: int) -> int:
        return 1_000_000 if transport in self.known else 0


async def test_a_route_lasts_as_long_as_the_transport() -> None:
    async with open_port() as port:
        table = Table()
        port.follow(table)
        client, observer = new_client(), Observer()
        transport, _ = await connect(port, observer, client)
        await observer.connected.wait()
        descriptor, host, number, scope = table.known[transport.key]
        assert transport.stats().remote_address == f"{host}:{number}"
        assert (descriptor > 0, scope) == (True, 0)
        assert transport.stats().bytes_sent > 1_000_000
        await transport.close()
        assert table.known == {}
        await client.close()


class RoutedStage(Stage):
    """What the plane sends by itself comes to a socket of each viewer."""

    routes: Routes

    def follow(self, routes: Routes) -> None:
        self.routes = routes


def test_the_native_plane_sends_by_itself_what_has_a_route() -> None:
    native_plane = pytest.importorskip("sfu.media.native_plane", exc_type=ImportError)
    stage = RoutedStage()
    egress: Egress = stage
    stage.plane = native_plane.NativePlane(egress, rng=random.Random(1))
    stage.plane.open_transport(stage.transport, stage.publisher.keys)
    stage.plane.open_publication(stage.publication, stage.config)
    routed, other = stage.view(), stage.view()
    camera = Camera(stage)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender.bind(("127.0.0.1", 0))
        stage.routes.set_route(routed.transport, sender.fileno(), *receiver.getsockname(), 0)
        camera.send(key=True)
        datagrams = [receiver.recvfrom(2048) for _ in range(2)]
        assert {address for _, address in datagrams} == {sender.getsockname()}
        assert stage.routes.route_bytes(routed.transport) == sum(len(data) for data, _ in datagrams)
        stage.routes.clear_route(routed.transport)
        assert (routed.media, len(other.media)) == ([], 2)
        camera.send()
    assert (len(routed.media), len(other.media)) == (2, 4)
    assert stage.plane.counters().forwarded == 8
    assert stage.routes.route_bytes(TransportKey(99)) == 0
