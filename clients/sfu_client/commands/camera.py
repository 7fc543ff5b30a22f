"""`sfu camera`: put a camera, a file or a stream into a room, for weeks."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
from collections.abc import Callable
from typing import Any

from sfu_client import events
from sfu_client.capture import machine
from sfu_client.capture.base import UnusableSourceError
from sfu_client.commands import common
from sfu_client.errors import ClientError, ClosedError, RefusedError, UnavailableError
from sfu_client.publish import LocalPublication
from sfu_client.room import Room

NAME = "camera"
HELP = "publish a camera, a file, a network stream or a test picture"

logger = logging.getLogger(__name__)

MOTION_TOPIC = "motion"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="device number, /dev/video path, file, folder of pictures, RTSP or HTTP URL, or 'synthetic'; "
        "without it SFU_SOURCE in the environment, the safer place for a URL with a password, else 0",
    )
    common.add_connection(parser, "Camera")
    parser.add_argument(
        "--size", type=common.size, metavar="WxH", help="picture size; without it the source's own"
    )
    parser.add_argument("--fps", type=float, default=30.0, help="most pictures a second")
    parser.add_argument("--bitrate", type=common.bitrate, default="1500k", help="most bits a second of video")
    parser.add_argument("--codec", choices=("vp8", "h264"), default="vp8", help="video codec")
    parser.add_argument(
        "--copy", action="store_true", help="pass H264 of a file or network camera through, not re-encoded"
    )
    parser.add_argument(
        "--simulcast", action="store_true", help="send a second, smaller encoding for small or slow viewers"
    )
    parser.add_argument(
        "--audio",
        metavar="default|tone|none|FILE",
        help="sound: the default microphone, a test tone, none, or a file or URL; without it SFU_AUDIO in "
        "the environment, else none",
    )
    parser.add_argument("--timestamp", action="store_true", help="write date and time into the picture")
    parser.add_argument(
        "--motion", action="store_true", help="box what moves, and send data on the topic 'motion'"
    )
    parser.add_argument(
        "--telemetry",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="send this machine's load, memory and temperature every so many seconds; 0 sends none",
    )
    parser.add_argument(
        "--no-retry", action="store_true", help="end with status 69 when the server is not there"
    )
    parser.add_argument(
        "--with-stdin",
        action="store_true",
        help="stop when standard input (a pipe) ends: with the program that started it, however that ends",
    )


async def run(args: argparse.Namespace) -> int:
    """Publish until asked to stop. Returns an exit status of sysexits.h (docs/camera.md lists them)."""
    common.start_logging(args.verbose)
    args.source = args.source or os.environ.get("SFU_SOURCE") or "0"
    args.audio = args.audio or os.environ.get("SFU_AUDIO") or "none"
    if args.fps <= 0 or args.fps > 120:
        common.say("sfu camera: --fps must be between 0 and 120")
        return os.EX_USAGE
    if args.telemetry and not 0.1 <= args.telemetry <= 3600:
        common.say("sfu camera: --telemetry must be between 0.1 and 3600 seconds")
        return os.EX_USAGE
    if args.copy and (args.timestamp or args.motion or args.size or args.source == "synthetic"):
        common.say("sfu camera: --copy changes no picture: leave out --size, --timestamp and --motion")
        return os.EX_USAGE
    if args.copy and args.simulcast:
        common.say("sfu camera: --copy encodes nothing, so there is one encoding only: leave out --simulcast")
        return os.EX_USAGE
    try:
        camera = _Camera(args)
    except UnusableSourceError as error:
        common.say(f"sfu camera: {error}")
        return os.EX_NOINPUT
    return await common.until_stopped(camera.run(), args.duration, with_stdin=args.with_stdin)


class _Camera:
    """The captures of one command, and their time in the room."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._loop = asyncio.get_running_loop()
        self._unusable: asyncio.Future[UnusableSourceError] = self._loop.create_future()
        self._room: Room | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._captures: list[Any] = []
        self.video: Any = self._open_video()
        self.audio: Any = self._open_audio()

    async def run(self) -> int:
        args = self._args
        for capture in self._captures:
            capture.start()
        try:
            async with Room.connect(
                args.server,
                args.room,
                name=args.name,
                token=common.token(args),
                insecure=args.insecure,
                relay=args.relay,
                auto_subscribe=False,
                role="device",
                keep_trying=not args.no_retry,
            ) as room:
                self._room = room
                return await self._stay(room)
        finally:
            self._room = None
            await asyncio.gather(*(capture.close() for capture in self._captures))

    async def _stay(self, room: Room) -> int:
        incoming = room.events()
        publishing = asyncio.ensure_future(self._publish(room))
        watching = asyncio.ensure_future(self._watch(incoming))
        measuring = asyncio.ensure_future(self._measure(room))
        waited: set[asyncio.Future[Any]] = {publishing, watching, measuring, self._unusable}
        try:
            while True:
                done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if self._unusable in done:
                    common.say(f"sfu camera: {self._unusable.result()}")
                    return os.EX_DATAERR
                for task in done:
                    if task.exception() is not None:
                        raise task.exception() or RuntimeError
                if watching in done:
                    return common.closed_status(room.closed or ClosedError("left", ""))
                waited -= done
        finally:
            for task in (publishing, watching, measuring):
                task.cancel()
            await asyncio.gather(publishing, watching, measuring, return_exceptions=True)

    async def _publish(self, room: Room) -> None:
        args = self._args
        jobs = [
            room.publish(
                self.video,
                codec="h264" if args.copy else args.codec,
                bitrate_bps=args.bitrate,
                simulcast=args.simulcast,
            )
        ]
        if self.audio is not None:
            jobs.append(room.publish(self.audio))
        published: list[LocalPublication] = await asyncio.gather(*jobs)
        logger.info("publishing %s in room %s", " and ".join(item.kind for item in published), room.name)
        print(f"Watch: {common.watch_link(args.server, args.room)}", flush=True)

    async def _measure(self, room: Room) -> None:
        """Send what this machine measures of itself, and what could not be sent is left out."""
        if not self._args.telemetry:
            return
        declared = False
        while True:
            try:
                if not declared:
                    await room.telemetry.declare(*machine.series())
                    declared = True
                await room.telemetry.send(machine.measure())
            except RefusedError as error:
                # Not declared: this is a new participant, of whom nothing is known.
                declared = False
                if error.code != "not_found":
                    logger.error("the server does not take telemetry: %s", error)
                    return
            except ClientError as error:
                logger.debug("telemetry is not sent: %s", error)
            await asyncio.sleep(self._args.telemetry)

    async def _watch(self, incoming: events.EventStream) -> None:
        """Log the connection's life; ends when the room is closed for good."""
        async for event in incoming:
            match event:
                case events.Connected(resumed):
                    logger.info("back in the room%s", "" if resumed else ", published again")
                case events.Disconnected(reason):
                    if self._args.no_retry:
                        raise UnavailableError(f"connection lost: {reason}")
                    logger.info("away from the room: %s", reason)
                case events.PublishFailed(name, code):
                    logger.error("the server does not take %s any more: %s", name, code)
                case events.Closed(code, message):
                    logger.error("the room is closed: %s %s", code, message)

    def _open_video(self) -> Any:
        args = self._args
        if args.copy:
            from sfu_client.capture.passthrough import PassthroughTrack

            track = PassthroughTrack(args.source, on_failure=self._give_up)
            self._captures.append(track)
            return track
        from sfu_client.capture import overlay, video

        stages: list[overlay.Stage] = []
        if args.size is not None:
            stages.append(overlay.fit(args.size))
        if args.motion:
            stages.append(overlay.MotionMark(self._motion_changed))
        if args.timestamp:
            stages.append(overlay.timestamp())
        capture = video.VideoCapture(
            args.source,
            video.opener(args.source, args.size, args.fps),
            fps=args.fps,
            stages=stages,
            on_failure=self._give_up,
        )
        self._captures.append(capture)
        return capture.track

    def _open_audio(self) -> Any:
        args = self._args
        if args.audio == "none":
            return None
        if args.audio == "tone":
            from sfu_client.capture.synthetic import ToneSource

            return ToneSource()
        from sfu_client.capture.audio import AudioCapture

        capture = AudioCapture(args.audio, on_failure=self._give_up)
        self._captures.append(capture)
        return capture.track

    def _give_up(self, error: UnusableSourceError) -> None:
        """From a capture thread: this source will never do."""

        def note() -> None:
            if not self._unusable.done():
                self._unusable.set_result(error)

        _from_thread(self._loop, note)

    def _motion_changed(self, motion: Any) -> None:
        """From the capture thread: tell the room."""
        text = json.dumps({"moving": motion.moving, "area": round(motion.area, 4), "box": motion.box})

        def note() -> None:
            logger.info("motion %s", "begins" if motion.moving else "ends")
            task = asyncio.ensure_future(self._tell(text))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

        _from_thread(self._loop, note)

    async def _tell(self, text: str) -> None:
        if self._room is None or not self._room.connected:
            return
        try:
            await self._room.send(text, topic=MOTION_TOPIC)
        except ClientError as error:
            logger.debug("motion is not told: %s", error)


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
