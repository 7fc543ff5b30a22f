"""Thumbnails are made in processes with limits: what a hostile picture costs, and whom it holds up."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import sys
from pathlib import Path

import pytest
from PIL import Image

from sfu.server import thumbnails
from sfu.server.thumbnails import Thumbnails
from sfu.workers import thumbnail


def scan_bomb(side: int = 4000, scans: int = 30_000) -> bytes:
    """A small progressive JPEG of many empty scans: each costs the decoder a pass over all blocks."""
    out = io.BytesIO()
    Image.new("L", (side, side), 128).save(out, "JPEG", progressive=True, quality=10)
    data = out.getvalue()
    # An AC table whose one symbol ends 16384 to 32767 blocks, coded as one bit.
    table = b"\xff\xc4" + struct.pack(">H", 2 + 1 + 16 + 1) + b"\x10" + bytes([1] + [0] * 15) + b"\xe0"
    bits = "011111111111111" * -(-((side // 8) ** 2) // 32767)
    bits += "1" * (-len(bits) % 8)
    coded = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x01\x00" + coded
    end = data.rindex(b"\xff\xd9")
    return data[:end] + table + scan * scans + b"\xff\xd9"


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    path = tmp_path / "bomb"
    path.write_bytes(scan_bomb())
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo"
    Image.new("RGB", (900, 600)).save(path, "PNG")
    return path


class Hanging:
    """Stands in for the program: it waits until the test lets it go, and tells how many run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "running"
        self.folder.mkdir()
        self.go = folder / "go"
        program = folder / "hanging.py"
        program.write_text(
            "import os, sys, time\n"
            f"here = os.path.join({str(self.folder)!r}, str(os.getpid()))\n"
            "open(here, 'w').close()\n"
            f"while not os.path.exists({str(self.go)!r}): time.sleep(0.01)\n"
            "sys.stdout.write('3 4\\n')\n"
        )
        monkeypatch.setattr(thumbnails, "_COMMAND", (sys.executable, str(program)))

    async def running(self, count: int) -> list[int]:
        async with asyncio.timeout(30):
            while len(os.listdir(self.folder)) < count:
                await asyncio.sleep(0.01)
        return [int(name) for name in os.listdir(self.folder)]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_picture_is_made_small(photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.jpg"
    made = Thumbnails()
    assert await made.make("ann", photo, target) == (900, 600)
    with Image.open(target) as small:
        assert small.size == (480, 320)
    assert made.counts() == {"made": 1, "killed": 0, "skipped": 0}


async def test_what_is_no_picture_has_no_thumbnail(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "small.jpg"
    source.write_bytes(b"GIF89a nonsense")
    made = Thumbnails()
    assert await made.make("ann", source, target) is None
    assert not target.exists()
    assert made.counts() == {"made": 0, "killed": 0, "skipped": 0}


@pytest.fixture
def impatient(tmp_path: Path) -> Path:
    """The program with less processor time."""
    path = tmp_path / "impatient.py"
    path.write_text(Path(thumbnail.__file__).read_text().replace("CPU_S = 5", "CPU_S = 1"))
    return path


async def test_a_picture_that_takes_too_long_is_killed_and_its_size_known(
    bomb: Path, photo: Path, impatient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the limit on its processor time: the program's own, so that it holds without the server, too."""
    monkeypatch.setattr(thumbnails, "_COMMAND", (sys.executable, str(impatient)))
    monkeypatch.setattr(thumbnails, "MAX_S", 300.0)
    target = tmp_path / "small.jpg"
    made = Thumbnails()
    assert await made.make("eve", bomb, target) == (4000, 4000)
    assert not target.exists()
    assert made.counts() == {"made": 0, "killed": 1, "skipped": 0}
    # One is enough: who sent it has no more thumbnails for a while, and everybody else has.
    assert await made.make("eve", photo, target) is None
    assert made.counts() == {"made": 0, "killed": 1, "skipped": 1}
    assert await made.make("ann", photo, target) == (900, 600)


async def test_a_picture_that_only_waits_is_killed_by_the_clock(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(tmp_path, monkeypatch)
    monkeypatch.setattr(thumbnails, "MAX_S", 0.5)
    made = Thumbnails()
    assert await made.make("eve", photo, tmp_path / "small.jpg") is None
    assert made.killed == 1
    assert not any(map(alive, [int(name) for name in os.listdir(hanging.folder)]))


async def test_several_are_made_at_once_but_one_of_each_owner(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(tmp_path, monkeypatch)
    made = Thumbnails()
    mine = [asyncio.create_task(made.make("eve", photo, tmp_path / f"{n}.jpg")) for n in range(4)]
    await hanging.running(1)
    other = asyncio.create_task(made.make("ann", photo, tmp_path / "ann.jpg"))
    # Four of hers wait, and yet there is place for another's.
    assert len(await hanging.running(2)) == 2
    hanging.go.touch()
    assert await asyncio.gather(*mine, other) == [(3, 4)] * 5


async def test_closing_kills_what_runs_and_what_waits_is_skipped(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(tmp_path, monkeypatch)
    made = Thumbnails()
    owners = ("ann", "ben", "cat")
    waiting = [asyncio.create_task(made.make(each, photo, tmp_path / f"{each}.jpg")) for each in owners]
    running = await hanging.running(thumbnails.AT_ONCE)
    made.close()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 30) == [None] * 3
    assert not any(map(alive, running))


async def test_what_waits_too_long_has_no_thumbnail(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(tmp_path, monkeypatch)
    made = Thumbnails()
    first = asyncio.create_task(made.make("eve", photo, tmp_path / "1.jpg"))
    await hanging.running(1)
    monkeypatch.setattr(thumbnails, "WAIT_S", 0.01)
    assert await made.make("eve", photo, tmp_path / "2.jpg") is None
    assert made.skipped == 1
    hanging.go.touch()
    assert await first == (3, 4)


async def test_the_process_has_no_secrets_and_a_bounded_say(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "talks.py"
    program.write_text(
        "import os\nprint('1 1')\nprint(os.environ.get('SFU_AUTH__KEYS'))\nwhile 1: print('x' * 9999)\n"
    )
    monkeypatch.setenv("SFU_AUTH__KEYS", "app:secret")
    monkeypatch.setattr(thumbnails, "_COMMAND", (sys.executable, str(program)))
    made = Thumbnails()
    target = tmp_path / "small.jpg"
    _, small, whole = await made._decode(photo)
    assert (small, whole) == (b"", False)
    program.write_text("import os\nprint(9, 9)\nassert 'SFU_AUTH__KEYS' not in os.environ\n")
    assert (await made._decode(photo))[2:] == (True,)
    assert await made.make("ann", photo, target) == (9, 9)


@pytest.mark.parametrize("said", [b"", b"3\n", b"-1 2\n", b"a b\n", b"1" * 30 + b" 1\n", b"1 1"])
def test_what_the_process_says_is_checked(said: bytes) -> None:
    size, small = thumbnails._parse(said)
    assert size in {None, (1, 1)}
    assert small == b""
