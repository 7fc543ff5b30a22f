"""Frames of one stream, waiting and decoded with limits: who sends them is not to be trusted."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import av
from av.video.codeccontext import VideoCodecContext

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_WAITING = 30
"""Frames that wait to be decoded."""


class Backlog:
    """Frames that wait, oldest first. One that does not fit takes their place, for it is newer."""

    def __init__(self) -> None:
        self._frames: deque[tuple[bytes, bool]] = deque()
        self._wake = asyncio.Event()

    def put(self, frame: bytes, *, keyframe: bool) -> bool:
        """Whether it waits now; False: nothing does, and the next has to be a keyframe."""
        if len(self._frames) >= MOST_WAITING:
            self._frames.clear()
            if not keyframe:
                return False
        self._frames.append((frame, keyframe))
        self._wake.set()
        return True

    def skip(self) -> bool:
        """Drop what comes before the next keyframe; whether one waits."""
        while self._frames and not self._frames[0][1]:
            self._frames.popleft()
        return bool(self._frames)

    async def get(self) -> bytes:
        while not self._frames:
            self._wake.clear()
            await self._wake.wait()
        return self._frames.popleft()[0]


class Decoder:
    """Of `codec`, for pictures of at most `most_pixels`: FFmpeg refuses larger ones before it makes them."""

    def __init__(self, codec: str, most_pixels: int) -> None:
        self._codec = codec
        self._options = {"max_pixels": str(most_pixels)}
        self._context: VideoCodecContext | None = None

    def picture(self, data: bytes, *, wanted: bool) -> NDArray[Any] | None:
        """The picture of the next frame, None unless `wanted`: it is decoded for those that refer to it.

        Raises `av.FFmpegError` where it cannot be; then a keyframe has to come.
        """
        if self._context is None:
            made = av.CodecContext.create(self._codec, "r")
            assert isinstance(made, VideoCodecContext)
            made.options = self._options
            self._context = made
        try:
            frames = self._context.decode(av.Packet(data))
        except av.FFmpegError:
            self._context = None
            raise
        return frames[-1].to_ndarray(format="bgr24") if frames and wanted else None
