"""Thumbnails of strangers' pictures, each made in a process of its own, which is killed when it takes long.

A small file may cost a decoder minutes, or all memory; neither may cost the server more than its limits, and
one person's pictures must not keep others' waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import weakref
from collections import OrderedDict
from pathlib import Path

from sfu import clock
from sfu.workers import thumbnail

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Processes: one person's slow picture leaves place for another's."""
MAX_S = 15.0
"""Time of one picture; its processor time is limited by the process itself."""
WAIT_S = 30.0
"""How long a picture waits for its turn before it gets no thumbnail."""
MAX_BYTES = 1_048_576
"""What the process may say: thumbnails have some ten thousand bytes."""
DISTRUST_US = 600_000_000
"""For how long who sent a picture that had to be given up gets no thumbnails."""
MAX_DISTRUSTED = 1000
"""Owners remembered; the one of longest ago is forgotten first."""

Size = tuple[int, int]

_COMMAND = (sys.executable, "-P", "-B", thumbnail.__file__)


class Thumbnails:
    """`made`, `killed` and `skipped` are counted."""

    def __init__(self) -> None:
        self.made = self.killed = self.skipped = 0
        self._places = asyncio.Semaphore(AT_ONCE)
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._distrusted: OrderedDict[str, int] = OrderedDict()
        self._running: set[asyncio.subprocess.Process] = set()
        self._closed = False

    async def make(self, owner: str, source: Path, target: Path) -> Size | None:
        """Write a small JPEG of the picture in `source`; its size in pixels, None where it is not known.

        One of each `owner` at a time. Where it is no picture, too large, or takes too long, there is no JPEG.
        """
        turn = self._turns.setdefault(owner, asyncio.Lock())
        try:
            async with asyncio.timeout(WAIT_S) as waiting, turn, self._places:
                if self._closed or self._is_distrusted(owner):
                    self.skipped += 1
                    return None
                waiting.reschedule(None)
                size, small, whole = await self._decode(source)
        except TimeoutError:
            self.skipped += 1
            return None
        if not whole and not self._closed:
            self._distrust(owner)
        if small:
            self.made += await asyncio.to_thread(_written, target, small)
        return size

    def close(self) -> None:
        """Kill what runs: what waits gets no thumbnail."""
        self._closed = True
        for process in self._running:
            _kill(process)

    def counts(self) -> dict[str, int]:
        return {"made": self.made, "killed": self.killed, "skipped": self.skipped}

    async def _decode(self, source: Path) -> tuple[Size | None, bytes, bool]:
        """Size, JPEG, and whether the process ended by itself."""
        try:
            with source.open("rb") as file:
                process = await asyncio.create_subprocess_exec(
                    *_COMMAND,
                    stdin=file,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={name: value for name, value in os.environ.items() if not name.startswith("SFU_")},
                    start_new_session=True,
                )
        except OSError as error:
            log.warning("no process for a thumbnail: %s", error.strerror)
            return None, b"", True
        self._running.add(process)
        if self._closed:
            _kill(process)
        said = bytearray()
        try:
            async with asyncio.timeout(MAX_S):
                await _read(process, said)
                # Closing its output is not yet ending.
                await process.wait()
        except TimeoutError:
            pass
        finally:
            _kill(process)
            self._running.discard(process)
        status = await process.wait()
        # A signal ended it: the kernel's for its limits, ours, or that of a decoder which has crashed.
        whole = status >= 0
        if not whole:
            self.killed += 1
            log.info("a picture took too much to decode: no thumbnail")
        size, small = _parse(bytes(said))
        return size, small if status == 0 else b"", whole

    def _is_distrusted(self, owner: str) -> bool:
        since_us = self._distrusted.get(owner)
        return since_us is not None and clock.now_us() - since_us < DISTRUST_US

    def _distrust(self, owner: str) -> None:
        self._distrusted.pop(owner, None)
        self._distrusted[owner] = clock.now_us()
        if len(self._distrusted) > MAX_DISTRUSTED:
            self._distrusted.popitem(last=False)


async def _read(process: asyncio.subprocess.Process, said: bytearray) -> None:
    assert process.stdout is not None
    while part := await process.stdout.read(65_536):
        said += part
        if len(said) > MAX_BYTES:
            _kill(process)
            return


def _written(target: Path, small: bytes) -> bool:
    """Whether there was place for it: a picture without a thumbnail is better than none."""
    try:
        target.write_bytes(small)
    except OSError as error:
        log.warning("a thumbnail could not be written: %s", error.strerror)
        target.unlink(missing_ok=True)
        return False
    return True


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _parse(said: bytes) -> tuple[Size | None, bytes]:
    """What a process said, which is not to be trusted either: its decoder may be somebody else's by now."""
    line, _, small = said.partition(b"\n")
    width, _, height = line.partition(b" ")
    if not (width.isdigit() and height.isdigit() and len(line) < 20):
        return None, b""
    return (int(width), int(height)), small if small.startswith(b"\xff\xd8\xff") else b""
