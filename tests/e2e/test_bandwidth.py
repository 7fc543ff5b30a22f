"""Viewers behind bottlenecks, in real Chromium: each holds the highest layer that fits."""

from __future__ import annotations

import asyncio
import contextlib

from browser import Caller, Pages, until
from server_process import ServerProcess
from shaper import Shaper, access_line, shaped


async def settles(caller: Caller, width: int, timeout_s: float = 15) -> None:
    """Wait until the picture is `width` wide and moves."""

    async def wide() -> bool:
        before = await caller.video()
        await asyncio.sleep(1)
        now = await caller.video()
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
            await lines.enter_async_context(shaped(viewer.page, server.rtc_port, access_line(capacity_bps)))
            await viewer.watch(server.url, room, f"{capacity_bps // 1000} kbps")
        for capacity_bps, width in expected.items():
            await settles(viewers[capacity_bps], width)
        before = {capacity_bps: await viewer.video() for capacity_bps, viewer in viewers.items()}
        await asyncio.sleep(10)
        for capacity_bps, viewer in viewers.items():
            now, then = await viewer.video(), before[capacity_bps]
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
    async with shaped(viewer.page, server.rtc_port, access_line(3_000_000)) as shaper:
        await viewer.watch(server.url, room, "Viewer")
        await settles(viewer, 1280)
        shaper.down.capacity_bps = 500_000
        await settles(viewer, 640)
        shaper.down.capacity_bps = 3_000_000
        await settles(viewer, 1280, timeout_s=20)
