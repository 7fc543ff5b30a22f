"""Simulcast: one video in several encodings, each made once, told apart by RID. Spec: RFC 8853, RFC 8852.

aiortc knows neither RIDs nor several streams on an m-line. So the offer is completed here before it is sent,
and every encoding has a sender of its own (`_aiortc.SimulcastSender`), fed by one `Splitter`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from sfu_client.capture_time import CapturedTrack

logger = logging.getLogger(__name__)

RID_ID, REPAIRED_RID_ID = 10, 11
"""Ids of both header extensions in the offer; aiortc's own are below, and 14 is the highest short one."""
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"

_REPLACED = ("a=ssrc:", "a=ssrc-group:", "a=rid:", "a=simulcast:")
_RECEIVED = re.compile(r"a=rid:([0-9A-Za-z_-]+) recv")


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoding. `scale` divides both sides of the picture, `share` is of the publication's bit rate."""

    rid: str
    scale: int
    share: float


ENCODINGS = (Encoding("h", 2, 0.25), Encoding("f", 1, 1.0))
"""Smallest first. Half of each side has a quarter of the pixels, so a quarter of the bits looks alike."""


def announce(sdp: str, rids: Mapping[str, Sequence[str]]) -> str:
    """An offer of aiortc's in which the m-lines of `rids` (by mid) send simulcast with those RIDs.

    Their SSRCs go: RIDs tell the encodings apart, and aiortc names one SSRC only. Spec: RFC 8853 section 5.
    """
    head, *sections = re.split(r"(?m)^(?=m=)", sdp.replace("\r\n", "\n"))
    adapted = [head]
    for section in sections:
        lines = section.rstrip("\n").split("\n")
        sent = rids.get(_mid(lines), ())
        if sent:
            lines = [line for line in lines if not line.startswith(_REPLACED)]
            lines += [
                f"a=extmap:{RID_ID} {RID_URI}",
                f"a=extmap:{REPAIRED_RID_ID} {REPAIRED_RID_URI}",
                *(f"a=rid:{rid} send" for rid in sent),
                "a=simulcast:send " + ";".join(sent),
            ]
        adapted.append("\n".join(lines) + "\n")
    return "".join(adapted).replace("\n", "\r\n")


def accepted(sdp: str) -> dict[str, list[str]]:
    """The RIDs that the server's answer takes, by mid."""
    sections = re.split(r"(?m)^(?=m=)", sdp.replace("\r\n", "\n"))[1:]
    return {
        _mid(lines): [match[1] for line in lines if (match := _RECEIVED.match(line))]
        for lines in (section.split("\n") for section in sections)
    }


def _mid(lines: Iterable[str]) -> str:
    return next((line.removeprefix("a=mid:") for line in lines if line.startswith("a=mid:")), "")


class Branch(CapturedTrack):
    """What the sender of one encoding reads: the newest frame of the common track.

    An encoding that is slower than the source misses frames, and the others do not. While `paused` it gets
    none. `on_resumed` is called when it may go on: nobody can decode what follows a gap, so it begins with a
    keyframe.
    """

    kind = "video"

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self.encoding = encoding
        self.paused = False
        self.on_resumed: Callable[[], None] = lambda: None
        self._newest: tuple[VideoFrame, int] | None = None
        self._arrived = asyncio.Event()

    def put(self, frame: VideoFrame, captured_ntp: int) -> None:
        if not self.paused:
            self._newest = (frame, captured_ntp)
            self._arrived.set()

    def pause(self, paused: bool) -> None:
        if paused:
            self._newest = None
        elif self.paused:
            self.on_resumed()
        self.paused = paused

    async def recv(self) -> VideoFrame:
        while self.readyState == "live":
            if self._newest is not None:
                (frame, self.captured_ntp), self._newest = self._newest, None
                return frame
            self._arrived.clear()
            await self._arrived.wait()
        raise MediaStreamError

    def stop(self) -> None:
        super().stop()
        self._arrived.set()


class Splitter:
    """Reads a track once and gives every frame, with its capture time, to all branches."""

    def __init__(self, track: CapturedTrack, encodings: Sequence[Encoding]) -> None:
        self.branches = tuple(Branch(encoding) for encoding in encodings)
        self._track = track
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="simulcast")

    def choose(self, rids: Collection[str]) -> None:
        """Encode and send these alone; none at all pauses everything. Unknown ones are ignored."""
        for branch in self.branches:
            branch.pause(branch.encoding.rid not in rids)

    def stop(self) -> None:
        """Stop reading; the track itself lives on."""
        if self._reading is not None:
            self._reading.cancel()
        for branch in self.branches:
            branch.stop()

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._track.recv()
                if not isinstance(frame, VideoFrame):
                    logger.error("simulcast needs pictures: what is encoded already has one size only")
                    break
                for branch in self.branches:
                    branch.put(frame, self._track.captured_ntp)
        except MediaStreamError:
            pass
        for branch in self.branches:
            branch.stop()
