"""Decoded pictures for extensions: the server as a viewer of the smallest layer, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import av

from sfu import clock
from sfu.config import ExtensionsConfig
from sfu.errors import ParseError
from sfu.extensions import Frame
from sfu.ids import PublicationId
from sfu.media.srtp import SrtpReceiver
from sfu.rtp.frames import CODECS, FrameAssembler
from sfu.rtp.packet import is_rtcp, parse_packet
from sfu.rtp.payload import inspect
from sfu.server.decoding import Backlog, Decoder
from sfu.server.events import RoomEvent
from sfu.server.media import Tap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sfu.server.conference import Conference
    from sfu.server.guard import Guard

log = logging.getLogger(__name__)

THREADS = 2
MOST_TAPS = 50
KEYFRAME_EVERY_US = 1_000_000
MOST_FAILURES = 10
"""Frames in a row that cannot be decoded, each after a keyframe was asked for; then nobody looks any more."""


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

    def __len__(self) -> int:
        """Publications that are looked at."""
        return len(self._taps)

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
            decoder = Decoder(publication["codec"], self._config.frame_pixels)
            ended = partial(self._taps.pop, publication["id"], None)
            watched = _Watched(self._conference, event, wishes, self._threads, decoder, ended)
            self._taps[publication["id"]] = watched

    async def close(self) -> None:
        for watched in self._taps.values():
            watched.stop()
        self._taps.clear()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


class _Watched:
    """One publication: packets in, pictures to callbacks, as long as one of these is on."""

    def __init__(
        self,
        conference: Conference,
        event: RoomEvent,
        wishes: list[_Wish],
        threads: ThreadPoolExecutor,
        decoder: Decoder,
        ended: Callable[[], object],
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
        self._decoder = decoder
        self._backlog = Backlog()
        self._keyframe = False
        self._failures = 0
        self._asked_us = 0
        self._ended = ended
        self._tap: Tap | None = None
        self._receiver: SrtpReceiver | None = None
        self._tasks = {asyncio.create_task(self._run())}

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._close()

    def _close(self) -> None:
        if self._tap is not None:
            self._tap.close()
            self._tap = None

    async def _run(self) -> None:
        # The publication is told of before its media is set up: that is done when this runs.
        self._tap = self._conference.media.tap(self._id, self._packet)
        if self._tap is None:
            return
        self._receiver = SrtpReceiver(self._tap.keys)
        try:
            await self._decode_all()
        except Exception:
            log.exception("nobody looks any more", extra={"room": self._event.room})
        self._close()
        self._ended()

    def _packet(self, datagram: bytes) -> None:
        """In the event loop: put frames together, which is little work."""
        if self._receiver is None or self._tap is None or is_rtcp(datagram):
            return
        try:
            packet = parse_packet(self._receiver.unprotect(datagram))
            keyframe = bool(packet.payload) and inspect(self._codec, packet.payload).keyframe
        except ParseError:
            return
        self._keyframe = self._keyframe or keyframe
        frame = self._assembler.push(packet, keyframe=keyframe)
        if packet.marker:
            if frame is not None and not self._backlog.put(frame, keyframe=self._keyframe):
                self._assembler.waits = True
            self._keyframe = False
        now_us = clock.now_us()
        if self._assembler.waits and now_us - self._asked_us > KEYFRAME_EVERY_US:
            self._asked_us = now_us
            self._tap.ask_keyframe()

    async def _decode_all(self) -> None:
        """Until every callback is switched off, or nothing can be decoded."""
        loop = asyncio.get_running_loop()
        while any(wish.guard.on for wish in self._wishes) and self._failures < MOST_FAILURES:
            frame = await self._backlog.get()
            now_us = clock.now_us()
            due = [
                wish
                for wish, at_us in self._wishes.items()
                if wish.guard.on and now_us >= at_us and wish not in self._busy
            ]
            decode = partial(self._decoder.picture, frame, wanted=bool(due))
            try:
                image = await loop.run_in_executor(self._threads, decode)
            except Exception as error:
                self._failed(error)
                continue
            self._failures = 0
            if image is None:
                continue
            for wish in due:
                self._wishes[wish] = now_us + wish.interval_us
                self._give(wish, image)

    def _failed(self, error: Exception) -> None:
        """The publisher's fault where FFmpeg says so; the next frame is of use only if it is a keyframe."""
        if not self._backlog.skip():
            self._assembler.waits = True
        self._failures += 1
        context = {"room": self._event.room, "participant": self._event.data["participant"]}
        if not isinstance(error, av.FFmpegError):
            log.error("a picture could not be decoded", exc_info=error, extra=context)
        elif self._failures == MOST_FAILURES:
            log.warning("its pictures cannot be decoded, or are too large: %s", error.strerror, extra=context)

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
