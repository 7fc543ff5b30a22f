"""Browsers, cameras and Python programs in one room: decoded pictures and sound, not only states."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
from browser import Pages, until
from server_process import ROOT, ServerProcess, command, environ

from sfu_client import Room


@contextlib.asynccontextmanager
async def client(*arguments: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `sfu` client command, stopped by SIGTERM at the end; it must end with status 0."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command(*arguments), stdout=out, stderr=out, env=environ(), cwd=ROOT
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(process.wait(), 20)
    assert status == 0, log.read_text()


def make_clip(path: Path, seconds: float = 4, codec: str = "libx264") -> Path:
    """A 320x240 clip with a moving bar and a 440 Hz tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options={"bf": "0", "g": "25", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = container.add_stream("aac", rate=48000)
        for number in range(int(seconds * 25)):
            picture = np.full((240, 320, 3), 40, np.uint8)
            left = number * 8 % 280
            picture[:, left : left + 40] = (30, 200, 240)
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            for packet in video.encode(frame):
                container.mux(packet)
        samples = (np.sin(np.arange(int(seconds * 48000)) * 2 * np.pi * 440 / 48000) * 8000).astype(np.int16)
        for at in range(0, len(samples) - 1023, 1024):
            block = av.AudioFrame.from_ndarray(samples[None, at : at + 1024], "s16", "mono")
            block.sample_rate, block.pts = 48000, at
            for packet in audio.encode(block):
                container.mux(packet)
        for stream in (video, audio):
            for packet in stream.encode(None):
                container.mux(packet)
    return path


async def test_camera_file_reaches_a_browser_with_sound(
    pages: Pages, server: ServerProcess, room: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    viewer = await pages.new()
    await viewer.join(server.url, room, "Viewer")
    camera = ["camera", str(clip), "--server", server.url, "--room", room, "--name", "Gate"]
    async with client(*camera, "--audio", str(clip), folder=tmp_path):
        look = await viewer.sees("Gate")
        assert (look["width"], look["height"]) == (320, 240)
        assert await viewer.hears() > 0
        await pages.screenshot(viewer, "camera")
    await viewer.tile("Gate").wait_for(state="detached")


async def test_camera_copies_h264_without_encoding(
    pages: Pages, server: ServerProcess, room: str, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    viewer = await pages.new()
    await viewer.join(server.url, room, "Viewer")
    camera = ["camera", str(clip), "--copy", "--server", server.url, "--room", room, "--name", "Gate"]
    async with client(*camera, folder=tmp_path):
        look = await viewer.sees("Gate")
        assert (look["width"], look["height"]) == (320, 240)
        assert {r["mimeType"] for r in await viewer.inbound("video")} == {"video/H264"}


async def test_browser_is_recorded_by_a_python_client(
    pages: Pages, server: ServerProcess, room: str, tmp_path: Path
) -> None:
    speaker, witness = await pages.new(), await pages.new()
    await speaker.join(server.url, room, "Speaker")
    await witness.join(server.url, room, "Witness")
    await witness.sees("Speaker")
    out = tmp_path / "recording"
    record = ["record", "--server", server.url, "--room", room, "--output", str(out), "--duration", "15"]
    async with client(*record, folder=tmp_path) as process:
        await speaker.page.keyboard.press("p")
        recorder = speaker.find("person").filter(has_text="Recorder")
        await recorder.get_by_test_id("person-more").click()
        assert await witness.find("recording-mark").is_hidden()
        await speaker.find("record-allow").click()
        await witness.find("recording-mark").wait_for()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    files = sorted(path for path in out.rglob("*") if path.is_file())
    pictures, loudest = 0, 0.0
    for path in files:
        with av.open(str(path)) as container:
            for frame in container.decode():
                if isinstance(frame, av.VideoFrame):
                    pictures += 1
                    assert frame.width >= 160
                else:
                    loudest = max(loudest, float(np.abs(frame.to_ndarray().astype(np.float64)).max()))
    assert pictures > 50, (files, pictures)
    assert loudest > 0


async def test_view_writes_snapshots_of_a_browser(
    pages: Pages, server: ServerProcess, room: str, tmp_path: Path
) -> None:
    speaker = await pages.new()
    await speaker.join(server.url, room, "Speaker")
    shots = tmp_path / "shots"
    view = ["view", "--server", server.url, "--room", room, "--snapshots", str(shots), "--every", "0.5"]
    async with client(*view, folder=tmp_path):

        async def three() -> bool:
            return shots.exists() and len(list(shots.iterdir())) >= 3

        await until(three, "three snapshots", 30)
    sizes = {path.stat().st_size > 1000 for path in shots.iterdir()}
    assert sizes == {True}


async def test_a_python_viewer_gets_and_keeps_the_largest_picture(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    """aiortc reports what it receives and little more: on a wide path that must not hold it down."""
    speaker = await pages.new()
    await speaker.join(server.url, room, "Speaker")
    in_a_row = 0
    async with Room.connect(server.url, room, name="Viewer") as viewer, asyncio.timeout(60):
        track = await viewer.wait_for_track(kind="video")
        async for frame in track.frames():
            in_a_row = in_a_row + 1 if frame.width == 1280 else 0
            if in_a_row == 100:
                break
    assert in_a_row == 100


async def test_counts_are_for_everybody_without_keys(pages: Pages, server: ServerProcess, room: str) -> None:
    alice = await pages.new()
    await alice.join(server.url, room, "Alice")
    answer = await alice.page.request.get(server.url + "/api/v1/stats")
    counts = await answer.json()
    assert counts["participants"] > 0
    assert room not in json.dumps(counts)
