"""Media of others: frames as an asynchronous iteration that never builds up delay."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import Any, Generic, TypeVar

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from sfu_client.model import Participant, Publication

F = TypeVar("F", VideoFrame, AudioFrame)

AUDIO_CAPACITY = 50
"""Audio frames (20 ms each) kept for a slow reader: one second."""


class FrameStream(Generic[F]):
    """One reader's frames; the oldest fall out when more than `capacity` wait. `dropped` counts them."""

    def __init__(self, capacity: int) -> None:
        self._frames: deque[F] = deque(maxlen=capacity)
        self._arrived = asyncio.Event()
        self._ended = False
        self.dropped = 0

    def put(self, frame: F) -> None:
        if len(self._frames) == self._frames.maxlen:
            self.dropped += 1
        self._frames.append(frame)
        self._arrived.set()

    def end(self) -> None:
        self._ended = True
        self._arrived.set()

    def __aiter__(self) -> FrameStream[F]:
        return self

    async def __anext__(self) -> F:
        while not self._frames:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()


class RemoteTrack(Generic[F]):
    """A subscribed publication's media.

    `async for frame in track` gives PyAV frames, of video always the newest, of audio all of the last
    second. The iteration ends with the track; after a reconnection that was not a resumption there is a
    new one (`Room.wait_for_track`, `TrackSubscribed`). Frames nobody iterates are dropped.
    """

    def __init__(self, publication: Publication, participant: Participant, track: MediaStreamTrack) -> None:
        self.publication = publication
        self.participant = participant
        self._track = track
        self._readers: weakref.WeakSet[FrameStream[F]] = weakref.WeakSet()
        self._ended = False
        self.received = 0
        self._pump = asyncio.create_task(self._run(), name=f"track-{publication.id}")

    @property
    def kind(self) -> str:
        """`audio` or `video`."""
        return self.publication.kind

    @property
    def source(self) -> str:
        """What it shows: `camera`, `microphone`, `screen`, `screen_audio` or `other`."""
        return self.publication.source

    @property
    def ended(self) -> bool:
        return self._ended

    def frames(self, *, latest: bool | None = None, capacity: int | None = None) -> FrameStream[F]:
        """A new reader of this track, starting with the next frame.

        `latest=True` keeps only the newest frame (the default for video); `latest=False` keeps up to
        `capacity` frames (default 50; of 720p video that is 70 MB) and drops the oldest beyond it.
        """
        if latest is None:
            latest = self.kind == "video" and capacity is None
        stream: FrameStream[F] = FrameStream(1 if latest else capacity or AUDIO_CAPACITY)
        if self._ended:
            stream.end()
        else:
            self._readers.add(stream)
        return stream

    def __aiter__(self) -> FrameStream[F]:
        return self.frames()

    def end(self) -> None:
        """End the iteration and stop reading; the room does this."""
        self._pump.cancel()
        self._finish()

    async def _run(self) -> None:
        # The connection's own queue is unbounded, so somebody must always read it.
        try:
            while True:
                frame: Any = await self._track.recv()
                self._deliver(frame)
        except MediaStreamError:
            self._finish()

    def _deliver(self, frame: F) -> None:
        self.received += 1
        for reader in list(self._readers):
            reader.put(frame)

    def _finish(self) -> None:
        self._ended = True
        for reader in list(self._readers):
            reader.end()


AnyTrack = RemoteTrack[VideoFrame] | RemoteTrack[AudioFrame]
