"""Pushed pictures and sound: what is sent, when, and what is dropped."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from av import Packet

from sfu_client import sources
from sfu_client.publish import LocalPublication, _Outlet
from sfu_client.sources import AudioSource, VideoSource


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def picture(level: int, width: int = 32, height: int = 24) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def brightness(frame: object) -> float:
    return float(frame.to_ndarray(format="bgr24").mean())  # type: ignore[attr-defined]


async def test_the_newest_picture_wins_and_keeps_its_time() -> None:
    clock = Clock()
    source = VideoSource(32, 24, 10, clock=clock)
    source.push(picture(10))
    first = await source.recv()
    assert first.pts == 0
    for level in (50, 100, 200):
        clock.now_s += 0.5
        source.push(picture(level))
    frame = await source.recv()
    assert brightness(frame) == pytest.approx(200, abs=3)
    assert frame.pts == 1.5 * 90_000
    assert (source.pushed, source.sent) == (4, 2)


async def test_times_grow_even_when_the_clock_does_not() -> None:
    clock = Clock()
    source = VideoSource(fps=1000, clock=clock)
    times = []
    for level in range(3):
        source.push(picture(level))
        clock.now_s += 0.002 if level == 1 else 0
        times.append((await source.recv()).pts)
    assert times == sorted(set(times))


async def test_pictures_pushed_too_fast_replace_each_other() -> None:
    source = VideoSource(fps=20)
    source.push(picture(1))
    await source.recv()
    began = asyncio.get_running_loop().time()
    source.push(picture(2))
    await source.recv()
    assert asyncio.get_running_loop().time() - began >= 0.035


async def test_the_last_picture_is_repeated_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "REPEAT_S", 0.01)
    source = VideoSource(fps=1000)
    source.push(picture(77))
    first, again = await source.recv(), await source.recv()
    assert brightness(again) == pytest.approx(77, abs=3)
    assert first is again
    assert source.pushed == 1


async def test_push_works_from_another_thread() -> None:
    source = VideoSource()
    waiting = asyncio.create_task(source.recv())
    await asyncio.sleep(0)
    thread = threading.Thread(target=source.push, args=(picture(5),))
    thread.start()
    async with asyncio.timeout(5):
        frame = await waiting
    thread.join()
    assert (frame.width, frame.height) == (32, 24)


async def test_odd_sizes_lose_a_row() -> None:
    source = VideoSource()
    source.push(picture(5, 33, 25))
    frame = await source.recv()
    assert (frame.width, frame.height) == (32, 24)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((24, 32), np.uint8), np.zeros((24, 32, 3), np.float32), np.zeros((48, 32, 3), np.uint8)],
)
async def test_wrong_pictures_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        VideoSource(32, 24).push(wrong)


async def test_a_stopped_source_ends_its_reader() -> None:
    source = VideoSource()
    waiting = asyncio.create_task(source.recv())
    await asyncio.sleep(0)
    source.stop()
    with pytest.raises(MediaStreamError):
        async with asyncio.timeout(5):
            await waiting


async def test_sound_comes_in_blocks_of_20_ms_and_silence_fills_gaps() -> None:
    clock = Clock()
    source = AudioSource(8_000, 1, clock=clock)
    source.push(np.full(400, 1000, np.int16))
    blocks = []
    for _ in range(4):
        blocks.append(await source.recv())
        clock.now_s += 0.02
    assert [block.pts for block in blocks] == [0, 160, 320, 480]
    assert [int(np.abs(block.to_ndarray()).max()) for block in blocks] == [1000, 1000, 0, 0]
    assert all(block.samples == 160 and block.sample_rate == 8_000 for block in blocks)


async def test_after_running_dry_sound_waits_for_two_blocks() -> None:
    clock = Clock()
    source = AudioSource(8_000, 1, clock=clock)
    await source.recv()
    source.push(np.full(160, 1000, np.int16))
    clock.now_s += 0.02
    assert np.abs((await source.recv()).to_ndarray()).max() == 0
    source.push(np.full(160, 1000, np.int16))
    clock.now_s += 0.02
    assert np.abs((await source.recv()).to_ndarray()).max() == 1000


async def test_waiting_sound_is_bounded() -> None:
    source = AudioSource(8_000, 2, buffer_s=0.5)
    for _ in range(10):
        source.push(np.full((800, 2), 0.5))
    assert source.buffered_s == 0.5
    assert source.dropped == 4_000


async def test_a_long_stop_of_the_process_makes_no_burst() -> None:
    clock = Clock()
    source = AudioSource(8_000, 1, clock=clock)
    await source.recv()
    clock.now_s += 60
    await source.recv()
    # On time again: the next block would have to wait for its moment.
    waiting = asyncio.create_task(source.recv())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


@pytest.mark.parametrize("block", [np.zeros(10, np.int32), np.zeros((10, 3), np.int16)])
async def test_wrong_sound_is_refused(block: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        AudioSource(48_000, 2).push(block)


class Packets(sources.MediaStreamTrack):
    """Encoded pictures, of which every fourth is a keyframe."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    async def recv(self) -> Packet:
        packet = Packet(b"x")
        packet.pts, packet.time_base = self.number, sources.VIDEO_TIME_BASE
        packet.is_keyframe = self.number % 4 == 0
        self.number += 1
        await asyncio.sleep(0)
        return packet


async def test_after_muting_encoded_pictures_go_on_at_a_keyframe() -> None:
    publication = LocalPublication(Packets(), "camera", "", "h264", 1)
    outlet = _Outlet(publication)
    assert [(await outlet.recv()).pts for _ in range(2)] == [0, 1]
    publication.muted = True
    waiting = asyncio.create_task(outlet.recv())
    for _ in range(3):
        await asyncio.sleep(0)
    publication.muted = False
    assert (await waiting).pts % 4 == 0


async def test_stopping_an_outlet_leaves_the_track_alive() -> None:
    track = Packets()
    outlet = _Outlet(LocalPublication(track, "camera", "", "h264", 1))
    outlet.stop()
    with pytest.raises(MediaStreamError):
        await outlet.recv()
    assert track.readyState == "live"
