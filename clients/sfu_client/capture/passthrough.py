"""H264 that is encoded already, passed through packet by packet."""

from __future__ import annotations

import asyncio
import fractions
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import Packet
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.stream import VideoStream

from sfu_client.capture.base import CaptureError, Pacer, UnusableSourceError, Worker, monotonic_s
from sfu_client.capture.files import is_live, is_url, open_container
from sfu_client.urls import without_password

logger = logging.getLogger(__name__)

TIME_BASE = fractions.Fraction(1, 90_000)
if TYPE_CHECKING:
    EncodedPicture = Packet[VideoStream]

CAPACITY = 300
"""Packets kept for a sender that is not there; beyond it the stream goes on from the next keyframe."""


class PassthroughTrack(MediaStreamTrack):
    """The H264 packets of a file (looped) or stream, unchanged; to be published with `codec="h264"`.

    Nothing is encoded here, so bitrate, size and keyframe interval are the source's: whoever joins waits
    for its next keyframe. B-frames are refused: WebRTC sends pictures in the order they are shown in.
    """

    kind = "video"

    def __init__(
        self, source: str, *, on_failure: Callable[[UnusableSourceError], None] | None = None
    ) -> None:
        super().__init__()
        self._source = source
        self._lock = threading.Lock()
        self._packets: deque[EncodedPicture] = deque()
        self._awaits_keyframe = True
        self._origin = 0
        self._last_pts = -1
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker = Worker(without_password(source), self._attempt, on_failure=on_failure)

    def start(self) -> None:
        """Begin reading; call from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._worker.start()

    def stop(self) -> None:
        """End the track."""
        super().stop()
        self._arrived.set()

    async def close(self) -> None:
        """End the track and the thread (waits up to two seconds)."""
        self.stop()
        await self._worker.close()

    async def recv(self) -> EncodedPicture:
        """The next packet (called by the sender)."""
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            with self._lock:
                if self._packets:
                    return self._packets.popleft()
                self._arrived.clear()
            await self._arrived.wait()

    def _attempt(self) -> None:
        container = open_container(self._source)
        try:
            stream = _h264_stream(container, self._source)
            self._copy(container, stream)
        except (av.FFmpegError, OSError) as error:
            raise CaptureError(f"{without_password(self._source)}: {error.strerror}") from error
        finally:
            container.close()

    def _copy(self, container: InputContainer, stream: VideoStream) -> None:
        live = is_live(container, self._source)
        pacer = Pacer(10_000, monotonic_s, self._worker.stopping.wait)
        begin = self._last_pts + 3_000 if self._last_pts >= 0 else 0
        start = begin
        logger.info("copying H264 %dx%d", stream.codec_context.width, stream.codec_context.height)
        while True:
            end = self._copy_once(container, stream, pacer, start, None if live else begin)
            if end is None:
                return
            if is_url(self._source):
                raise CaptureError(f"{without_password(self._source)} has ended")
            start = end
            container.seek(0)

    def _copy_once(
        self, container: InputContainer, stream: VideoStream, pacer: Pacer, start: int, paced_from: int | None
    ) -> int | None:
        """Copy to the end of the stream; where the next round starts (90 kHz), None when stopping."""
        filters = _annex_b(stream)
        first: int | None = None
        last, step = -1, 3_600
        for demuxed in container.demux(stream):
            for packet in filters.filter(demuxed if demuxed.size else None):
                pts = _pts(packet, self._source)
                if pts is None:
                    continue
                first = pts if first is None else first
                pts = start + pts - first
                if pts <= last:
                    raise UnusableSourceError(
                        f"{without_password(self._source)} has B-frames, which WebRTC cannot carry; turn them"
                        " off in the camera (baseline profile), or leave out --copy to have it re-encoded"
                    )
                step, last = (pts - last if last >= 0 else step), pts
                if paced_from is not None:
                    pacer.admit((pts - paced_from) / 90_000)
                if self._worker.stopping.is_set():
                    return None
                self._deliver(packet, pts)
        if last < 0:
            raise CaptureError(f"{without_password(self._source)} gives no pictures")
        return last + min(step, 90_000)

    def _deliver(self, packet: EncodedPicture, pts: int) -> None:
        packet.time_base = TIME_BASE
        packet.pts = packet.dts = pts
        self._last_pts = pts
        self._worker.worked()
        with self._lock:
            if len(self._packets) >= CAPACITY:
                self._packets.clear()
                self._awaits_keyframe = True
            if packet.is_keyframe:
                self._awaits_keyframe = False
            if self._awaits_keyframe:
                return
            self._packets.append(packet)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.set)


def _h264_stream(container: InputContainer, source: str) -> VideoStream:
    stream = next(iter(container.streams.video), None)
    if stream is None:
        raise UnusableSourceError(f"{without_password(source)} has no video")
    if stream.codec_context.name != "h264":
        raise UnusableSourceError(
            f"{without_password(source)} is {stream.codec_context.name}, and --copy takes H264 only;"
            " leave out --copy to have it re-encoded"
        )
    return stream


def _annex_b(stream: VideoStream) -> BitStreamFilterContext:
    """Start codes instead of lengths, and the parameter sets before every keyframe."""
    extradata = stream.codec_context.extradata or b""
    name = "h264_mp4toannexb" if extradata[:1] == b"\x01" else "dump_extra=freq=keyframe"
    return BitStreamFilterContext(name, stream)


def _pts(packet: EncodedPicture, source: str) -> int | None:
    """The packet's time in 90 kHz, None for what carries no picture."""
    value = packet.pts if packet.pts is not None else packet.dts
    if value is None or packet.time_base is None:
        return None
    return int(value * packet.time_base * 90_000)
