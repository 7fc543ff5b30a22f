"""`sfu record`: write what is sent in a room to files, as one of its participants."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import logging
import os
import re
import time
import weakref
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from sfu_client import events
from sfu_client.commands import common
from sfu_client.commands.choosing import is_from
from sfu_client.errors import ClosedError, RefusedError, UnavailableError
from sfu_client.model import Participant
from sfu_client.recording import FORMATS, Recording, Size
from sfu_client.room import Room
from sfu_client.tracks import AnyTrack

NAME = "record"
HELP = "record a room's pictures and sound to files, one for each participant and source"

logger = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""How long the first track of a participant waits for its companion (sound for a picture, or the reverse)."""
QUEUE_FRAMES = 100
SHOW_S = 0.5
GROUPS = {"camera": "camera", "microphone": "camera", "screen": "screen", "screen_audio": "screen"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    common.add_connection(parser, "Recorder")
    parser.add_argument("--output", metavar="DIR", type=Path, default=Path("recordings"), help="folder")
    parser.add_argument("--format", choices=tuple(FORMATS), default="mkv", help="kind of file")
    parser.add_argument("--participant", metavar="NAME", help="only this one: name, identity or id")


async def run(args: argparse.Namespace) -> int:
    """Record until asked to stop. Returns an exit status of sysexits.h."""
    common.start_logging(args.verbose)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        common.say(f"sfu record: {error}")
        return os.EX_CANTCREAT
    return await common.until_stopped(_record(args), args.duration)


class _Take:
    """The tracks of one file, which begins when all expected kinds have sent or patience ends."""

    def __init__(self, path: Path, expected: set[str]) -> None:
        self.path = path
        self.recording: Recording | None = None
        self.active = 0
        self._expected = expected
        self._began_s = time.monotonic()
        self._waiting: list[tuple[Any, float]] = []
        self._sizes: dict[str, Size] = {}
        self.kinds: set[str] = set()
        self.taken: set[str] = set()

    def accepts(self, kind: str) -> bool:
        """Whether a track of `kind` may still go into this file."""
        return kind not in self.taken and (self.recording is None or kind in self.kinds)

    def put(self, kind: str, frame: Any, size: Size) -> None:
        arrival_s = time.monotonic() - self._began_s
        if self.recording is not None:
            self.recording.put(frame, arrival_s)
            return
        self.kinds.add(kind)
        self._waiting.append((frame, arrival_s))
        if kind == "video":
            self._sizes.setdefault(kind, size)
        if self.kinds >= self._expected or arrival_s > PATIENCE_S:
            self._begin()

    def close(self) -> None:
        """Finish the file; blocks."""
        if self.recording is None and self._waiting:
            self._begin()
        if self.recording is not None:
            self.recording.close()

    def _begin(self) -> None:
        self.recording = Recording(self.path, size=self._sizes.get("video"), sound="audio" in self.kinds)
        logger.info("writing %s", self.path)
        for frame, arrival_s in self._waiting:
            self.recording.put(frame, arrival_s)
        self._waiting.clear()


class _Recorder:
    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix
        self._open: dict[tuple[str, str], list[_Take]] = {}
        self._pumps: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._finished_files = 0
        self._finished_bytes = 0
        self._known: weakref.WeakSet[AnyTrack] = weakref.WeakSet()

    def add(self, track: AnyTrack) -> None:
        """Record a track from now until it ends; once, however often it is named."""
        if track in self._known:
            return
        self._known.add(track)
        pump = asyncio.create_task(self._pump(track), name=f"record-{track.publication.id}")
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def close(self) -> None:
        """End every file properly."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for key, take in [(key, take) for key, waiting in self._open.items() for take in waiting]:
            self._finish(key, take)
        await asyncio.gather(*self._finishing)

    def summary(self) -> tuple[int, int]:
        """Files and bytes so far."""
        open_now = [take for takes in self._open.values() for take in takes]
        running = [take.recording.size_bytes() for take in open_now if take.recording is not None]
        return self._finished_files + len(running), self._finished_bytes + sum(running)

    async def _pump(self, track: AnyTrack) -> None:
        frames = track.frames(latest=False, capacity=QUEUE_FRAMES)
        key = (track.participant.id, GROUPS.get(track.source, track.publication.id))
        take = None
        async for frame in frames:
            size = _size_of(track, frame)
            if take is None:
                take = self._take_for(key, track)
                take.taken.add(track.kind)
                take.active += 1
            take.put(track.kind, frame, size)
        if take is not None:
            take.active -= 1
            if take.active == 0:
                self._finish(key, take)

    def _finish(self, key: tuple[str, str], take: _Take) -> None:
        """Take a file out of those that grow; what is left to write is written in the background."""
        takes = self._open[key]
        takes.remove(take)
        if not takes:
            del self._open[key]
        finishing = asyncio.create_task(self._write_end(take))
        self._finishing.add(finishing)
        finishing.add_done_callback(self._finishing.discard)

    async def _write_end(self, take: _Take) -> None:
        await asyncio.to_thread(take.close)
        if take.recording is not None:
            self._finished_files += 1
            self._finished_bytes += take.recording.size_bytes()
            logger.info("finished %s", take.path)

    def _take_for(self, key: tuple[str, str], track: AnyTrack) -> _Take:
        """The file that waits for this track's companion, or a new one."""
        takes = self._open.setdefault(key, [])
        for take in takes:
            if take.accepts(track.kind):
                return take
        path = self._path(track.participant, GROUPS.get(track.source, track.source))
        expected = {
            item.kind
            for item in track.participant.publications.values()
            if GROUPS.get(item.source, item.id) == key[1] and not item.muted
        }
        takes.append(_Take(path, expected | {track.kind}))
        return takes[-1]

    def _path(self, owner: Participant, group: str) -> Path:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^\w.-]+", "_", owner.name).strip("._")[:60] or owner.id
        used = {take.path for takes in self._open.values() for take in takes}
        for number in range(1, 1_000_000):
            extra = f"-{number}" if number > 1 else ""
            path = self._folder / f"{stamp}-{name}-{group}{extra}.{self._suffix}"
            if path not in used and not path.exists():
                return path
        raise FileExistsError(self._folder)


def _size_of(track: AnyTrack, frame: Any) -> Size:
    """The picture size of the file: the publication's largest, for the first layer may be a small one."""
    if track.kind != "video":
        return (0, 0)
    width, height = track.publication.width, track.publication.height
    if not width or not height or abs(width / height - frame.width / frame.height) > 0.05:
        width, height = frame.width, frame.height
    return (width & ~1, height & ~1)


async def _record(args: argparse.Namespace) -> int:
    recorder = _Recorder(args.output, args.format)
    try:
        async with Room.connect(
            args.server,
            args.room,
            name=args.name,
            token=common.token(args),
            insecure=args.insecure,
            relay=args.relay,
        ) as room:
            logger.info("recording room %s into %s", room.name, args.output)
            showing = asyncio.ensure_future(_show(recorder))
            try:
                if not await _follow(room, recorder, args.participant):
                    common.say("sfu record: the right to record was withdrawn")
                    return os.EX_NOPERM
            finally:
                showing.cancel()
                await asyncio.gather(showing, return_exceptions=True)
            return common.closed_status(room.closed or ClosedError("left", ""))
    finally:
        # Cancelled or not, the files must be finished.
        await asyncio.shield(recorder.close())
        files, size = recorder.summary()
        common.say(f"{files} files, {size / 1e6:.1f} MB in {args.output}")


async def _follow(room: Room, recorder: _Recorder, only: str | None) -> bool:
    """Record until the room closes; false where the right to was withdrawn."""
    incoming = room.events()

    async def begin() -> None:
        await _declare(room, incoming)
        for track in room.tracks.values():
            if is_from(track.participant, only):
                recorder.add(track)

    await begin()
    async for event in incoming:
        match event:
            case events.TrackSubscribed() if is_from(event.participant, only):
                recorder.add(event.track)
            case events.Connected(resumed=False):
                await begin()
            case events.RecordingChanged(participant_id, False) if participant_id == room.me.id:
                return False
    return True


async def _declare(room: Room, incoming: events.EventStream) -> None:
    """Tell everybody that the room is recorded: nothing is before that. Waits for the right to."""
    told = False
    while True:
        try:
            await room.set_recording(True)
            return
        except UnavailableError:
            pass
        except RefusedError as error:
            if error.code != "not_allowed":
                raise
            if not told:
                common.say("sfu record: waits until an owner allows it to record (in the list of people)")
            told = True
        async for event in incoming:
            if isinstance(event, events.Connected) or (
                isinstance(event, events.ParticipantUpdated) and event.participant.id == room.me.id
            ):
                break
        else:
            return


async def _show(recorder: _Recorder) -> None:
    """A line that tells how far the recording is, where somebody sees it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    began_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(Live(console=console, auto_refresh=False, transient=True))
        while True:
            files, size = recorder.summary()
            passed = datetime.timedelta(seconds=int(time.monotonic() - began_s))
            live.update(f"[red]●[/] {passed}  {files} files  {size / 1e6:.1f} MB", refresh=True)
            await asyncio.sleep(SHOW_S)
