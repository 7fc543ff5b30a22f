from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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
        (b"<html><script>alert(1)</script>", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>", "text/plain"),
        ("数学".encode(), "text/plain"),
        (b"\x7fELF\0\0", "application/octet-stream"),
        (b"\xff\xfe\xfd", "application/octet-stream"),
        (("a" + "é" * SNIFFED_BYTES).encode()[:SNIFFED_BYTES], "text/plain"),
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
