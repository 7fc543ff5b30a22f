"""What an upload is and may be called: its sender is believed in neither."""

from __future__ import annotations

import codecs
import re
import unicodedata

from sfu.room import names

SNIFFED_BYTES = 4096
"""The beginning of a file that decides on its type."""
MAX_NAME_BYTES = 200

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (8, b"WAVE", "audio/wav"),
)
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def sniff(beginning: bytes) -> str:
    """The media type of what begins so; `text/plain` for readable text, else `application/octet-stream`.

    HTML and SVG are text here: nothing that a browser would run keeps its type.
    """
    for at, magic, found in _MAGIC:
        if beginning[at : at + len(magic)] == magic:
            return found
    if b"\0" not in beginning:
        try:
            # The last character may be cut in two.
            codecs.getincrementaldecoder("utf-8")().decode(beginning, final=len(beginning) < SNIFFED_BYTES)
        except UnicodeDecodeError:
            pass
        else:
            return "text/plain"
    return "application/octet-stream"


def safe_name(name: str) -> str:
    """`name` without a path, control or direction characters, hidden or reserved names; never empty."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    name = "".join(c if unicodedata.category(c)[0] != "C" and c not in '<>:"|?*' else "_" for c in name)
    name = names.clean(name).strip(" .")
    while len(name.encode()) > MAX_NAME_BYTES:
        stem, dot, ending = name.rpartition(".")
        name = stem[:-1] + dot + ending if stem and len(ending) < 20 else name[:-1]
    if not names.visible(name.strip("_")) or _RESERVED.match(name):
        return f"file_{name}".strip("_") or "file"
    return name
