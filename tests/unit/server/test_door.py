"""What strangers' connections cost: their number, their time, and what is logged of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from sfu import hosts
from sfu.config import ServerConfig
from sfu.server import descriptors, door, tls
from sfu.server.door import Door
from sfu.server.listen import listen


@contextlib.asynccontextmanager
async def opened(
    most: int = 100,
    most_per_host: int = 100,
    context: door.Context | None = None,
    more: Mapping[str, Handler] | None = None,
) -> AsyncIterator[tuple[Door, int]]:
    """A web server behind a door, and its port."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def talk(request: web.Request) -> web.WebSocketResponse:
        talking = web.WebSocketResponse()
        await talking.prepare(request)
        async for message in talking:
            await talking.send_str(message.data)
        return talking

    app = web.Application(middlewares=[door.notice_requests])
    app.router.add_get("/", hello)
    app.router.add_get("/talk", talk)
    for path, handler in (more or {}).items():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    made = Door(runner, most=most, most_per_host=most_per_host)
    sockets = listen("127.0.0.1", 0)
    port = int(sockets[0].getsockname()[1])
    made.listen(sockets, context)
    try:
        yield made, port
    finally:
        made.close()
        await runner.cleanup()


class Line:
    """A plain TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def write(self, text: str) -> None:
        self._writer.write(text.encode())

    async def ask(self) -> bool:
        """Whether a request is answered."""
        self.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return (await asyncio.wait_for(self._reader.read(1000), 5)).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    async def read(self, most: int) -> bytes:
        data = await asyncio.wait_for(self._reader.read(most), 5)
        assert data, "the connection has ended"
        return data

    async def dropped(self) -> bool:
        """Whether the server ends it before it has said anything."""
        try:
            return await asyncio.wait_for(self._reader.read(1), 5) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def lines(port: int, count: int) -> AsyncIterator[list[Line]]:
    made = [await Line.open(port) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            await each.close()


async def test_of_one_host_the_oldest_idle_connection_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(most_per_host=2) as (made, port), lines(port, 2) as (one, other):
        assert await one.ask()
        assert await other.ask()
        async with lines(port, 2) as more:
            assert [await each.ask() for each in more] == [True] * 2
            assert await one.dropped()
            assert await other.dropped()
            assert len(made.connections) == 2
    assert caplog.text.count("the oldest give way") == 1, "not for each of them"


async def test_all_together_leave_descriptors() -> None:
    async with opened(most=4, most_per_host=100) as (made, port), lines(port, 2) as mine:
        assert [await each.ask() for each in mine] == [True] * 2
        async with lines(port, 1) as (third,):
            assert await third.ask()
            assert len(made.connections) == 2, "one host does not fill the house"
    async with opened(most=3, most_per_host=0) as (made, port), lines(port, 3) as proxied:
        assert [await each.ask() for each in proxied] == [True] * 3
        async with lines(port, 1) as (fourth,):
            assert await fourth.ask()
            assert len(made.connections) == 3


async def test_a_download_under_way_is_not_idle(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(32 * 1024 * 1024))

    async def download(request: web.Request) -> web.FileResponse:
        return web.FileResponse(large)

    async with opened(most_per_host=2, more={"/large": download}) as (_, port), lines(port, 1) as (slow,):
        slow.write("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await slow.read(100)
        for _ in range(3):
            async with lines(port, 1) as (quick,):
                assert await quick.ask()
        got = 100
        while got < 32 * 1024 * 1024:
            got += len(await slow.read(1024 * 1024))


@pytest.mark.parametrize("said", ["", "GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_who_does_not_finish_a_request_is_dropped(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(door, "HEAD_S", 0.5)
    async with (
        opened() as (made, port),
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/talk") as talking,
        lines(port, 1) as (slow,),
    ):
        slow.write(said)
        assert await slow.dropped(), "and so has the time of the other, which has asked"
        await talking.send_str("still here")
        assert await talking.receive_str(timeout=5) == "still here"
        assert len(made.connections) == 1


async def test_a_connection_that_has_asked_once_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HEAD_S", 0.5)
    async with opened() as (_, port), lines(port, 1) as (kept,):
        assert await kept.ask()
        async with lines(port, 1) as (silent,):
            assert await silent.dropped(), "and so has the time of the first, which came before"
        assert await kept.ask()


async def test_who_does_not_finish_tls_is_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(door, "HEAD_S", 0.5)
    context = tls.context(ServerConfig(), tmp_path)
    async with opened(context=lambda: context) as (made, port), lines(port, 1) as (slow,):
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"https://127.0.0.1:{port}/", ssl=False) as answer,
        ):
            assert await answer.text() == "hello"
        assert await slow.dropped()
        async with asyncio.timeout(5):
            while len(made.connections):
                await asyncio.sleep(0.005)


async def test_without_descriptors_accepting_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(door, "PAUSE_S", 0.01)
    left = 3

    class Exhausted(socket.socket):
        def accept(self):
            nonlocal left
            if left:
                left -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    real = listen

    def exhausted(host: str, port: int) -> list[socket.socket]:
        return [Exhausted(fileno=each.detach()) for each in real(host, port)]

    monkeypatch.setitem(globals(), "listen", exhausted)
    caplog.set_level(logging.WARNING)
    async with opened() as (_, port), lines(port, 1) as (patient,):
        assert await patient.ask()
    assert left == 0
    assert caplog.text.count("no descriptor is left") == 1


def test_the_systems_limit_is_taken_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (1024, 4096)

    def put(kind: int, wanted: tuple[int, int]) -> None:
        nonlocal limits
        limits = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", put)
    assert descriptors.connections() == 768
    descriptors.raise_limit()
    assert (limits, descriptors.connections()) == ((4096, 4096), 3072)
    limits = (256, resource.RLIM_INFINITY)
    descriptors.raise_limit()
    assert limits[0] == descriptors.USUAL_MOST


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("not an address", "not an address", True),
    ],
)
def test_a_host_is_a_whole_64_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (hosts.host_key(one) == hosts.host_key(other)) is same
