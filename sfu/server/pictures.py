"""Decoded pictures for extensions: the server as a viewer of the smallest layer, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
from av.video.codeccontext import VideoCodecContext

from sfu import clock
from sfu.config import ExtensionsConfig
from sfu.errors import ParseError
from sfu.extensions import Frame
from sfu.ids import PublicationId
from sfu.media.srtp import SrtpReceiver
from sfu.rtp.frames import CODECS, FrameAssembler
from sfu.rtp.packet import is_rtcp, parse_packet
from sfu.rtp.payload import inspect
from sfu.server.events import RoomEvent
from sfu.server.media import Tap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sfu.server.conference import Conference
    from sfu.server.guard import Guard

log = logging.getLogger(__name__)

THREADS = 2
MOST_WAITING = 30
"""Frames that wait to be decoded; past that they go until a keyframe comes, for the next needs the last."""
MOST_TAPS = 50
KEYFRAME_EVERY_US = 1_000_000


@dataclass(frozen=True, slots=True)
class _Wish:
    guard: Guard
    source: str
    interval_us: int


class FrameTaps:
    """One tap for each publication that an extension wants to see."""

    def __init__(self, conference: Conference, config: ExtensionsConfig) -> None:
        self._conference = conference
        self._config = config
        self._wishes: list[_Wish] = []
        self._taps: dict[str, _Watched] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="frames")

    def add(self, guard: Guard, source: str, fps: float) -> None:
        self._wishes.append(_Wish(guard, source, round(1_000_000 / fps)))

    def told(self, event: RoomEvent) -> None:
        """Publications come and go."""
        if event.type == "unpublished":
            watched = self._taps.pop(str(event.data["publication"]), None)
            if watched is not None:
                watched.stop()
        if event.type != "published" or not self._wishes or len(self._taps) >= MOST_TAPS:
            return
        publication = event.data["publication"]
        wishes = [wish for wish in self._wishes if wish.source == publication["source"] and wish.guard.on]
        if wishes and publication["kind"] == "video" and publication["codec"] in CODECS:
            watched = _Watched(self._conference, event, wishes, self._threads)
            self._taps[publication["id"]] = watched

    async def close(self) -> None:
        for watched in self._taps.values():
            watched.stop()
        self._taps.clear()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


class _Watched:
    """One publication: packets in, pictures to callbacks."""

    def __init__(
        self, conference: Conference, event: RoomEvent, wishes: list[_Wish], threads: ThreadPoolExecutor
    ) -> None:
        publication = event.data["publication"]
        self._conference = conference
        self._event = event
        self._codec: str = publication["codec"]
        self._id = PublicationId(publication["id"])
        self._wishes = dict.fromkeys(wishes, 0)
        self._busy: set[_Wish] = set()
        self._threads = threads
        self._assembler = FrameAssembler(self._codec)
        self._decoder: VideoCodecContext | None = None
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._asked_us = 0
        self._tap: Tap | None = None
        self._receiver: SrtpReceiver | None = None
        self._tasks = {asyncio.create_task(self._open())}

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tap is not None:
            self._tap.close()

    async def _open(self) -> None:
        # The publication is told of before its media is set up: that is done when this runs.
        self._tap = self._conference.media.tap(self._id, self._packet)
        if self._tap is None:
            return
        self._receiver = SrtpReceiver(self._tap.keys)
        await self._decode_all()

    def _packet(self, datagram: bytes) -> None:
        """In the event loop: put frames together, which is little work."""
        if self._receiver is None or is_rtcp(datagram):
            return
        try:
            packet = parse_packet(self._receiver.unprotect(datagram))
            keyframe = bool(packet.payload) and inspect(self._codec, packet.payload).keyframe
        except ParseError:
            return
        frame = self._assembler.push(packet, keyframe=keyframe)
        if frame is not None:
            try:
                self._frames.put_nowait(frame)
            except asyncio.QueueFull:
                self._assembler.waits = True
        now_us = clock.now_us()
        if self._assembler.waits and now_us - self._asked_us > KEYFRAME_EVERY_US and self._tap is not None:
            self._asked_us = now_us
            self._tap.ask_keyframe()

    async def _decode_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            frame = await self._frames.get()
            now_us = clock.now_us()
            due = [wish for wish, at_us in self._wishes.items() if now_us >= at_us and wish not in self._busy]
            image = await loop.run_in_executor(self._threads, self._decode, frame, bool(due))
            if image is None:
                continue
            for wish in due:
                self._wishes[wish] = now_us + wish.interval_us
                self._give(wish, image)

    def _decode(self, data: bytes, wanted: bool) -> NDArray[Any] | None:
        """In a thread. Every frame is decoded, for the next one needs it; few become a picture."""
        if self._decoder is None:
            self._decoder = av.CodecContext.create(self._codec, "r")  # type: ignore[assignment]
        assert self._decoder is not None
        try:
            frames = self._decoder.decode(av.Packet(data))
            return frames[-1].to_ndarray(format="bgr24") if frames and wanted else None
        except av.FFmpegError:
            self._decoder = None
            return None

    def _give(self, wish: _Wish, image: NDArray[Any]) -> None:
        """A callback that is busy misses pictures: it always gets the newest."""
        frame = Frame(
            room=self._event.room,
            participant=self._event.data["participant"],
            publication=self._id,
            source=wish.source,
            at_ms=clock.wall_ms(),
            image=image,
        )
        self._busy.add(wish)
        self._start(self._called(wish, frame))

    async def _called(self, wish: _Wish, frame: Frame) -> None:
        try:
            with contextlib.suppress(Exception):
                await wish.guard(frame)
        finally:
            self._busy.discard(wish)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
