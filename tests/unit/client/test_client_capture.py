"""Capture: pacing, reopening, pictures' stages, files, folders and pass-through."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sfu_client.backoff import Backoff
from sfu_client.capture import overlay
from sfu_client.capture.audio import AudioCapture
from sfu_client.capture.base import CaptureError, Grab, Grabber, Pacer, UnusableSourceError, Worker
from sfu_client.capture.files import MediaGrabber
from sfu_client.capture.folder import FolderGrabber
from sfu_client.capture.passthrough import PassthroughTrack
from sfu_client.capture.synthetic import SyntheticGrabber, ToneSource
from sfu_client.capture.video import VideoCapture, opener
from sfu_client.urls import without_password

DEADLINE_S = 15


class Time:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.waited: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waited.append(round(seconds, 6))
        self.now_s += seconds

    def clock(self) -> float:
        return self.now_s


def write_clip(
    path: Path, *, seconds: float = 1, bframes: int = 0, sound: bool = False, codec: str = "libx264"
) -> Path:
    """A 160x120 clip at 25 pictures a second whose brightness rises."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        if codec == "libx264":
            video.options = {"bf": str(bframes), "g": "10", "b_strategy": "0"}
        audio = container.add_stream("aac", rate=48_000) if sound else None
        for number in range(int(seconds * 25)):
            level = 30 + number * 5 % 200
            picture = np.full((120, 160, 3), level, np.uint8)
            picture[40:80, number * 4 % 120 : number * 4 % 120 + 30] = 255 - level
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            samples = (np.sin(np.arange(int(seconds * 48_000)) * 0.0576) * 9_000).astype(np.int16)
            for at in range(0, len(samples) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(samples[None, at : at + 1024], "s16", "mono")
                block.sample_rate, block.pts, block.time_base = 48_000, at, Fraction(1, 48_000)
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


# --- pacing and reopening


def test_recordings_are_shown_at_their_own_pace() -> None:
    time = Time()
    pacer = Pacer(30, time.clock, time.wait)
    assert [pacer.admit(number / 10) for number in range(4)] == [True] * 4
    assert time.waited == [0.1, 0.1, 0.1]


def test_a_late_reader_goes_on_from_now() -> None:
    time = Time()
    pacer = Pacer(30, time.clock, time.wait)
    pacer.admit(0.0)
    time.now_s += 30  # the process was stopped
    assert pacer.admit(0.1)
    assert pacer.admit(0.2)
    assert time.waited == [0.1]


def test_live_sources_are_thinned_to_the_wished_rate() -> None:
    time = Time()
    pacer = Pacer(10, time.clock, time.wait)
    admitted = 0
    for _ in range(60):  # two seconds at 30 a second
        admitted += pacer.admit(None)
        time.now_s += 1 / 30
    assert admitted == 20
    assert time.waited == []


class Flaky:
    """A device that gives `good` pictures and is unplugged; `opened` counts."""

    opened = 0

    def __init__(self, good: int) -> None:
        type(self).opened += 1
        self._left = good
        self.closed = False

    def read(self) -> Grab:
        if self._left == 0:
            raise CaptureError("unplugged")
        self._left -= 1
        return Grab(np.full((48, 64, 3), 90, np.uint8), None)

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def capturing(open_source: Callable[[], Grabber]) -> AsyncIterator[VideoCapture]:
    backoff = Backoff(first_s=0.001, longest_s=0.01)
    capture = VideoCapture("test", open_source, fps=1000, backoff=backoff)
    capture.start()
    try:
        yield capture
    finally:
        await capture.close()


async def test_an_unplugged_camera_is_opened_again() -> None:
    devices: list[Flaky] = []

    def plug() -> Flaky:
        if len(devices) == 1:
            devices.append(Flaky(0))
            raise CaptureError("not there")
        devices.append(Flaky(1))
        return devices[-1]

    async with asyncio.timeout(DEADLINE_S), capturing(plug) as capture:
        for _ in range(3):
            frame = await capture.track.recv()
            assert (frame.width, frame.height) == (64, 48)
        assert capture.opened >= 3
    assert all(device.closed for number, device in enumerate(devices) if number != 1)
    assert not any(thread.name == "capture-test" for thread in threading.enumerate())


async def test_a_source_that_will_never_do_is_given_up() -> None:
    told: list[UnusableSourceError] = []

    def attempt() -> None:
        raise UnusableSourceError("it is a spreadsheet")

    worker = Worker("x", attempt, on_failure=told.append)
    worker.start()
    await worker.close()
    assert worker.attempts == 1
    assert str(told[0]) == "it is a spreadsheet"


async def test_a_bug_in_a_source_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    attempts = threading.Semaphore(0)

    def attempt() -> None:
        attempts.release()
        raise ZeroDivisionError

    worker = Worker("x", attempt, backoff=Backoff(first_s=0.001, longest_s=0.001))
    worker.start()
    for _ in range(3):
        assert await asyncio.to_thread(attempts.acquire, timeout=5)
    await worker.close()
    assert "capture failed" in caplog.text


# --- sources


def test_a_folder_is_shown_in_order_and_again(tmp_path: Path) -> None:
    for number in (2, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((24, 32, 3), number * 50, np.uint8))
    (tmp_path / "0.png").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("nor this")
    grabber = FolderGrabber(tmp_path, 2)
    grabs = [grabber.read() for _ in range(4)]
    assert [int(np.asarray(grab.picture).max()) for grab in grabs] == [50, 100, 50, 100]
    assert [grab.due_s for grab in grabs] == [0, 0.5, 1, 1.5]


def test_an_empty_folder_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no pictures"):
        FolderGrabber(tmp_path, 2).read()


def test_a_file_loops_without_a_seam_in_time(tmp_path: Path) -> None:
    grabber = MediaGrabber(str(write_clip(tmp_path / "clip.mp4", bframes=2)))
    dues = [grabber.read().due_s for _ in range(60)]
    grabber.close()
    assert np.allclose(np.diff(dues), 0.04, atol=0.002)  # type: ignore[arg-type]


def test_what_is_no_media_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n" * 50)
    with pytest.raises(UnusableSourceError):
        MediaGrabber(str(path))


def test_an_unreachable_url_is_tried_again() -> None:
    with pytest.raises(CaptureError):
        MediaGrabber("http://127.0.0.1:9/stream")


def test_a_mistyped_file_is_told_at_once() -> None:
    with pytest.raises(UnusableSourceError, match="no such file"):
        opener("clip.mp5", None, 30)


def test_passwords_are_not_logged() -> None:
    assert without_password("rtsp://admin:secret@cam/1?x=@") == "rtsp://cam/1?x=***"
    assert without_password("http://cam:80/v?user=admin&pwd=secret") == "http://cam:80/v?user=***&pwd=***"
    for unescaped in ("sec/ret", "sec?ret", "sec#ret"):
        assert without_password(f"rtsp://admin:{unescaped}@cam/1") == "rtsp://cam/1"
    assert without_password("rtsp://cam:554/1@2") == "rtsp://cam:554/1@2"
    assert without_password("/data/a@b.mp4") == "/data/a@b.mp4"


def test_the_test_picture_moves_and_tells_the_time() -> None:
    now = datetime.datetime(2024, 5, 6, 7, 8, 9)
    grabber = SyntheticGrabber((320, 180), 25, now=lambda: now)
    first, second = (np.asarray(grabber.read().picture) for _ in range(2))
    assert first.shape == (180, 320, 3)
    changed = np.any(first != second, axis=2).mean()
    assert 0.001 < changed < 0.2


async def test_the_tone_is_quiet_and_has_no_click() -> None:
    tone = ToneSource()
    loop = np.concatenate((tone._loop_samples, tone._loop_samples)).astype(int)
    assert 500 < np.abs(loop).max() < 2_000
    assert np.abs(np.diff(loop)).max() < 120


async def test_a_files_sound_is_looped(tmp_path: Path) -> None:
    capture = AudioCapture(str(write_clip(tmp_path / "clip.mp4", seconds=0.4, sound=True)))
    capture.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            loud = 0
            for _ in range(60):
                frame = await capture.track.recv()
                loud += np.abs(frame.to_ndarray()).max() > 5_000
        assert loud > 45
    finally:
        await capture.close()


# --- stages


def test_fit_keeps_the_shape_of_the_picture() -> None:
    wide = np.full((90, 320, 3), 200, np.uint8)
    fitted = overlay.fit((320, 180))(wide)
    assert fitted.shape == (180, 320, 3)
    assert fitted[90, 160].tolist() == [200, 200, 200]
    assert fitted[10, 160].tolist() == [0, 0, 0]
    assert overlay.fit((320, 90))(wide) is wide


def test_the_timestamp_is_drawn_in_the_corner() -> None:
    stage = overlay.timestamp(now=lambda: datetime.datetime(2024, 1, 2, 3, 4, 5))
    drawn = stage(np.full((180, 320, 3), 128, np.uint8))
    assert drawn[150:, :160].std() > 5
    assert drawn[:100].std() == 0


def test_motion_is_boxed_and_told_at_its_start_and_end() -> None:
    told: list[overlay.Motion] = []
    mark = overlay.MotionMark(told.append)
    still = np.full((180, 320, 3), 60, np.uint8)
    for _ in range(5):
        mark(still.copy())
    assert told == []
    moved = still.copy()
    moved[60:120, 100:160] = 220
    marked = mark(moved.copy())
    assert told[0].moving
    left, top, width, height = told[0].box or (0, 0, 0, 0)
    assert abs(left - 100) < 12
    assert abs(top - 60) < 12
    assert abs(left + width - 160) < 12
    assert abs(top + height - 120) < 12
    assert (marked != moved).any()
    for _ in range(60):
        mark(still.copy())
    assert [motion.moving for motion in told] == [True, False]


def test_noise_is_no_motion() -> None:
    told: list[overlay.Motion] = []
    mark = overlay.MotionMark(told.append)
    rng = np.random.default_rng(1)
    for _ in range(30):
        mark(np.clip(rng.normal(90, 8, (180, 320, 3)), 0, 255).astype(np.uint8))
    assert told == []


# --- pass-through


async def test_h264_passes_through_and_loops_with_growing_time(tmp_path: Path) -> None:
    track = PassthroughTrack(str(write_clip(tmp_path / "clip.mp4", seconds=0.4)))
    track.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            packets = [await track.recv() for _ in range(25)]
    finally:
        await track.close()
    assert packets[0].is_keyframe
    assert bytes(packets[0]).startswith((b"\0\0\0\1", b"\0\0\1"))
    times = [packet.pts for packet in packets]
    assert np.all(np.diff(times) == 3_600)  # type: ignore[arg-type]
    decoder = av.CodecContext.create("h264", "r")
    pictures = [frame for packet in packets for frame in decoder.decode(packet)]
    assert {(frame.width, frame.height) for frame in pictures} == {(160, 120)}
    assert len(pictures) >= 20


@pytest.mark.parametrize(
    ("clip", "message"),
    [({"bframes": 2}, "B-frames"), ({"codec": "mpeg4"}, "is mpeg4, and --copy takes H264")],
)
async def test_what_cannot_be_copied_is_refused(
    tmp_path: Path, clip: dict[str, object], message: str
) -> None:
    failed: list[UnusableSourceError] = []
    path = write_clip(tmp_path / "clip.mp4", **clip)  # type: ignore[arg-type]
    track = PassthroughTrack(str(path), on_failure=failed.append)
    track.start()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.to_thread(track._worker._thread.join)
    await track.close()
    assert message in str(failed[0])


async def test_a_sender_that_is_away_costs_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu_client.capture.passthrough.CAPACITY", 4)
    track = PassthroughTrack(str(write_clip(tmp_path / "clip.mp4", seconds=1.2)))
    track.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            first = await track.recv()
            while track._last_pts < first.pts + 20 * 3_600:
                await asyncio.sleep(0.02)
            assert len(track._packets) <= 4
            assert (await track.recv()).is_keyframe
    finally:
        await track.close()
