"""Sound and picture of one participant stay together at the viewer while layers are switched.

A source flashes and beeps at the same instants and is published in simulcast by the Python client, through
the real server, to a Python client whose wished size changes. What is compared is what a player goes by: the
RTP timestamps of flash and beep, put on the publisher's clock by the sender reports that came before them. So
the result does not depend on how fast this machine is.
"""

from __future__ import annotations

import asyncio
import fractions
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket
from signalling import serving

from sfu_client import Room
from sfu_client.tracks import AnyTrack

LARGE, SMALL = (320, 180), (160, 90)
SWITCHES = 5
EVENT_S = 0.4
FPS, RATE = 25, 48_000
BLOCK = RATE // 50
MOST_S = 0.040
DEADLINE_S = 20


class Flashes(MediaStreamTrack):
    """Dark noise, with one white picture at every event."""

    kind = "video"

    def __init__(self, began_s: float) -> None:
        super().__init__()
        self._began_s = began_s
        self._number = 0
        noise = np.random.default_rng(1)
        self._dark = [noise.integers(0, 60, (LARGE[1], LARGE[0], 3), np.uint8) for _ in range(4)]

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await sleep_until(self._began_s + self._number / FPS)
        flash = self._number % round(EVENT_S * FPS) == 0
        picture = np.full_like(self._dark[0], 255) if flash else self._dark[self._number % 4]
        frame = av.VideoFrame.from_ndarray(picture, "bgr24")
        frame.pts, frame.time_base = self._number * 90_000 // FPS, fractions.Fraction(1, 90_000)
        self._number += 1
        return frame


class Beeps(MediaStreamTrack):
    """Silence, with 20 ms of 1 kHz at every event."""

    kind = "audio"

    def __init__(self, began_s: float) -> None:
        super().__init__()
        self._began_s = began_s
        self._number = 0
        self._beep = (np.sin(np.arange(BLOCK) * 2 * np.pi * 1000 / RATE) * 20_000).astype(np.int16)

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await sleep_until(self._began_s + self._number * BLOCK / RATE)
        beep = self._number % round(EVENT_S * RATE / BLOCK) == 0
        samples = self._beep if beep else np.zeros_like(self._beep)
        frame = av.AudioFrame.from_ndarray(samples[None, :], "s16", "mono")
        frame.sample_rate, frame.pts = RATE, self._number * BLOCK
        frame.time_base = fractions.Fraction(1, RATE)
        self._number += 1
        return frame


async def sleep_until(time_s: float) -> None:
    await asyncio.sleep(max(0.0, time_s - asyncio.get_running_loop().time()))


@dataclass
class Instants:
    """One track at the viewer: its sender reports, and when (NTP, seconds) it showed an event."""

    receiver: RTCRtpReceiver
    rate: int
    reports: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    events_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver: Any = self.receiver
        handle = receiver._handle_rtcp_packet

        async def keep(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                self.reports.append((packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp))
                for timestamp in self.waiting:
                    self.events_s.append(self._ntp_s(timestamp))
                self.waiting.clear()
            await handle(packet)

        receiver._handle_rtcp_packet = keep

    def saw(self, pts: int) -> None:
        """An event at this presentation time, which aiortc counts from the first frame's."""
        receiver: Any = self.receiver
        timestamp = pts + receiver._RTCRtpReceiver__timestamp_mapper._origin & 0xFFFFFFFF
        if self.reports:
            self.events_s.append(self._ntp_s(timestamp))
        else:
            self.waiting.append(timestamp)

    def _ntp_s(self, timestamp: int) -> float:
        ntp, rtp = self.reports[-1]
        return ntp / (1 << 32) + ((timestamp - rtp + (1 << 31) & 0xFFFFFFFF) - (1 << 31)) / self.rate


def instants(room: Room, track: AnyTrack, rate: int) -> Instants:
    session: Any = room._connection._session
    receivers = session._subscribe._pc.getReceivers()
    return Instants(next(item for item in receivers if item.track is track._track), rate)


async def hear(track: AnyTrack, heard: Instants) -> None:
    """Note where each beep begins, to the sample."""
    silent = True
    async for block in track:
        assert block.pts is not None
        loud = np.flatnonzero(np.abs(block.to_ndarray().reshape(-1, 2)[:, 0].astype(int)) > 3000)
        if silent and len(loud):
            heard.saw(block.pts + int(loud[0]))
        silent = not len(loud)


async def watch(track: AnyTrack, seen: Instants, sizes: asyncio.Queue[tuple[int, int]]) -> None:
    """Note each flash, and after it the size of the picture."""
    dark = True
    async for frame in track.frames(latest=False, capacity=100):
        assert isinstance(frame, av.VideoFrame)
        assert frame.pts is not None
        bright = frame.to_ndarray(format="gray").mean() > 150
        if dark and bright:
            seen.saw(frame.pts)
            sizes.put_nowait((frame.width, frame.height))
        dark = not bright


async def test_flash_and_beep_stay_together_through_five_layer_switches() -> None:
    began_s = asyncio.get_running_loop().time()
    async with (
        asyncio.timeout(DEADLINE_S),
        serving() as server,
        Room.connect(server.http_url, "r", name="source", auto_subscribe=False) as source,
        Room.connect(server.http_url, "r", name="viewer") as viewer,
    ):
        await asyncio.gather(source.publish(Flashes(began_s), simulcast=True), source.publish(Beeps(began_s)))
        video = await viewer.wait_for_track(kind="video")
        audio = await viewer.wait_for_track(kind="audio")
        seen, heard = instants(viewer, video, 90_000), instants(viewer, audio, RATE)
        sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        tasks = [asyncio.create_task(watch(video, seen, sizes)), asyncio.create_task(hear(audio, heard))]
        try:
            while not (heard.events_s and seen.events_s):
                await asyncio.sleep(0.02)
            for switch in range(SWITCHES + 1):
                size = LARGE if switch % 2 == 0 else SMALL
                await viewer.subscribe([video.publication], width=size[0], height=size[1])
                shown = 0
                while shown < 2:
                    shown += await sizes.get() == size
            while heard.events_s[-1] < seen.events_s[-1] - EVENT_S / 2:
                await asyncio.sleep(0.02)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    both_s = heard.events_s[0] - EVENT_S / 2
    offsets = [
        min((flash - beep for beep in heard.events_s), key=abs) for flash in seen.events_s if flash > both_s
    ]
    assert len(offsets) >= 2 * SWITCHES
    assert max(map(abs, offsets)) <= MOST_S, [round(offset, 4) for offset in offsets]
    print([round(offset, 4) for offset in offsets])
