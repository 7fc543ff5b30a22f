"""What nobody watches is not sent, in real Chromium; what somebody watches again comes at once."""

from __future__ import annotations

import asyncio
from typing import Any

from browser import Caller, Pages, until
from server_process import ServerProcess
from test_bandwidth import settles

THUMBNAIL, LARGE = {"width": 360, "height": 320}, {"width": 1400, "height": 900}
PATIENCE_S = 40
"""A machine that is busy encoding is slow to bring a browser's largest encoding back."""
_OUTBOUND = """
async () => {
  const found = {};
  for (const pc of window.__connections) {
    if (pc.connectionState === 'closed') continue;
    for (const r of (await pc.getStats()).values()) {
      if (r.type === 'outbound-rtp' && r.kind === 'video') found[r.rid ?? ''] = [r.active, r.framesSent ?? 0];
    }
  }
  return found;
}
"""
_HIDE = """
(state) => {
  Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}
"""


async def sends(caller: Caller, rids: str) -> None:
    """Wait until exactly these encodings are active, and frames of these alone go out."""

    async def as_told() -> Any:
        before: dict[str, Any] = await caller.page.evaluate(_OUTBOUND)
        if not before or {rid for rid, (active, _) in before.items() if active} != set(rids):
            return None
        await asyncio.sleep(0.5)
        now = await caller.page.evaluate(_OUTBOUND)
        return {rid for rid, (_, frames) in now.items() if frames > before[rid][1]} == set(rids)

    await until(as_told, f"encodings {rids or 'none'}", PATIENCE_S)


async def test_a_thumbnail_costs_the_lowest_layer_and_a_large_tile_brings_all_back(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    speaker, viewer = await pages.new(), await pages.new(viewport=LARGE)
    await speaker.join(server.url, room, "Speaker")
    await viewer.watch(server.url, room, "Viewer")
    await settles(viewer, 1280)
    await sends(speaker, "qhf")
    await viewer.page.set_viewport_size(THUMBNAIL)  # type: ignore[arg-type]
    await sends(speaker, "q")
    await settles(viewer, 320)
    await viewer.page.set_viewport_size(LARGE)  # type: ignore[arg-type]
    await settles(viewer, 1280)
    await sends(speaker, "qhf")
    # Nobody looks: nothing is sent, and nobody takes the publication for gone.
    await viewer.page.evaluate(_HIDE, "hidden")
    await sends(speaker, "")
    assert await viewer.tile("Speaker").count() == 1
    await viewer.page.evaluate(_HIDE, "visible")
    await settles(viewer, 1280)


async def test_who_comes_late_to_what_was_paused_sees_at_once(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    speaker, viewer = await pages.new(), await pages.new()
    await speaker.join(server.url, room, "Speaker")
    await sends(speaker, "")
    await viewer.watch(server.url, room, "Viewer")
    await viewer.sees("Speaker")
