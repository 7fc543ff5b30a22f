"""How long from pressing Join to the first remote frame drawn, in Chromium on loopback.

python bench/join.py --json artifacts/join.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "clients")]

from browser import LAUNCH_ARGUMENTS, Pages
from server_process import running

# Runs in the page before Join: notes the click, then the first drawn frame of any remote video.
_WATCH = """
() => {
  window.__timing = {};
  document.querySelector('[data-testid="prejoin-join"]').addEventListener(
    'click', () => { window.__timing.click = performance.now(); }, {capture: true});
  const watch = () => {
    for (const video of document.querySelectorAll('[data-testid="tile"][data-local="false"] video')) {
      if (!video.__watched) {
        video.__watched = true;
        video.requestVideoFrameCallback((now) => { window.__timing.frame ??= now; });
      }
    }
    if (window.__timing.frame === undefined) setTimeout(watch, 5);
  };
  watch();
}
"""


async def measure(rounds: int) -> list[float]:
    """Milliseconds of each round: one speaker waits in the room, a viewer joins afresh."""
    import shutil

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as server, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=LAUNCH_ARGUMENTS)
            pages = Pages(browser, Path(folder))
            speaker = await pages.new()
            await speaker.join(server.url, "bench", "Speaker")
            for number in range(rounds):
                viewer = await pages.new(bypass_csp=True)
                await viewer.open(f"{server.url}/r/bench")
                await viewer.find("prejoin-name").fill(f"Viewer {number}")
                await viewer.page.evaluate(_WATCH)
                await viewer.find("prejoin-join").click()
                await viewer.page.wait_for_function("window.__timing.frame !== undefined", timeout=20_000)
                timing = await viewer.page.evaluate("window.__timing")
                times.append(timing["frame"] - timing["click"])
                await viewer.page.close()
            await browser.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    times = asyncio.run(measure(args.rounds))
    result = {"rounds": times, "median_ms": statistics.median(times), "worst_ms": max(times)}
    table = Table("join to first remote frame", "ms")
    table.add_row("median", f"{result['median_ms']:.0f}")
    table.add_row("worst", f"{result['worst_ms']:.0f}")
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
