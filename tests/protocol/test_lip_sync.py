"""Sound and picture of one participant stay together at the viewer while layers are switched.

A source flashes and beeps at the same instants and is published in simulcast by the Python client, through
the real server, to a Python client whose wished size changes. What is compared is what a player goes by: the
RTP timestamps of flash and beep, put on the publisher's clock by the sender reports that came before them. So
the result does not depend on how fast this machine is.
"""

from __future__ import annotations

import asyncio
import fractions
import math
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket, RtpPacket
from signalling import serving, until

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
        self._number = -1
        noise = np.random.default_rng(1)
        self._dark = [noise.integers(0, 60, (LARGE[1], LARGE[0], 3), np.uint8) for _ in range(4)]

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._number = self._number + 1 or first_after(self._began_s, FPS)
        self.delay_s = await late_s(self._began_s + self._number / FPS)
        flash = self._number % round(EVENT_S * FPS) == 0
        picture = np.full_like(self._dark[0], 255) if flash else self._dark[self._number % 4]
        frame = av.VideoFrame.from_ndarray(picture, "bgr24")
        frame.pts, frame.time_base = self._number * 90_000 // FPS, fractions.Fraction(1, 90_000)
        return frame


class Beeps(MediaStreamTrack):
    """Silence, with 20 ms of 1 kHz at every event."""

    kind = "audio"

    def __init__(self, began_s: float) -> None:
        super().__init__()
        self._began_s = began_s
        self._number = -1
        self._beep = (np.sin(np.arange(BLOCK) * 2 * np.pi * 1000 / RATE) * 20_000).astype(np.int16)

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._number = self._number + 1 or first_after(self._began_s, RATE / BLOCK)
        self.delay_s = await late_s(self._began_s + self._number * BLOCK / RATE)
        beep = self._number % round(EVENT_S * RATE / BLOCK) == 0
        samples = self._beep if beep else np.zeros_like(self._beep)
        frame = av.AudioFrame.from_ndarray(samples[None, :], "s16", "mono")
        frame.sample_rate, frame.pts = RATE, self._number * BLOCK
        frame.time_base = fractions.Fraction(1, RATE)
        return frame


def first_after(began_s: float, rate: float) -> int:
    """The first tick to come, of `rate` a second since the beginning."""
    return math.ceil((asyncio.get_running_loop().time() - began_s) * rate)


async def late_s(time_s: float) -> float:
    """Wait for that time; how much later it has become."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, time_s - loop.time()))
    return loop.time() - time_s


@dataclass
class Instants:
    """One track at the viewer: when (NTP, seconds) it showed events, by the reports that came before."""

    receiver: RTCRtpReceiver
    rate: int
    report: tuple[int, int] | None = None
    in_force: dict[int, tuple[int, int]] = field(default_factory=dict)
    events_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver: Any = self.receiver
        take_rtcp, take_rtp = receiver._handle_rtcp_packet, receiver._handle_rtp_packet

        async def rtcp(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                self.report = packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp
            await take_rtcp(packet)

        async def rtp(packet: RtpPacket, arrival_time_ms: int) -> None:
            if self.report is not None:
                self.in_force.setdefault(packet.timestamp, self.report)
            await take_rtp(packet, arrival_time_ms=arrival_time_ms)

        receiver._handle_rtcp_packet, receiver._handle_rtp_packet = rtcp, rtp

    def saw(self, pts: int, after: int = 0) -> None:
        """An event `after` ticks into the frame of this presentation time, counted from the first frame."""
        receiver: Any = self.receiver
        timestamp = pts + receiver._RTCRtpReceiver__timestamp_mapper._origin & 0xFFFFFFFF
        if timestamp in self.in_force:
            ntp, rtp = self.in_force[timestamp]
            since = (timestamp + after - rtp + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
            self.events_s.append(ntp / (1 << 32) + since / self.rate)


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
            heard.saw(block.pts, int(loud[0]))
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
            await until(lambda: heard.events_s and seen.events_s)
            for switch in range(SWITCHES + 1):
                size = LARGE if switch % 2 == 0 else SMALL
                await viewer.subscribe([video.publication], width=size[0], height=size[1])
                shown = 0
                while shown < 2:
                    shown += await sizes.get() == size
            await until(lambda: heard.events_s[-1] > seen.events_s[-1] - EVENT_S / 2)
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
