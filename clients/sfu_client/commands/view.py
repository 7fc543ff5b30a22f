"""`sfu view`: watch a room in a window, or as snapshots, a file or raw frames."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO, Protocol

from av import VideoFrame

from sfu_client.commands import common, window_process
from sfu_client.commands.choosing import video_tracks
from sfu_client.errors import ClientError, ClosedError
from sfu_client.recording import FORMATS, Recording
from sfu_client.room import Room

NAME = "view"
HELP = "watch a room's picture in a window, or write snapshots, a file or raw frames"

logger = logging.getLogger(__name__)

AGAIN_S = 0.5
STATS_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    common.add_connection(parser, "Viewer")
    parser.add_argument("--participant", metavar="NAME", help="whose picture: name, identity or id")
    parser.add_argument("--source", choices=("camera", "screen", "other"), help="which of their pictures")
    parser.add_argument("--snapshots", metavar="DIR", type=Path, help="write JPEG files into this folder")
    parser.add_argument(
        "--every", metavar="SECONDS", type=common.seconds, default=1.0, help="time between snapshots"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write a .mp4, .mkv or .webm file")
    parser.add_argument(
        "--stats", action="store_true", help="say every two seconds what arrives, and why not more"
    )
    parser.add_argument("--raw", metavar="FILE", help="write raw BGR frames to this file, '-' for stdout")


async def run(args: argparse.Namespace) -> int:
    """Watch until asked to stop. Returns an exit status of sysexits.h."""
    common.start_logging(args.verbose)
    if args.output is not None and args.output.suffix[1:] not in FORMATS:
        common.say(f"sfu view: --output must end with .{', .'.join(FORMATS)}")
        return os.EX_USAGE
    try:
        sinks = _open_sinks(args)
    except OSError as error:
        common.say(f"sfu view: {error}")
        return os.EX_CANTCREAT
    if not sinks:
        common.say("sfu view: there is no display here: give --snapshots DIR, --output FILE.mp4 or --raw -")
        return os.EX_USAGE
    return await common.until_stopped(_watch(args, sinks), args.duration)


class Sink(Protocol):
    """Where pictures go. Both methods may block; they run in a thread."""

    def write(self, frame: VideoFrame) -> bool:
        """Take a picture; False when no more are wanted."""

    def close(self) -> None:
        """Finish; never raises."""


class Snapshots:
    """A JPEG file every so many seconds; a file appears under its name when it is whole."""

    def __init__(self, folder: Path, every_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._every_s = every_s
        self._due_s = 0.0

    def write(self, frame: VideoFrame) -> bool:
        if time.monotonic() < self._due_s:
            return True
        self._due_s = max(self._due_s, time.monotonic() - self._every_s) + self._every_s
        import cv2

        good, data = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"))
        if good:
            name = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3] + ".jpg"
            part = self._folder / (name + ".part")
            part.write_bytes(data.tobytes())
            part.rename(self._folder / name)
        return True

    def close(self) -> None:
        """Nothing is open."""


class RawFrames:
    """BGR bytes, frame after frame; the first frame's size is told on standard error and then kept."""

    def __init__(self, target: str) -> None:
        self._stream: BinaryIO = sys.stdout.buffer if target == "-" else open(target, "wb")  # noqa: SIM115
        self._size: tuple[int, int] | None = None

    def write(self, frame: VideoFrame) -> bool:
        if self._size is None:
            self._size = (frame.width, frame.height)
            common.say(f"raw frames: {frame.width}x{frame.height} bgr24")
        scaled = frame.reformat(width=self._size[0], height=self._size[1], format="bgr24")
        try:
            self._stream.write(scaled.to_ndarray().tobytes())
            self._stream.flush()
        except BrokenPipeError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()


class File:
    """One video file; the first picture's size is kept."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._recording: Recording | None = None
        self._began_s = 0.0

    def write(self, frame: VideoFrame) -> bool:
        if self._recording is None:
            self._began_s = time.monotonic()
            size = (frame.width & ~1, frame.height & ~1)
            self._recording = Recording(self._path, size=size, sound=False)
        self._recording.put(frame, time.monotonic() - self._began_s)
        return self._recording.error is None

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()


class Window:
    """A window of another process: OpenCV's may hang in one that has loaded PyAV."""

    def __init__(self, title: str) -> None:
        script = str(Path(window_process.__file__))
        self._process = subprocess.Popen([sys.executable, script, title], stdin=subprocess.PIPE)

    def write(self, frame: VideoFrame) -> bool:
        assert self._process.stdin is not None
        picture = frame.to_ndarray(format="bgr24")
        try:
            self._process.stdin.write(window_process.HEADER.pack(frame.width, frame.height))
            self._process.stdin.write(picture.tobytes())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            status = self._process.wait()
            if status == window_process.NO_OPENCV:
                common.say(f"sfu view: a window {common.NEEDS_OPENCV}")
            if status == window_process.NO_WINDOWS:
                common.say(
                    "sfu view: this OpenCV has no windows; replace opencv-python-headless by opencv-python,"
                    " or give --snapshots, --output or --raw"
                )
            return False
        return True

    def close(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._process.kill()
        self._process.wait()


def has_display() -> bool:
    """Whether a window could be opened here."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _open_sinks(args: argparse.Namespace) -> list[Sink]:
    sinks: list[Sink] = []
    if args.snapshots is not None:
        sinks.append(Snapshots(args.snapshots, args.every))
    if args.output is not None:
        sinks.append(File(args.output))
    if args.raw is not None:
        sinks.append(RawFrames(args.raw))
    if not sinks and has_display():
        sinks.append(Window(f"{args.room} - sfu view"))
    return sinks


async def _watch(args: argparse.Namespace, sinks: list[Sink]) -> int:
    try:
        async with Room.connect(
            args.server,
            args.room,
            name=args.name,
            token=common.token(args),
            insecure=args.insecure,
            relay=args.relay,
            auto_subscribe=False,
        ) as room:
            logger.info("in room %s, waiting for a picture", room.name)
            telling = asyncio.create_task(_tell_stats(room)) if args.stats else None
            try:
                return await _show(room, args, sinks)
            finally:
                if telling is not None:
                    telling.cancel()
                    await asyncio.gather(telling, return_exceptions=True)
    finally:
        for sink in sinks:
            await asyncio.shield(asyncio.to_thread(sink.close))


async def _show(room: Room, args: argparse.Namespace, sinks: list[Sink]) -> int:
    """One picture after another until the room is closed, or a sink wants no more."""
    while room.closed is None:
        try:
            async for track in video_tracks(room, args.participant, args.source):
                logger.info("watching %s (%s)", track.participant.name, track.source)
                async for frame in track:
                    if not await asyncio.to_thread(_write, sinks, frame):
                        return 0
                logger.info("%s has ended", track.participant.name)
        except ClientError as error:
            logger.info("%s", error)
            await asyncio.sleep(AGAIN_S)
    return common.closed_status(room.closed or ClosedError("left", ""))


async def _tell_stats(room: Room) -> None:
    while room.closed is None:
        try:
            for quality in await room.stats():
                common.say(str(quality))
        except ClientError as error:
            logger.debug("no statistics: %s", error)
        await asyncio.sleep(STATS_S)


def _write(sinks: list[Sink], frame: VideoFrame) -> bool:
    wanted = [sink.write(frame) for sink in sinks]
    return all(wanted)
