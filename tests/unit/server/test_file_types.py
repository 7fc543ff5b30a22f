from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.server.file_types import MAX_NAME_BYTES, SNIFFED_BYTES, safe_name, sniff


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
