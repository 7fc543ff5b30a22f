"""Viewers behind bottlenecks, in real Chromium: each holds the highest layer that fits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from browser import Caller, Pages, until
from emulator import Link
from server_process import ServerProcess
from shaper import Shaper, shaped


async def watch(caller: Caller, server: ServerProcess, room: str, name: str) -> None:
    """Join without camera and microphone."""
    await caller.open(f"{server.url}/r/{room}")
    await caller.find("prejoin-name").fill(name)
    await caller.find("prejoin-camera").click()
    await caller.find("prejoin-mic").click()
    await caller.find("prejoin-join").click()
    await caller.find("leave").wait_for()


async def video(caller: Caller) -> dict[str, Any]:
    """Statistics of the stream that has brought most."""
    reports = await caller.inbound("video")
    return max(reports, key=lambda report: report["bytesReceived"], default={})


def line(capacity_bps: int) -> Link:
    """An access line with 20 ms of delay and a queue of 200 ms, 30 kB at least."""
    return Link(
        seed=1, capacity_bps=capacity_bps, queue_bytes=max(30_000, capacity_bps // 40), delay_us=20_000
    )


async def settles(caller: Caller, width: int, timeout_s: float = 15) -> None:
    """Wait until the picture is `width` wide and moves."""

    async def wide() -> bool:
        before = await video(caller)
        await asyncio.sleep(1)
        now = await video(caller)
        moves = now.get("framesDecoded", 0) > before.get("framesDecoded", 0)
        return bool(moves and now.get("frameWidth") == width == before.get("frameWidth"))

    await until(wide, f"a picture {width} wide", timeout_s)


async def test_each_viewer_holds_the_highest_layer_that_fits(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    speaker = await pages.new()
    await speaker.join(server.url, room, "Speaker")
    expected = {3_000_000: 1280, 700_000: 640, 150_000: 320}
    viewers: dict[int, Caller] = {}
    async with contextlib.AsyncExitStack() as lines:
        for capacity_bps in expected:
            viewers[capacity_bps] = viewer = await pages.new(viewport={"width": 1400, "height": 900})
            await lines.enter_async_context(shaped(viewer.page, server.rtc_port, line(capacity_bps)))
            await watch(viewer, server, room, f"{capacity_bps // 1000} kbps")
        for capacity_bps, width in expected.items():
            await settles(viewers[capacity_bps], width)
        before = {capacity_bps: await video(viewer) for capacity_bps, viewer in viewers.items()}
        await asyncio.sleep(10)
        for capacity_bps, viewer in viewers.items():
            now, then = await video(viewer), before[capacity_bps]
            assert now["frameWidth"] == expected[capacity_bps], capacity_bps
            assert now["framesDecoded"] > then["framesDecoded"] + 40, capacity_bps
            assert now["totalFreezesDuration"] - then["totalFreezesDuration"] < 1, capacity_bps
            assert now["packetsLost"] - then["packetsLost"] < 20, capacity_bps
        # The page says why: the network, not the size of the tile.
        narrow = viewers[700_000]
        await narrow.find("toggle-stats").click()
        await narrow.find("tile-stats").filter(has_text="Chosen by  network").wait_for()
        await pages.screenshot(narrow, "700-kbps")


async def test_a_line_that_narrows_and_widens_again(pages: Pages, server: ServerProcess, room: str) -> None:
    speaker, viewer = await pages.new(), await pages.new(viewport={"width": 1400, "height": 900})
    await speaker.join(server.url, room, "Speaker")
    shaper: Shaper
    async with shaped(viewer.page, server.rtc_port, line(3_000_000)) as shaper:
        await watch(viewer, server, room, "Viewer")
        await settles(viewer, 1280)
        shaper.down.capacity_bps = 500_000
        await settles(viewer, 640)
        shaper.down.capacity_bps = 3_000_000
        await settles(viewer, 1280, timeout_s=20)
