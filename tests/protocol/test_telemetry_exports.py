"""Exports of telemetry to clients that do not read: they are in nobody's way, and they end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from signalling import Clients, Signal, clients, local_config, until

from sfu import clock
from sfu.config import StorageConfig
from sfu.server import exports
from sfu.store import samples
from sfu.store.engine import FOR_SCANS, READERS
from sfu.store.samples import StoredSample
from sfu.store.store import open_store

MANY = 30 * samples.PAGE
"""More than the system's buffers take."""


async def filled(tmp_path: Path) -> StorageConfig:
    config = StorageConfig(url=f"sqlite:///{tmp_path}/sfu.db")
    async with open_store(config.url, tmp_path) as store:
        who = {"room": "r", "identity": "i" * 100, "series": "s" * 60, "unit": ""}
        now_ms = clock.wall_ms()
        rows = (StoredSample(**who, at_ms=now_ms - back, value=back / 7) for back in range(MANY))
        store.writes.submit(samples.added(rows))
        await store.writes.flush()
    return config


@contextlib.contextmanager
def asking(those: Clients, who: Signal) -> Iterator[socket.socket]:
    """A connection that has asked for everything, and reads nothing."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        address = those.server.http_url.removeprefix("http://")
        host, _, port = address.partition(":")
        opened.connect((host, int(port)))
        opened.sendall(
            f"GET /api/v1/rooms/r/telemetry.csv HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
            f"Authorization: Participant {who.me}:{who.joined['secret']}\r\n\r\n".encode()
        )
        opened.setblocking(False)
        yield opened


async def receive(opened: socket.socket, most: int) -> bytes:
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(opened, most)


async def test_who_does_not_read_an_export_keeps_nobody_from_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_OF_ROOM", READERS + 2)
    async with clients(local_config(storage=await filled(tmp_path))) as those:
        ann = await those.join()
        with contextlib.ExitStack() as stack:
            for _ in range(READERS + 2):
                opened = stack.enter_context(asking(those, ann))
                assert b" 200 " in await receive(opened, 100)
            ben = await those.open()
            async with asyncio.timeout(5):
                assert (await ben.join("another", "Ben"))["type"] == "joined"


async def test_a_room_has_few_exports_at_once_and_who_does_not_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exports, "WRITE_S", 0.5)
    async with clients(local_config(storage=await filled(tmp_path))) as those:
        ann = await those.join()
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(asking(those, ann)) for _ in range(exports.MOST_OF_ROOM)]
            for each in slow:
                assert b" 200 " in await receive(each, 100)
            with asking(those, ann) as more:
                assert b" 503 " in await receive(more, 100)
            await until(lambda: caplog.text.count("an export was broken off") == len(slow))
            got = b""
            while part := await receive(slow[0], 1 << 20):
                got += part
            # The last chunk, which says that this was all, never came.
            assert not got.endswith(b"0\r\n\r\n")
        with asking(those, ann) as again:
            assert b" 200 " in await receive(again, 100)


async def test_sums_that_take_long_leave_connections_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = asyncio.Event(), 0

    async def slow(*_: object, **__: object) -> dict[object, object]:
        nonlocal asked
        asked += 1
        await free.wait()
        return {}

    monkeypatch.setattr(samples, "steps", slow)
    async with clients() as those:
        ann = await those.join()
        url = f"{those.server.http_url}/api/v1/rooms/r/telemetry"
        headers = {"Authorization": f"Participant {ann.me}:{ann.joined['secret']}"}
        asking_all = [
            asyncio.create_task(those.http.get(url, headers=headers).__aenter__()) for _ in range(6)
        ]
        await until(lambda: asked)
        ben = await those.open()
        async with asyncio.timeout(5):
            assert (await ben.join("another", "Ben"))["type"] == "joined"
        assert asked <= FOR_SCANS
        free.set()
        for answer in await asyncio.gather(*asking_all):
            assert answer.status == 200
            answer.release()
        assert asked == 6
