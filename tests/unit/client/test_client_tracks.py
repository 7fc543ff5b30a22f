"""Frames of others: latest only, or a bounded queue; and the streams of events."""

from __future__ import annotations

import asyncio
import gc

import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from sfu_client import events
from sfu_client.model import Participant, Publication
from sfu_client.tracks import RemoteTrack


class Feed(MediaStreamTrack):
    """Delivers what `put` was given."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[VideoFrame | AudioFrame | None] = asyncio.Queue()

    async def recv(self) -> VideoFrame | AudioFrame:
        frame = await self.queue.get()
        self.queue.task_done()
        if frame is None:
            raise MediaStreamError
        return frame

    async def send(self, count: int) -> None:
        for number in range(count):
            frame = VideoFrame(16, 16)
            frame.pts = number
            self.queue.put_nowait(frame)
        await self.queue.join()
        await asyncio.sleep(0)


def remote(feed: Feed, kind: str = "video") -> RemoteTrack[VideoFrame]:
    publication = Publication("TR_1", "PA_1", kind, "camera")  # type: ignore[arg-type]
    return RemoteTrack(publication, Participant("PA_1"), feed)


async def test_a_slow_reader_of_video_gets_the_newest_frame_only() -> None:
    feed = Feed()
    track = remote(feed)
    frames = aiter(track)
    await feed.send(100)
    assert (await anext(frames)).pts == 99
    assert frames.dropped == 99
    assert track.received == 100
    track.end()


async def test_a_queue_keeps_the_newest_frames_in_order() -> None:
    feed = Feed()
    track = remote(feed)
    frames = track.frames(latest=False, capacity=3)
    await feed.send(10)
    assert [(await anext(frames)).pts for _ in range(3)] == [7, 8, 9]
    assert frames.dropped == 7
    track.end()


async def test_sound_is_not_reduced_to_the_latest() -> None:
    feed = Feed()
    track = remote(feed, "audio")
    frames = aiter(track)
    await feed.send(20)
    assert [(await anext(frames)).pts for _ in range(20)] == list(range(20))
    track.end()


async def test_readers_are_independent_and_forgotten_when_dropped() -> None:
    feed = Feed()
    track = remote(feed)
    first, second = track.frames(), track.frames(latest=False, capacity=5)
    await feed.send(2)
    assert (await anext(first)).pts == 1
    assert (await anext(second)).pts == 0
    del second
    gc.collect()
    assert list(track._readers) == [first]
    track.end()


async def test_the_iteration_ends_with_the_track() -> None:
    feed = Feed()
    track = remote(feed)
    frames = track.frames()
    feed.queue.put_nowait(None)
    with pytest.raises(StopAsyncIteration):
        await anext(frames)
    assert track.ended
    with pytest.raises(StopAsyncIteration):
        await anext(track.frames())


async def test_events_are_bounded_and_end() -> None:
    stream = events.EventStream(capacity=2)
    for number in range(4):
        stream.put(events.PublishFailed(str(number), "x"))
    stream.end()
    assert [event.name async for event in stream] == ["2", "3"]  # type: ignore[union-attr]
    assert stream.dropped == 2
