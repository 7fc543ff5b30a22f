"""The port tells a plane that sends by itself where each peer is, and every change of it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Sequence

import pytest
from plane_harness import Camera, Stage
from transport_client import Observer, connect, new_client, open_port

from sfu import clock
from sfu.ids import TransportKey
from sfu.media.plane import Egress, Routes, Upward


class Table:
    """Routes as they were told."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, str, int, int]] = {}
        self.learnt: dict[tuple[str, int, int], int] = {}
        self.agreed: dict[int, tuple[str, str]] = {}
        self.renewed_us = 0
        self.expected: set[str] = set()
        self.forgotten: list[int] = []
        self.groups: list[list[socket.socket]] = []
        self.upward: list[Upward] = []
        self.bell = socket.socketpair()

    def start(self, groups: Sequence[Sequence[int]]) -> int:
        self.groups = [[socket.socket(fileno=os.dup(each)) for each in group] for group in groups]
        asyncio.get_running_loop().add_reader(self.groups[0][0], self.read)
        return self.bell[0].fileno()

    def read(self) -> None:
        data, (host, port) = self.groups[0][0].recvfrom(2048)
        self.upward.append((0, host, port, 0, data, clock.now_us(), 0))
        self.bell[1].send(b".")

    def take_upward(self, most: int) -> tuple[list[Upward], list[tuple[int, bytes]]]:
        self.bell[0].recv(64)
        taken, self.upward = self.upward, []
        return taken, []

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self.groups[0][0])
        for sock in (*self.bell, *(sock for group in self.groups for sock in group)):
            sock.close()

    def learn(self, transport: int, host: str, port: int, scope: int) -> None:
        self.learnt[host, port, scope] = transport

    def unlearn(self, host: str, port: int, scope: int) -> None:
        del self.learnt[host, port, scope]

    def expect_checks(self, ufrag: str) -> None:
        self.expected.add(ufrag)

    def refuse_checks(self, ufrag: str) -> None:
        self.expected.remove(ufrag)

    def set_consent(
        self, transport: int, host: str, port: int, scope: int, username: str, password: str, checked_us: int
    ) -> None:
        assert self.learnt[host, port, scope] == transport
        self.agreed[transport] = username, password

    def withdraw_consent(self, transport: int) -> None:
        self.agreed.pop(transport, None)

    def checked_us(self, transport: int) -> int:
        return self.renewed_us

    def forget(self, transport: int) -> None:
        assert transport not in self.learnt.values()
        self.forgotten.append(transport)

    def received_bytes(self, transport: int) -> int:
        return 0

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
        assert table.learnt == {(host, number, 0): transport.key}
        await transport.close()
        assert (table.known, table.learnt) == ({}, {})
        await client.close()


async def test_checks_that_the_plane_answers_keep_consent_and_a_restart_takes_them_back() -> None:
    async with open_port() as port:
        table = Table()
        port.follow(table)
        client, observer = new_client(), Observer()
        transport, _ = await connect(port, observer, client)
        await observer.connected.wait()
        assert transport.agent.remote is not None
        username = f"{transport.ice_ufrag}:{transport.agent.remote.ufrag}"
        assert table.agreed == {transport.key: (username, transport.ice_pwd)}
        later_us = clock.now_us() + 60_000_000
        assert transport.agent.expired(later_us)
        table.renewed_us = later_us
        transport.update_remote("other", "p" * 24)
        assert not transport.agent.expired(later_us)
        assert table.agreed == {transport.key: (f"{transport.ice_ufrag}:other", transport.ice_pwd)}
        transport.restart_ice()
        assert table.agreed == {}
        await transport.close()
        await client.close()


async def test_the_plane_knows_whose_checks_may_come() -> None:
    async with open_port() as port:
        before = port.create(Observer())
        table = Table()
        port.follow(table)
        after = port.create(Observer())
        assert table.expected == {before.ice_ufrag, after.ice_ufrag}
        first = after.ice_ufrag
        after.restart_ice()
        second = after.ice_ufrag
        assert table.expected == {before.ice_ufrag, first, second}
        after.restart_ice()
        assert table.expected == {before.ice_ufrag, second, after.ice_ufrag}
        await before.close()
        await after.close()
        assert table.expected == set()


async def test_nothing_is_kept_of_a_tap_that_has_closed() -> None:
    async with open_port() as port:
        table = Table()
        port.follow(table)
        got: list[bytes] = []
        tap = port.open_tap(got.append)
        port.send(tap, b"packet")
        port.close_tap(tap)
        port.send(tap, b"late")
        assert (got, table.forgotten) == ([b"packet"], [tap])


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


def test_random_numbers_that_are_not_needed_serve_the_next_subscription() -> None:
    native = pytest.importorskip("sfu_plane")
    stage, drawn = Stage(), 0

    def draw() -> int:
        nonlocal drawn
        drawn += 1
        return drawn

    plane = native.Plane(1, draw, 16)
    plane.open_publication(stage.publication, stage.config)
    viewers = [stage.view(), stage.view()]
    for viewer, so_many in ((viewers[0], 2), (viewers[0], 4), (viewers[1], 4)):
        plane.open_subscription(viewer.key, stage.subscription(viewer))
        assert drawn == so_many
