"""RED taken apart and renumbered."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.rtp.red import primary, renumber


def header(payload_type: int, offset: int, size: int) -> bytes:
    return (1 << 31 | payload_type << 24 | offset << 10 | size).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x6fnew", (111, b"new")),
        (header(111, 960, 3) + b"\x6foldnew", (111, b"new")),
        (header(111, 1920, 300) + header(13, 960, 2) + b"\x6f" + bytes(300) + b"cnnew", (111, b"new")),
        (b"\x6f", (111, b"")),
    ],
)
def test_the_new_block_is_the_last(payload: bytes, expected: tuple[int, bytes]) -> None:
    assert primary(payload) == expected


def test_every_block_gets_its_new_payload_type_and_nothing_else_changes() -> None:
    payload = header(111, 960, 3) + header(13, 5, 1) + b"\x6foldcnew"
    assert renumber(payload, {111: 100, 63: 5}) == header(100, 960, 3) + header(13, 5, 1) + b"\x64oldcnew"


@pytest.mark.parametrize(
    "payload", [b"", b"\x80", header(111, 0, 0), header(111, 0, 4) + b"\x6fold", header(1, 0, 1)[:3] + b""]
)
def test_what_does_not_fit_is_refused(payload: bytes) -> None:
    for function in (lambda: primary(payload), lambda: renumber(payload, {})):
        with pytest.raises(ParseError) as caught:
            function()
        assert caught.value.reason == "red-truncated"


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_parse_or_are_refused(payload: bytes) -> None:
    with contextlib.suppress(ParseError):
        assert payload.endswith(primary(payload)[1])
        assert renumber(renumber(payload, {}), {}) == payload
