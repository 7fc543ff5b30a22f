"""Frames as a client reads them that keeps one inflating context for a whole connection."""

from __future__ import annotations

import json
import struct
import zlib

import pytest

from sfu.server.frames import MIN_DEFLATED, SMALL, Frame


def read(data: bytes) -> list[str]:
    """The text messages in `data`. Spec: RFC 6455 section 5.2, RFC 7692 section 7.2.2."""
    context = zlib.decompressobj(wbits=-15)
    found = []
    while data:
        first, length, start = data[0], data[1], 2
        assert first & 0xBF == 0x81, "the whole of a text message"
        if length == 126:
            length, start = struct.unpack_from("!H", data, 2)[0], 4
        elif length == 127:
            length, start = struct.unpack_from("!Q", data, 2)[0], 10
        payload, data = data[start : start + length], data[start + length :]
        if first & 0x40:
            payload = context.decompress(payload + b"\x00\x00\xff\xff")
        found.append(payload.decode())
    return found


SIZES = (0, 1, 125, 126, MIN_DEFLATED - 1, MIN_DEFLATED, SMALL, SMALL + 1, 65_535, 65_536, 300_000)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_receiver_with_a_context_reads_frames_that_need_none(deflate: bool) -> None:
    texts = [json.dumps({"text": "häufig " * (size // 8)})[:size] for size in SIZES]
    frames = [Frame(text) for text in texts]
    for _ in range(2):
        data = b"".join(frame.wire(deflate=deflate) for frame in frames)
        assert read(data) == texts


def test_what_is_made_is_made_once_and_small_frames_stay_as_they_are() -> None:
    large, small = Frame("hello " * 100), Frame("hello")
    assert large.wire(deflate=True) is large.wire(deflate=True)
    assert len(large.wire(deflate=True)) < 60 < 600 < len(large.wire(deflate=False))
    assert small.wire(deflate=True) is small.wire(deflate=False)
