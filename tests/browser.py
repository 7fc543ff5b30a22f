"""One browser page in a call, driven as a person would: by what is on the page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Locator, Page

LAUNCH_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--auto-select-tab-capture-source-by-title=shared window",
]

# Notes every connection the page makes, so that tests can look at statistics and cut sockets.
NOTE_CONNECTIONS = """
window.__connections = [];
window.__sockets = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) { super(...options); window.__connections.push(this); }
};
window.WebSocket = class extends WebSocket {
  constructor(...options) { super(...options); window.__sockets.push(this); }
};
"""

# Size, mean and spread of the picture a video element shows now, and a hash that changes when it moves.
LOOK = """
(video) => {
  if (!video.videoWidth) return null;
  const canvas = document.createElement('canvas');
  canvas.width = 64; canvas.height = 36;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(video, 0, 0, 64, 36);
  const data = context.getImageData(0, 0, 64, 36).data;
  let sum = 0, squares = 0, hash = 0;
  for (let i = 0; i < data.length; i += 4) {
    const light = data[i] + data[i + 1] + data[i + 2];
    sum += light; squares += light * light; hash = (hash * 31 + light) | 0;
  }
  const n = data.length / 4;
  return {width: video.videoWidth, height: video.videoHeight, hash,
          mean: sum / n / 3, spread: Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2)) / 3};
}
"""


async def until(check: Callable[[], Awaitable[Any]], what: str, timeout_s: float = 20) -> Any:
    """Wait until `check` returns something true, and return it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        found = await check()
        if found:
            return found
        if loop.time() > end:
            raise AssertionError(f"not within {timeout_s} s: {what} (last: {found!r})")
        await asyncio.sleep(0.1)


class Caller:
    """A person with one page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def find(self, test_id: str) -> Locator:
        return self.page.get_by_test_id(test_id)

    async def open(self, url: str) -> None:
        await self.page.goto(url)

    async def join(self, url: str, room: str, name: str, query: str = "", fragment: str = "") -> None:
        """Open the room's link, give a name, press Join, and wait for the call."""
        await self.open(f"{url}/r/{room}{query}{fragment}")
        await self.find("prejoin-name").fill(name)
        await self.find("prejoin-join").click()
        await self.find("leave").wait_for()

    async def watch(self, url: str, room: str, name: str) -> None:
        """The same without camera and microphone."""
        await self.open(f"{url}/r/{room}")
        await self.find("prejoin-name").fill(name)
        await self.turn_off("prejoin-camera")
        await self.turn_off("prejoin-mic")
        await self.find("prejoin-join").click()
        await self.find("leave").wait_for()

    async def turn_off(self, test_id: str) -> None:
        """Press a device's button when the device is there: before, it would be asked for once more."""
        await self.has(self.find(test_id), "aria-pressed", "true")
        await self.find(test_id).click()
        await self.has(self.find(test_id), "aria-pressed", "false")

    def tile(self, name: str, source: str = "camera") -> Locator:
        """The tile of the participant called `name`."""
        return self.page.locator(f'[data-testid="tile"][data-source="{source}"]', has_text=name)

    async def has(self, locator: Locator, attribute: str, value: str) -> None:
        """Wait until an element's attribute has a value."""

        async def check() -> bool:
            return await locator.get_attribute(attribute) == value

        await until(check, f"{attribute} to be {value}")

    async def look(self, name: str, source: str = "camera") -> dict[str, Any] | None:
        """What the tile's picture looks like now, None while it shows none."""
        video = self.tile(name, source).locator("video")
        if await video.count() == 0:
            return None
        seen: dict[str, Any] | None = await video.first.evaluate(LOOK)
        return seen

    async def sees(self, name: str, source: str = "camera", timeout_s: float = 20) -> dict[str, Any]:
        """Wait for a picture that is neither black nor flat and that moves; returns its last look."""
        first = await until(lambda: self._picture(name, source), f"a picture of {name}", timeout_s)

        async def moved() -> dict[str, Any] | None:
            look = await self._picture(name, source)
            return look if look and look["hash"] != first["hash"] else None

        moving: dict[str, Any] = await until(moved, f"a moving picture of {name}", timeout_s)
        return moving

    async def _picture(self, name: str, source: str) -> dict[str, Any] | None:
        look = await self.look(name, source)
        return look if look and look["spread"] > 5 else None

    async def video(self) -> dict[str, Any]:
        """Statistics of the received video that has brought most."""
        reports = await self.inbound("video")
        return max(reports, key=lambda report: report["bytesReceived"], default={})

    async def inbound(self, kind: str) -> list[dict[str, Any]]:
        """`inbound-rtp` statistics of what is received now, for one kind, with the codec's MIME type."""
        reports: list[dict[str, Any]] = await self.page.evaluate(
            """async (kind) => {
              const found = [];
              for (const pc of window.__connections) {
                if (pc.connectionState === 'closed') continue;
                const report = await pc.getStats();
                for (const r of report.values()) {
                  if (r.type !== 'inbound-rtp' || r.kind !== kind) continue;
                  found.push({...r, mimeType: report.get(r.codecId)?.mimeType ?? null});
                }
              }
              return found;
            }""",
            kind,
        )
        return reports

    async def hears(self, at_least: float = 1e-5, timeout_s: float = 20) -> float:
        """Wait until decoded audio has energy; returns `totalAudioEnergy` summed over streams."""

        async def energy() -> float:
            total = sum(r.get("totalAudioEnergy", 0) for r in await self.inbound("audio"))
            return total if total > at_least else 0

        heard: float = await until(energy, "audio with energy", timeout_s)
        return heard


class Pages:
    """Pages of one test, with the script errors they had."""

    def __init__(self, browser: Browser, artifacts: Path) -> None:
        self._browser = browser
        self._artifacts = artifacts
        self._contexts: list[BrowserContext] = []
        self.callers: list[Caller] = []
        self.errors: list[str] = []

    async def new(self, **context: Any) -> Caller:
        """A fresh browser profile with one page; `context` goes to Playwright's `new_context`."""
        context.setdefault("viewport", {"width": 1280, "height": 800})
        context.setdefault("ignore_https_errors", True)
        made = await self._browser.new_context(**context)
        self._contexts.append(made)
        await made.add_init_script(NOTE_CONNECTIONS)
        page = await made.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        caller = Caller(page)
        self.callers.append(caller)
        return caller

    async def screenshot(self, caller: Caller, name: str) -> None:
        """Keep a picture of the page among the run's artefacts."""
        self._artifacts.mkdir(parents=True, exist_ok=True)
        await caller.page.screenshot(path=self._artifacts / f"{name}.png")

    async def close(self) -> None:
        for number, caller in enumerate(self.callers, 1):
            if not caller.page.is_closed():
                await self.screenshot(caller, f"end-{number}")
        for context in self._contexts:
            await context.close()
