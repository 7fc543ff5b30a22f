"""`sfu camera`, `sfu view` and `sfu record` against the stand-in server: media, files and exit statuses."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest
from sfu_stand_in import StandIn

from sfu_client import Room, events
from sfu_client.commands import camera, common, record, view

DEADLINE_S = 30


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


async def command(module: ModuleType, server: StandIn, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.configure(parser)
    args = parser.parse_args([*arguments, "--server", server.url])
    async with asyncio.timeout(DEADLINE_S):
        return int(await module.run(args))


@asynccontextmanager
async def running(module: ModuleType, server: StandIn, *arguments: str) -> AsyncIterator[asyncio.Task[int]]:
    """A command beside others; cancelled at the end, which must not have come before."""
    task = asyncio.create_task(command(module, server, *arguments))
    try:
        yield task
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of 320x240 without B-frames, with a 440 Hz tone."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0", "g": "10"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("aac", rate=48_000)
        for number in range(50):
            picture = np.full((240, 320, 3), 40, np.uint8)
            picture[60:180, number * 5 : number * 5 + 60] = (40, 200, 230)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(video.encode(None))
        samples = (np.sin(np.arange(96_000) * 2 * np.pi * 440 / 48_000) * 9_000).astype(np.int16)
        for at in range(0, 95_000, 1_024):
            block = av.AudioFrame.from_ndarray(samples[None, at : at + 1_024], "s16", "mono")
            block.sample_rate, block.pts, block.time_base = 48_000, at, Fraction(1, 48_000)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return path


async def until(seen: Callable[[], bool]) -> None:
    """Files appear without notice."""
    async with asyncio.timeout(DEADLINE_S):
        while not seen():
            await asyncio.sleep(0.05)


async def look(room: Room, count: int = 5) -> av.VideoFrame:
    """The last of a few frames of the first camera."""
    track = await room.wait_for_track(kind="video")
    frames = aiter(track)
    for _ in range(count):
        frame = await anext(frames)
    return frame


async def test_a_file_with_its_sound(server: StandIn, clip: Path) -> None:
    async with (
        running(camera, server, str(clip), "--audio", str(clip), "--name", "Gate"),
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "demo") as room,
    ):
        frame = await look(room)
        assert (frame.width, frame.height) == (320, 240)
        assert frame.to_ndarray(format="bgr24").std() > 20
        sound = await room.wait_for_track(kind="audio", participant="Gate")
        async for block in sound:
            if np.abs(block.to_ndarray()).max() > 5_000:
                break


async def test_h264_is_copied(server: StandIn, clip: Path) -> None:
    async with (
        running(camera, server, str(clip), "--copy"),
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "demo") as room,
    ):
        frame = await look(room)
        assert (frame.width, frame.height) == (320, 240)
    [offer] = [item for item in server.requests if item["type"] == "offer" and item["media"]][:1]
    assert "H264" in offer["sdp"]
    assert "VP8" not in offer["sdp"]


async def test_synthetic_h264_with_timestamp_and_motion(server: StandIn) -> None:
    arguments = ["synthetic", "--size", "320x180", "--codec", "h264", "--timestamp", "--motion"]
    async with asyncio.timeout(DEADLINE_S), Room.connect(server.url, "demo") as room:
        incoming = room.events()
        async with running(camera, server, *arguments):
            frame = await look(room)
            assert (frame.width, frame.height) == (320, 180)
            async for event in incoming:
                if isinstance(event, events.DataReceived):
                    break
            assert event.topic == "motion"
            assert json.loads(event.data)["moving"] is True


async def test_sigterm_stops_a_camera_with_status_0(server: StandIn) -> None:
    task = asyncio.create_task(command(camera, server, "synthetic"))
    async with asyncio.timeout(DEADLINE_S):
        await server.wait_for("offer")
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0
    assert server.members == {}


async def test_a_duration_ends_with_status_0(server: StandIn) -> None:
    assert await command(camera, server, "synthetic", "--duration", "500ms") == 0


async def test_a_camera_comes_back_after_the_server_restarts(server: StandIn) -> None:
    arguments = ["synthetic", "--size", "160x120", "--audio", "tone"]
    async with asyncio.timeout(DEADLINE_S), running(camera, server, *arguments):
        await server.wait_for("offer")
        await server.stop()
        await server.start()
        await server.wait_for("join", 2)
        async with Room.connect(server.url, "demo") as room:
            frame = await look(room)
            assert (frame.width, frame.height) == (160, 120)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["nothing-here.mp4"], os.EX_NOINPUT),
        (["synthetic", "--copy"], os.EX_USAGE),
        (["synthetic", "--fps", "0"], os.EX_USAGE),
    ],
)
async def test_what_cannot_work_ends_at_once(server: StandIn, arguments: list[str], status: int) -> None:
    assert await command(camera, server, *arguments) == status
    assert server.requests == []


async def test_a_refused_token_ends_with_no_permission(server: StandIn) -> None:
    server.refuse["join"] = "bad_token"
    assert await command(camera, server, "synthetic") == os.EX_NOPERM


async def test_without_retry_an_absent_server_is_unavailable(server: StandIn) -> None:
    await server.stop()
    assert await command(camera, server, "synthetic", "--no-retry") == os.EX_UNAVAILABLE
    assert await command(view, server, "--raw", os.devnull) == os.EX_UNAVAILABLE


async def test_an_absent_server_is_waited_for(server: StandIn) -> None:
    await server.stop()
    async with running(camera, server, "synthetic"):
        await asyncio.sleep(0.3)
        await server.start()
        async with asyncio.timeout(DEADLINE_S):
            await server.wait_for("offer")


async def test_a_file_that_cannot_be_copied_ends_with_data_error(server: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "b.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "2", "b_strategy": "0"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for number in range(20):
            picture = np.full((120, 160, 3), number * 9, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(video.encode(None))
    assert await command(camera, server, str(path), "--copy") == os.EX_DATAERR


async def test_view_writes_snapshots_a_file_and_raw_frames(server: StandIn, tmp_path: Path) -> None:
    shots, film, raw = tmp_path / "shots", tmp_path / "film.mp4", tmp_path / "frames.bgr"
    targets = ["--snapshots", str(shots), "--every", "200ms", "--output", str(film), "--raw", str(raw)]
    async with (
        running(camera, server, "synthetic", "--size", "320x180"),
        running(view, server, *targets),
    ):
        await until(lambda: len(list(shots.glob("*.jpg"))) >= 4)
    pictures = [cv2.imread(str(path)) for path in shots.iterdir()]
    assert {picture.shape for picture in pictures if picture is not None} == {(180, 320, 3)}
    with av.open(str(film)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) > 8
    assert times == sorted(set(times))
    assert raw.stat().st_size % (320 * 180 * 3) == 0
    assert raw.stat().st_size > 0


async def test_view_says_what_to_do_without_a_display(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(view, "has_display", lambda: False)
    assert await command(view, server) == os.EX_USAGE
    assert "--snapshots" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
async def test_a_recording_plays_with_picture_and_sound(
    server: StandIn, tmp_path: Path, clip: Path, suffix: str
) -> None:
    async with (
        running(camera, server, str(clip), "--audio", str(clip), "--name", "The Gate"),
        running(record, server, "--output", str(tmp_path), "--format", suffix),
    ):
        await until(lambda: any(tmp_path.iterdir()))
        await asyncio.sleep(1.5)  # what is recorded
    [path] = tmp_path.iterdir()  # noqa: ASYNC240
    assert path.name.endswith(f"The_Gate-camera.{suffix}")
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    with av.open(str(path)) as container:
        sound = list(container.decode(audio=0))
    assert {(frame.width, frame.height) for frame in pictures} == {(320, 240)}
    assert pictures[-1].time - pictures[0].time > 0.5
    assert max(float(np.abs(block.to_ndarray()).max()) for block in sound) > 0.1
    assert abs(sound[-1].time - pictures[-1].time) < 1
    gaps = np.diff([frame.time for frame in pictures])
    assert gaps.min() > 0
    assert gaps.max() < 1


@pytest.mark.parametrize("text", ["1280", "0x0", "1281x720", "axb", "99999x99999"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        common.size(text)


@pytest.mark.parametrize(("text", "bps"), [("1500k", 1_500_000), ("1.5M", 1_500_000), ("64000", 64_000)])
def test_bitrates(text: str, bps: int) -> None:
    assert common.bitrate(text) == bps


@pytest.mark.parametrize("text", ["fast", "10", "-1k", ""])
def test_bitrates_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        common.bitrate(text)


def test_durations() -> None:
    assert [common.seconds(text) for text in ("2", "0.5s", "500ms")] == [2, 0.5, 0.5]


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFU_TOKEN", "secret")
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    camera.configure(parser)
    assert "secret" not in parser.format_help()
    assert common.token(parser.parse_args([])) == "secret"
    assert common.token(parser.parse_args(["--token", "other"])) == "other"
