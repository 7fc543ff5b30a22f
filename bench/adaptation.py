"""What viewers behind narrow lines see, in Chromium: layer, freezes, switches and use of the line.

One page publishes a 720p simulcast camera; pages behind emulated access lines watch it. The JSON holds what
was seen second by second.

python bench/adaptation.py --json artifacts/adaptation.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "clients")]

from browser import LAUNCH_ARGUMENTS, Caller, Pages, until
from server_process import ServerProcess, running
from shaper import Shaper, access_line, shaped

SAMPLE_S = 0.25
SETTLE_S = 10
"""Within this a viewer is to hold its layer; what is counted afterwards begins here."""
CAPS_BPS = (3_000_000, 700_000, 150_000)
WIDTHS = {3_000_000: 1280, 700_000: 640, 150_000: 320}

# Sizes, frames and freezes of the received picture, and all bytes of its transport.
_SAMPLE = """
async () => {
  let best = {};
  for (const pc of window.__connections) {
    if (pc.connectionState === 'closed') continue;
    const report = [...(await pc.getStats()).values()];
    const transport = report.find((r) => r.type === 'transport');
    for (const r of report) {
      if (r.type !== 'inbound-rtp' || r.kind !== 'video') continue;
      if ((best.received ?? -1) > r.bytesReceived) continue;
      best = {received: r.bytesReceived, width: r.frameWidth ?? 0, frames: r.framesDecoded ?? 0,
        freezes: r.freezeCount ?? 0, frozen: r.totalFreezesDuration ?? 0, lost: r.packetsLost ?? 0,
        bytes: transport?.bytesReceived ?? 0};
    }
  }
  return best;
}
"""


def clip(path: Path, frames: int = 60) -> Path:
    """A busy 720p picture, a textured wall that pans: the browser's own test picture is worth few bits."""
    rng = np.random.default_rng(1)
    wall = np.kron(rng.integers(0, 256, (100, 220, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
    wall = (wall * 0.5 + 60 + rng.integers(0, 20, wall.shape)).astype(np.uint8)
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuvj420p"
        for number in range(frames):
            # There and back, so that the loop has no jump.
            x = 8 * min(number, frames - number)
            picture = np.ascontiguousarray(wall[100 + x // 4 : 820 + x // 4, x : x + 1280])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True, slots=True)
class Sample:
    """A viewer at `at_s` seconds; counters run since it joined, `frozen` is in seconds."""

    at_s: float
    width: int
    frames: int
    freezes: int
    frozen: float
    lost: int
    bytes: int


async def sampled(viewer: Caller, start_s: float) -> Sample:
    seen = await viewer.page.evaluate(_SAMPLE)
    at_s = asyncio.get_running_loop().time() - start_s
    names = ("width", "frames", "freezes", "frozen", "lost", "bytes")
    return Sample(at_s, *(seen.get(name, 0) for name in names))


async def record(viewer: Caller, seconds: float, start_s: float) -> list[Sample]:
    """A sample every quarter of a second."""
    loop = asyncio.get_running_loop()
    samples = []
    while loop.time() - start_s < seconds:
        samples.append(await sampled(viewer, start_s))
        await asyncio.sleep(SAMPLE_S)
    return samples


def switches(samples: Sequence[Sample]) -> int:
    """How often the picture's size changed."""
    return sum(before.width != after.width for before, after in itertools.pairwise(samples))


def longest_freeze_s(samples: Sequence[Sample]) -> float:
    """The longest time without a new frame; where several ended between two samples, all of them together."""
    return max((after.frozen - before.frozen for before, after in itertools.pairwise(samples)), default=0)


def reached_s(samples: Sequence[Sample], wanted: Callable[[int], bool]) -> float | None:
    """When the picture came to a size that is `wanted`, for good."""
    reached = None
    for sample in samples:
        if not wanted(sample.width):
            reached = None
        elif reached is None:
            reached = sample.at_s
    return reached


def rate_bps(samples: Sequence[Sample]) -> float:
    first, last = samples[0], samples[-1]
    return (last.bytes - first.bytes) * 8 / (last.at_s - first.at_s)


@contextlib.asynccontextmanager
async def viewing(
    pages: Pages, server: ServerProcess, room: str, capacity_bps: int
) -> AsyncIterator[tuple[Caller, Shaper]]:
    viewer = await pages.new(viewport={"width": 1400, "height": 900})
    async with shaped(viewer.page, server.rtc_port, access_line(capacity_bps)) as shaper:
        await viewer.watch(server.url, room, "Viewer")
        yield viewer, shaper


async def steady(pages: Pages, server: ServerProcess, seconds: float) -> dict[str, object]:
    """Three viewers under constant caps."""
    speaker = await pages.new()
    await speaker.join(server.url, "steady", "Speaker")
    result: dict[str, object] = {}
    async with contextlib.AsyncExitStack() as stack:
        viewers = [
            (await stack.enter_async_context(viewing(pages, server, "steady", cap)))[0] for cap in CAPS_BPS
        ]
        start_s = asyncio.get_running_loop().time()
        recorded = await asyncio.gather(*(record(viewer, seconds, start_s) for viewer in viewers))
    for cap, samples in zip(CAPS_BPS, recorded, strict=True):
        after = [sample for sample in samples if sample.at_s >= SETTLE_S]
        result[str(cap)] = {
            "expected_width": WIDTHS[cap],
            "width_s": reached_s(samples, lambda width, cap=cap: width == WIDTHS[cap]),
            "freeze_ms": round(1000 * longest_freeze_s(after)),
            "first_freeze_ms": round(1000 * longest_freeze_s(samples)),
            "switches": switches(after),
            "utilisation": round(rate_bps(after) / cap, 3),
            "lost": after[-1].lost - after[0].lost,
            "samples": [asdict(sample) for sample in samples[::4]],
        }
    await speaker.page.close()
    return result


async def step(pages: Pages, server: ServerProcess) -> dict[str, object]:
    """One viewer whose line falls from 3 Mbps to 500 kbps and comes back."""
    speaker = await pages.new()
    await speaker.join(server.url, "step", "Speaker")
    async with viewing(pages, server, "step", 3_000_000) as (viewer, shaper):

        async def wide() -> bool:
            return (await sampled(viewer, 0)).width == 1280

        await until(wide, "the largest picture", 20)
        loop = asyncio.get_running_loop()
        shaper.down.capacity_bps = 500_000
        narrow = await record(viewer, 20, loop.time())
        shaper.down.capacity_bps = 3_000_000
        again = await record(viewer, 20, loop.time())
    await speaker.page.close()
    return {
        "freeze_ms": round(1000 * longest_freeze_s(narrow)),
        "down_s": reached_s(narrow, lambda width: width < 1280),
        "switches_down": switches(narrow),
        "back_s": reached_s(again, lambda width: width == 1280),
        "freeze_back_ms": round(1000 * longest_freeze_s(again)),
        "samples": [asdict(sample) for sample in (*narrow, *again)[::4]],
    }


async def top_layer(pages: Pages, server: ServerProcess, rounds: int) -> dict[str, object]:
    """Seconds from pressing Join until the server receives the publisher's largest layer."""
    times = []
    for number in range(rounds):
        speaker = await pages.new()
        room = f"top{number}"
        await speaker.open(f"{server.url}/r/{room}")
        await speaker.find("prejoin-name").fill("Speaker")
        viewer = await pages.new(viewport={"width": 1400, "height": 900})
        await viewer.watch(server.url, room, "Viewer")
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        await speaker.find("prejoin-join").click()

        async def largest(speaker: Caller = speaker) -> bool:
            sent = await speaker.page.evaluate(_OUTBOUND)
            return bool(sent.get("f", 0) > 0)

        await until(largest, "the largest layer", 20)
        times.append(loop.time() - start_s)
        await speaker.page.close()
        await viewer.page.close()
    return {"rounds_s": times, "median_s": statistics.median(times)}


# Frames sent of each encoding, by rid.
_OUTBOUND = """
async () => {
  const frames = {};
  for (const pc of window.__connections)
    for (const r of (await pc.getStats()).values())
      if (r.type === 'outbound-rtp' && r.kind === 'video') frames[r.rid ?? ''] = r.framesSent ?? 0;
  return frames;
}
"""


async def measure(seconds: float, rounds: int) -> dict[str, object]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as server, async_playwright() as playwright:
            picture = clip(Path(folder) / "clip.mjpeg")
            arguments = [*LAUNCH_ARGUMENTS, f"--use-file-for-fake-video-capture={picture}"]
            browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
            pages = Pages(browser, Path(folder))
            result: dict[str, object] = {"top_layer": await top_layer(pages, server, rounds)}
            result["step"] = await step(pages, server)
            result["steady"] = await steady(pages, server, seconds)
            await browser.close()
    return result


def show(result: dict[str, object]) -> None:
    console = Console()
    for name, values in result.items():
        rows = values.items() if name == "steady" else [(name, values)]
        for title, row in rows:
            table = Table(f"{name} {title}" if name == "steady" else title, "")
            for key, value in row.items():
                if key != "samples":
                    table.add_row(key, str(value))
            console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SETTLE_S + 60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    result = asyncio.run(measure(args.seconds, args.rounds))
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
