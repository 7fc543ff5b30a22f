"""Local media made of arrays: push frames and blocks from any thread, the newest wins."""

from __future__ import annotations

import asyncio
import fractions
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame
from av.video.frame import PictureType
from numpy.typing import NDArray

Clock = Callable[[], float]

VIDEO_CLOCK_RATE = 90_000
VIDEO_TIME_BASE = fractions.Fraction(1, VIDEO_CLOCK_RATE)
REPEAT_S = 1.0
AUDIO_PTIME_S = 0.02


class VideoSource(MediaStreamTrack):
    """A video track fed by `push`.

    `width` and `height` (pixels) are what `push` insists on; left out, every size is taken and may change.
    `fps` is the highest rate sent: frames pushed faster replace each other. While nothing is pushed the
    last frame is sent again every second, so that whoever joins sees it. One source feeds one publication.
    """

    kind = "video"

    def __init__(
        self,
        width: int | None = None,
        height: int | None = None,
        fps: float = 30.0,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__()
        if fps <= 0:
            raise ValueError("fps must be above 0")
        self.width, self.height, self.fps = width, height, fps
        self.pushed = 0
        self.sent = 0
        self.delay_s = 0.0
        """How long ago the frame that `recv` gave last was pushed."""
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: tuple[VideoFrame, float] | None = None
        self._last: VideoFrame | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._due_s = -float("inf")
        self._origin_s: float | None = None
        self._last_pts = -1

    def push(self, frame: NDArray[Any]) -> None:
        """Send this BGR picture (height x width x 3, uint8) next; it is copied. From any thread.

        Raises `ValueError` where shape or type are others.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(f"expected height x width x 3 of uint8, not {frame.shape} of {frame.dtype}")
        expected = (self.height or frame.shape[0], self.width or frame.shape[1])
        if frame.shape[:2] != expected:
            raise ValueError(f"expected {expected[1]}x{expected[0]}, not {frame.shape[1]}x{frame.shape[0]}")
        even = frame[: frame.shape[0] & ~1, : frame.shape[1] & ~1]  # chroma is halved both ways
        self.push_frame(VideoFrame.from_ndarray(np.ascontiguousarray(even), format="bgr24"))

    def push_frame(self, frame: VideoFrame) -> None:
        """Send this PyAV frame next; its time stamps are set anew. From any thread."""
        with self._lock:
            self._newest = (frame, self._clock())
            self.pushed += 1
            loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._arrived.set)

    async def recv(self) -> VideoFrame:
        """The next frame to encode (called by the sender)."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._newest is not None:
                self._arrived.set()
        early_s = self._due_s - self._clock()
        if early_s > 0:
            await asyncio.sleep(early_s)
        frame, captured_s = await self._next()
        now_s = self._clock()
        # A tenth of tolerance: capture jitter must not halve the rate of a source at exactly `fps`.
        self._due_s = max(now_s, self._due_s) + 0.9 / self.fps if early_s > -1 else now_s + 0.9 / self.fps
        if self._origin_s is None:
            self._origin_s = captured_s
        pts = max(int((captured_s - self._origin_s) * VIDEO_CLOCK_RATE), self._last_pts + 1)
        self._last_pts = pts
        frame.pts, frame.time_base = pts, VIDEO_TIME_BASE
        frame.pict_type = PictureType.NONE
        self._last = frame
        self.delay_s = now_s - captured_s
        self.sent += 1
        return frame

    def stop(self) -> None:
        """End the track; `recv` raises `MediaStreamError` from then on."""
        super().stop()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def _next(self) -> tuple[VideoFrame, float]:
        """The newest pushed frame, or the last one again after `REPEAT_S` without any."""
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            with self._lock:
                newest, self._newest = self._newest, None
                self._arrived.clear()
            if newest is not None:
                return newest
            try:
                async with asyncio.timeout(REPEAT_S if self._last is not None else None):
                    await self._arrived.wait()
            except TimeoutError:
                if self._last is not None and self.readyState == "live":
                    return self._last, self._clock()


class AudioSource(MediaStreamTrack):
    """An audio track fed by `push`; silence where nothing is pushed.

    `rate` is in samples a second, `channels` 1 or 2. Up to `buffer_s` seconds wait to be sent; beyond it
    the oldest samples are dropped, so that delay stays bounded. One source feeds one publication.
    """

    kind = "audio"

    def __init__(
        self,
        rate: int = 48_000,
        channels: int = 1,
        *,
        buffer_s: float = 0.5,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__()
        if channels not in (1, 2):
            raise ValueError("channels must be 1 or 2")
        self.rate, self.channels = rate, channels
        self.dropped = 0
        self.delay_s = 0.0
        """How long ago the block that `recv` gave last was captured."""
        self._clock = clock
        self._lock = threading.Lock()
        self._samples = np.empty((0, channels), np.int16)
        self._pushed_s = 0.0
        self._limit = int(buffer_s * rate)
        self._block = int(rate * AUDIO_PTIME_S)
        self._flowing = False
        self._start_s: float | None = None
        self._sent = 0
        self._pts = 0

    def push(self, block: NDArray[Any]) -> None:
        """Append samples: int16, or float in -1..1; of shape (n,) or (n, channels). From any thread.

        The last of them are taken as captured just now, which is what keeps them together with pictures.

        Raises `ValueError` where shape or type are others.
        """
        if np.issubdtype(block.dtype, np.floating):
            block = (np.clip(block, -1.0, 1.0) * 32767).astype(np.int16)
        if block.dtype != np.int16:
            raise ValueError(f"expected int16 or float samples, not {block.dtype}")
        if block.ndim == 1:
            block = np.repeat(block[:, None], self.channels, axis=1)
        if block.ndim != 2 or block.shape[1] != self.channels:
            raise ValueError(f"expected (n,) or (n, {self.channels}), not {block.shape}")
        with self._lock:
            joined = np.concatenate((self._samples, block))
            excess = max(0, len(joined) - self._limit)
            self.dropped += excess
            self._samples = joined[excess:]
            self._pushed_s = self._clock()

    @property
    def buffered_s(self) -> float:
        """Seconds of sound that wait to be sent."""
        with self._lock:
            return len(self._samples) / self.rate

    async def recv(self) -> AudioFrame:
        """The next 20 ms to encode (called by the sender)."""
        if self.readyState != "live":
            raise MediaStreamError
        now_s = self._clock()
        if self._start_s is None or now_s - (self._start_s + self._sent * AUDIO_PTIME_S) > 1.0:
            # First block, or the process was stopped for long: do not send a burst.
            self._start_s, self._sent = now_s, 0
        wait_s = self._start_s + self._sent * AUDIO_PTIME_S - now_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if self.readyState != "live":
            raise MediaStreamError
        samples = self._take()
        layout = "stereo" if self.channels == 2 else "mono"
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts = self.rate, self._pts
        frame.time_base = fractions.Fraction(1, self.rate)
        self._sent += 1
        self._pts += self._block
        return frame

    def _take(self) -> NDArray[np.int16]:
        """One block; after running dry, silence until two blocks wait, so that sound does not stutter."""
        with self._lock:
            if len(self._samples) < self._block * (1 if self._flowing else 2):
                self._flowing = False
                self.delay_s = 0.0
                return np.zeros((self._block, self.channels), np.int16)
            self._flowing = True
            self.delay_s = self._clock() - self._pushed_s + len(self._samples) / self.rate
            taken, self._samples = self._samples[: self._block], self._samples[self._block :]
        return np.ascontiguousarray(taken)
