"""The program that decodes strangers' pictures, run as the server runs it."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image, ImageOps

from sfu.workers import thumbnail


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def made(content: bytes) -> tuple[tuple[int, int], Image.Image | None]:
    """The size that is told of a picture, and the thumbnail."""
    target = io.BytesIO()
    thumbnail.make(io.BytesIO(content), target)
    line, _, small = target.getvalue().partition(b"\n")
    width, height = map(int, line.split())
    return (width, height), Image.open(io.BytesIO(small)) if small else None


def test_a_picture_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("RGBA", (1000, 10), (1, 2, 3, 128)), "PNG")
    size, small = made(content)
    assert size == (1000, 10)
    assert small is not None
    assert (small.format, small.size) == ("JPEG", (480, 5))
    monkeypatch.setattr(thumbnail, "MAX_PIXELS", 100)
    assert made(content) == ((1000, 10), None), "too large to be decoded"


def test_a_large_photo_is_decoded_small_unless_it_is_progressive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnail, "MAX_DECODED", 2_000_000)
    for progressive in (False, True):
        size, small = made(encoded(Image.new("RGB", (2000, 1600)), "JPEG", progressive=progressive))
        assert size == (2000, 1600)
        assert (small is None) == progressive


def test_a_turned_photo_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        _, small = made(encoded(Image.new("RGB", (800, 400)), kind, exif=exif.tobytes()))
        assert small is not None
        assert small.size == (240, 480), kind


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\nnonsense",
        b"GIF89a\xff\xff",
        encoded(Image.effect_noise((300, 300), 50), "PNG")[:2000],
    ],
)
def test_what_is_no_picture_ends_without_a_thumbnail(content: bytes) -> None:
    done = subprocess.run([sys.executable, thumbnail.__file__], input=content, capture_output=True)
    assert done.returncode == 1
    assert b"\xff\xd8" not in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("raised", [TypeError, struct.error, KeyError])
def test_metadata_that_cannot_be_read_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    """What Pillow raises changes from one version to the next."""

    def fails(picture: Image.Image) -> Image.Image:
        raise raised("of the test")

    monkeypatch.setattr(ImageOps, "exif_transpose", fails)
    monkeypatch.setattr(thumbnail, "limit", lambda: None)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(encoded(Image.new("L", (8, 8)), "PNG"))))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(SystemExit) as ended:
        thumbnail.main()
    assert ended.value.code == 1


def picture_of(width: int, height: int) -> bytes:
    """A PNG of one colour, with a byte in the file for a thousand in memory."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = zlib.compress(b"\0" * (1 + width * 4) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


_MEASURE = """
import io, resource, sys
from sfu.workers import thumbnail
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
target = io.BytesIO()
thumbnail.make(open(sys.argv[1], "rb"), target)
unit = 1 if sys.platform == "darwin" else 1024
print(len(target.getvalue()), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


@pytest.mark.parametrize(
    ("width", "height", "shown", "most"),
    [(8000, 5000, False, 20_000_000), (4000, 4000, True, 200_000_000)],
)
def test_a_thumbnail_takes_little_memory(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, shown: bool, most: int
) -> None:
    """Measured in a process of its own, because what counts is the most it ever had."""
    source = tmp_path_factory.mktemp("picture") / "in"
    source.write_bytes(picture_of(width, height))
    assert source.stat().st_size < 200_000
    command = [sys.executable, "-c", _MEASURE, source]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert (int(said[0]) > 100) == shown
    assert int(said[1]) < most


def test_the_largest_picture_fits_into_the_limits() -> None:
    command = [sys.executable, thumbnail.__file__]
    done = subprocess.run(command, input=picture_of(4000, 4000), capture_output=True, check=True)
    line, _, small = done.stdout.partition(b"\n")
    assert line == b"4000 4000"
    assert small.startswith(b"\xff\xd8\xff")
