from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sfu.server import file_types
from sfu.server.file_types import MAX_NAME_BYTES, SNIFFED_BYTES, make_thumbnail, safe_name, sniff


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF1234WEBPVP8 ", "image/webp"),
        (b"RIFF1234WAVEfmt ", "audio/wav"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "image/heif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1", "image/avif"),
        (b"<html><script>alert(1)</script>", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>", "text/plain"),
        ("数学".encode(), "text/plain"),
        (b"\x7fELF\0\0", "application/octet-stream"),
        (b"\xff\xfe\xfd", "application/octet-stream"),
        (("a" + "é" * SNIFFED_BYTES).encode()[:SNIFFED_BYTES], "text/plain"),
        (("课堂笔记" * SNIFFED_BYTES).encode()[:SNIFFED_BYTES], "text/plain"),
        (("é课" * SNIFFED_BYTES).encode()[:SNIFFED_BYTES], "text/plain"),
        (("😀" * 9 + "é" * SNIFFED_BYTES).encode()[:SNIFFED_BYTES], "text/plain"),
        ("课".encode()[:2], "application/octet-stream"),
    ],
)
def test_types_are_told_by_content(beginning: bytes, expected: str) -> None:
    assert sniff(beginning) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\a.txt", "a.txt"),
        (".bashrc", "bashrc"),
        ("a\u202egnp.exe", "a_gnp.exe"),
        ("line\nbreak\0.txt", "line_break_.txt"),
        ("作业 1.docx", "作业 1.docx"),
        ("CON", "file_CON"),
        ("nul.txt", "file_nul.txt"),
        ("...", "file"),
        ("", "file"),
        ('a<b>"c|d?.txt', "a_b__c_d_.txt"),
    ],
)
def test_names_are_made_safe(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@given(st.text(max_size=300))
def test_every_name_becomes_a_file_name(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= MAX_NAME_BYTES + len("file_")
    assert not set(safe) & set('/\\\0\n<>:"|?*')
    assert not safe.startswith(".")


def test_a_long_name_keeps_its_ending() -> None:
    assert safe_name("长" * 200 + ".tar.gz").endswith(".gz")


def test_thumbnails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "in", tmp_path / "out.jpg"
    Image.new("RGBA", (1000, 10), (1, 2, 3, 128)).save(source, "PNG")
    assert make_thumbnail(source, target) == (1000, 10)
    with Image.open(target) as small:
        assert small.size == (480, 5)
    target.unlink()
    monkeypatch.setattr(file_types, "MAX_PIXELS", 100)
    assert make_thumbnail(source, target) == (1000, 10)
    assert not target.exists(), "too large to be decoded"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nnonsense", b"GIF89a\xff\xff"])
def test_what_is_no_picture_has_no_thumbnail(tmp_path: Path, content: bytes) -> None:
    source, target = tmp_path / "in", tmp_path / "out.jpg"
    source.write_bytes(content)
    assert make_thumbnail(source, target) is None
    assert not target.exists()


def test_a_cut_picture_has_no_thumbnail(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.effect_noise((300, 300), 50).save(out, "PNG")
    source = tmp_path / "in"
    source.write_bytes(out.getvalue()[:2000])
    assert make_thumbnail(source, tmp_path / "out.jpg") is None


def picture_of(width: int, height: int) -> bytes:
    """A PNG of one colour, with a byte in the file for a thousand in memory."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = zlib.compress(b"\0" * (1 + width * 4) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


_MEASURE = """
import resource, sys
from pathlib import Path
from sfu.server.file_types import make_thumbnail
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = make_thumbnail(Path(sys.argv[1]), Path(sys.argv[2]))
unit = 1 if sys.platform == "darwin" else 1024
print(*size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""


@pytest.mark.parametrize(
    ("width", "height", "shown", "most"),
    [(8000, 5000, False, 20_000_000), (4000, 4000, True, 200_000_000)],
)
def test_a_thumbnail_takes_little_memory(
    tmp_path: Path, width: int, height: int, shown: bool, most: int
) -> None:
    """Measured in a process of its own, because what counts is the most it ever had."""
    source, target = tmp_path / "in", tmp_path / "out.jpg"
    source.write_bytes(picture_of(width, height))
    assert source.stat().st_size < 200_000
    command = [sys.executable, "-c", _MEASURE, source, target]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert [int(each) for each in said[:2]] == [width, height]
    assert int(said[2]) < most
    assert target.exists() == shown


def test_a_large_photo_is_decoded_small_unless_it_is_progressive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_types, "MAX_DECODED", 2_000_000)
    source, target = tmp_path / "in", tmp_path / "out.jpg"
    for progressive in (False, True):
        Image.new("RGB", (2000, 1600)).save(source, "JPEG", progressive=progressive)
        assert make_thumbnail(source, target) == (2000, 1600)
        assert target.exists() == (not progressive)
        target.unlink(missing_ok=True)


def test_a_turned_photo_is_turned_back(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out.jpg"
    exif = Image.Exif()
    exif[0x112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        Image.new("RGB", (800, 400)).save(source, kind, exif=exif.tobytes())
        make_thumbnail(source, target)
        with Image.open(target) as small:
            assert small.size == (240, 480), kind


@pytest.mark.parametrize("raised", [TypeError, struct.error, KeyError])
def test_metadata_that_cannot_be_read_means_no_thumbnail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    """What Pillow raises changes from one version to the next."""

    def fails(picture: Image.Image) -> Image.Image:
        raise raised("of the test")

    monkeypatch.setattr(ImageOps, "exif_transpose", fails)
    source, target = tmp_path / "in", tmp_path / "out.jpg"
    Image.new("RGB", (8, 8)).save(source, "PNG")
    assert make_thumbnail(source, target) is None
    assert not target.exists()
