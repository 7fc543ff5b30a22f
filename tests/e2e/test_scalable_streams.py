"""One scalable stream from a real Chromium: each viewer decodes the picture that its tile has use for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from browser import Caller, Pages, until
from server_process import ServerProcess

LARGE, SMALL = {"width": 1400, "height": 900}, {"width": 460, "height": 420}


async def sent(caller: Caller) -> dict[str, Any]:
    """Statistics of the video that a publisher sends."""
    found: list[dict[str, Any]] = await caller.page.evaluate(
        """async () => {
          const found = [];
          for (const pc of window.__connections) {
            for (const r of (await pc.getStats()).values()) {
              if (r.type === 'outbound-rtp' && r.kind === 'video') found.push(r);
            }
          }
          return found;
        }"""
    )
    assert len(found) <= 1, "one stream"
    return found[0] if found else {}


async def shows(caller: Caller, narrow: bool, publisher: Caller) -> dict[str, Any]:
    """Wait until the picture is as large as the publisher's, or smaller, and moves."""

    async def settled() -> dict[str, Any] | None:
        before, full = await caller.video(), (await sent(publisher)).get("frameWidth", 0)
        await asyncio.sleep(1)
        now = await caller.video()
        fits = now.get("frameWidth", 0) <= full // 2 if narrow else now.get("frameWidth") == full
        fits = fits and full >= 640
        moves = now.get("framesDecoded", 0) > before.get("framesDecoded", 0) + 3
        return now if fits and moves else None

    found: dict[str, Any] = await until(settled, "a smaller picture" if narrow else "the full picture", 60)
    return found


@pytest.mark.parametrize("codec", ["vp9", "av1"])
async def test_small_tiles_get_less_of_a_scalable_stream(
    pages: Pages, server: ServerProcess, room: str, codec: str
) -> None:
    speaker = await pages.new()
    await speaker.join(server.url, room, "Speaker", f"?codec={codec}")
    large, small = await pages.new(viewport=LARGE), await pages.new(viewport=SMALL)
    await large.watch(server.url, room, "Large")
    await small.watch(server.url, room, "Small")
    await shows(large, False, speaker)
    await shows(small, True, speaker)
    assert (await sent(speaker))["scalabilityMode"].startswith("L3")

    async def steady() -> bool:
        """Both decode on without a freeze, and one of them from much less."""
        before = await large.video(), await small.video()
        await asyncio.sleep(5)
        after = await large.video(), await small.video()
        pairs = list(zip(before, after, strict=True))
        gained = [now["bytesReceived"] - then["bytesReceived"] for then, now in pairs]
        return gained[1] < 0.6 * gained[0] and all(
            now["framesDecoded"] > then["framesDecoded"] + 30
            and now["frameWidth"] == then["frameWidth"]
            and now["totalFreezesDuration"] - then["totalFreezesDuration"] < 0.5
            for then, now in pairs
        )

    await until(steady, "a smooth picture for each, the small one for much less", 120)
    # The tile of one viewer grows and shrinks again; nobody else notices.
    await small.page.set_viewport_size(LARGE)
    await shows(small, False, speaker)
    await small.page.set_viewport_size(SMALL)
    await shows(small, True, speaker)
    await large.sees("Speaker")
    await small.sees("Speaker")
    # Who misses what a picture refers to asks for a keyframe, again and again.
    for viewer in (large, small):
        assert (await viewer.video())["pliCount"] <= 2
    await pages.screenshot(small, f"small-{codec}")
