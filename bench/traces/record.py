"""Record when Chromium's simulcast sends what: the packets of a 720p camera with three encodings.

One page publishes a busy picture, three watch it at different sizes, so that every encoding is wanted. Its
datagrams pass by a relay, where the kernel stamps their arrival. RTP headers are in the clear, and nothing
else is looked at. Left out are retransmissions and audio.

`bench/traces/chromium-simulcast.csv` has a line for each packet in the order of arrival: microseconds since
the first, encoding (0 is the smallest), bytes of the datagram, whether it is the first of its frame, and the
last.

    python bench/traces/record.py --seconds 20
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import selectors
import shutil
import socket
import struct
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("bench", "tests", "clients")]

from adaptation import clip
from browser import LAUNCH_ARGUMENTS, Pages, until
from server_process import running
from shaper import DETOUR

TRACE = Path(__file__).parent / "chromium-simulcast.csv"
COLUMNS = ("us", "encoding", "bytes", "first", "last")
SETTLE_S = 10
WIDTHS = (320, 640, 1280)
VIEWPORTS = ((420, 300), (700, 480), (1400, 900))
TOGETHER_US = 1000
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")


class Relay:
    """Between one page and the server. `seen` has the page's datagrams and when they came, in nanoseconds."""

    def __init__(self, server_port: int) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self._server = ("127.0.0.1", server_port)
        self._outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outside.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._outside.bind(("127.0.0.1", 0))
        self.port = self._outside.getsockname()[1]
        self._inside: dict[tuple[str, int], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._outside, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run)

    @contextlib.contextmanager
    def running(self) -> Iterator[Relay]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stopping = True
            self._thread.join()
            for opened in (self._outside, *self._inside.values()):
                opened.close()

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.1):
                if key.data is None:
                    self._from_page()
                else:
                    self._outside.sendto(key.fileobj.recv(2048), key.data)  # type: ignore[union-attr]

    def _from_page(self) -> None:
        data, ancillary, _, page = self._outside.recvmsg(2048, socket.CMSG_SPACE(_TIMESPEC.size))
        seconds, rest = _TIMESPEC.unpack(ancillary[0][2])
        self.seen.append((seconds * 1_000_000_000 + rest, data))
        if page not in self._inside:
            self._inside[page] = opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.connect(self._server)
            self._selector.register(opened, selectors.EVENT_READ, page)
        self._inside[page].send(data)


async def record(seconds: float) -> list[tuple[int, bytes]]:
    """What the publisher sent after it had settled."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        picture = clip(Path(folder) / "busy.mjpeg")
        arguments = [*LAUNCH_ARGUMENTS, f"--use-file-for-fake-video-capture={picture}"]
        async with running(Path(folder)) as server, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
            pages = Pages(browser, Path(folder))
            with Relay(server.rtc_port).running() as relay:
                speaker = await pages.new()
                await speaker.page.add_init_script(DETOUR.replace("PORT", str(relay.port)))
                await speaker.join(server.url, "trace", "Speaker")
                for (width, height), wanted in zip(VIEWPORTS, WIDTHS, strict=True):
                    viewer = await pages.new(viewport={"width": width, "height": height})
                    await viewer.watch(server.url, "trace", f"Viewer {wanted}")

                    async def sees(viewer=viewer, wanted=wanted) -> bool:
                        return bool((await viewer.video()).get("frameWidth") == wanted)

                    await until(sees, f"a picture {wanted} wide", 60)
                await asyncio.sleep(SETTLE_S)
                relay.seen.clear()
                await asyncio.sleep(seconds)
                seen = list(relay.seen)
            await browser.close()
    return seen


Packet = tuple[int, int, int, int, int]
"""A line of the trace."""


def packets_of(seen: list[tuple[int, bytes]]) -> list[Packet]:
    """Video alone: the payload type with the most bytes, its SSRCs by how much they send."""
    rtp = [(at, data) for at, data in seen if data[0] >> 6 == 2 and not 192 <= data[1] <= 223]
    by_type: Counter[int] = Counter()
    by_ssrc: Counter[int] = Counter()
    for _, data in rtp:
        by_type[data[1] & 0x7F] += len(data)
    video = by_type.most_common(1)[0][0]
    rtp = [(at, data) for at, data in rtp if data[1] & 0x7F == video]
    for _, data in rtp:
        by_ssrc[_ssrc(data)] += len(data)
    order = [ssrc for ssrc, _ in reversed(by_ssrc.most_common())]
    timestamps: dict[int, bytes] = {}
    lines = []
    for at, data in rtp:
        ssrc = _ssrc(data)
        first = timestamps.get(ssrc) != data[4:8]
        timestamps[ssrc] = data[4:8]
        us = (at - rtp[0][0]) // 1000
        lines.append((us, order.index(ssrc), len(data), int(first), data[1] >> 7))
    return lines


def _ssrc(data: bytes) -> int:
    return int.from_bytes(data[8:12], "big")


def summary(packets: list[Packet]) -> Table:
    """How fast each encoding comes, and in which bursts: packets that come within a millisecond."""
    seconds = packets[-1][0] / 1e6
    bursts: dict[int, list[int]] = defaultdict(list)
    last: dict[int, int] = {}
    for us, encoding, *_ in packets:
        if us - last.get(encoding, -TOGETHER_US) >= TOGETHER_US:
            bursts[encoding].append(0)
        bursts[encoding][-1] += 1
        last[encoding] = us
    table = Table(title="What was recorded")
    for title in ("encoding", "packets/s", "frames/s", "kbit/s", "burst, mean", "longest"):
        table.add_column(title, justify="right")
    for encoding, sizes in sorted(bursts.items()):
        some = [packet for packet in packets if packet[1] == encoding]
        rates = (len(some) / seconds, sum(packet[3] for packet in some) / seconds)
        kbps = sum(packet[2] for packet in some) * 8 / 1000 / seconds
        mean = sum(sizes) / len(sizes)
        shown = (f"{rates[0]:.0f}", f"{rates[1]:.1f}", f"{kbps:.0f}", f"{mean:.1f}", str(max(sizes)))
        table.add_row(str(encoding), *shown)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--to", type=Path, default=TRACE)
    arguments = parser.parse_args()
    packets = packets_of(asyncio.run(record(arguments.seconds)))
    Console().print(summary(packets))
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    with arguments.to.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(packets)


if __name__ == "__main__":
    main()
