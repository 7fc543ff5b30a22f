from __future__ import annotations

from pathlib import Path

import pytest

from sfu.errors import ParseError
from sfu.sdp import model
from sfu.sdp.model import Attribute, MediaDescription, SessionDescription

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.sdp"))
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.stem)
def test_real_offers_survive_a_round_trip(fixture: Path) -> None:
    text = fixture.read_bytes().decode()
    parsed = model.parse(text)
    assert model.parse(model.format(parsed)) == parsed
    assert len(parsed.media) == text.count("\nm=")
    assert sum(len(media.attributes) for media in parsed.media) + len(parsed.attributes) == text.count("\na=")


def test_reads_what_stands_on_the_lines() -> None:
    text = (
        HEAD + "a=group:BUNDLE 0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nb=AS:64\r\na=mid:0\r\n"
    )
    assert model.parse(text) == SessionDescription(
        session_id=1,
        session_version=2,
        attributes=(Attribute("group", "BUNDLE 0"), Attribute("ice-lite")),
        media=(
            MediaDescription(
                kind="audio",
                port=9,
                protocol="UDP/TLS/RTP/SAVPF",
                formats=("111", "0"),
                attributes=(Attribute("mid", "0"),),
            ),
        ),
    )


def test_line_feeds_alone_and_missing_last_line_end_are_read() -> None:
    text = HEAD + "a=x-unknown:whatever 1 2 3\r\nm=text 0 RTP/AVP 98\r\n"
    expected = model.parse(text)
    assert model.parse(text.replace("\r\n", "\n")) == expected
    assert model.parse(text.rstrip()) == expected


def test_format_ends_every_line_with_crlf() -> None:
    text = model.format(model.parse(HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 111\n"))
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "sdp-version"),
        ("v=1\r\n", "sdp-version"),
        ("garbage", "sdp-version"),
        ("v=0\r\n", "sdp-origin"),
        ("v=0\r\no=- x 2 IN IP4 127.0.0.1\r\n", "sdp-origin"),
        ("v=0\r\no=- 1\r\n", "sdp-origin"),
        ("v=0\r\no=- 1 999999999999999999999 IN IP4 0.0.0.0\r\n", "sdp-origin"),
        (HEAD + "what is this\r\n", "sdp-line"),
        (HEAD + "\r\n\r\n a=x\r\n", "sdp-line"),
        (HEAD + "a=\r\n", "sdp-attribute"),
        (HEAD + "a=na me:1\r\n", "sdp-attribute"),
        (HEAD + "m=audio\r\n", "sdp-media-line"),
        (HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF\r\n", "sdp-media-line"),
        (HEAD + "m=audio 65536 UDP/TLS/RTP/SAVPF 0\r\n", "sdp-media-line"),
        (HEAD + "m=audio -1 UDP/TLS/RTP/SAVPF 0\r\n", "sdp-media-line"),
        (HEAD + "m=audio ９ UDP/TLS/RTP/SAVPF 0\r\n", "sdp-media-line"),
        (HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 201, "sdp-too-many-media"),
        (HEAD + "a=x:" + "y" * model.MAX_CHARACTERS, "sdp-too-long"),
    ],
)
def test_garbage_is_refused_with_a_constant_reason(text: str, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        model.parse(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("character", ["\r", "\x00", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_nothing_that_some_parser_takes_for_a_line_end_gets_in(character: str) -> None:
    with pytest.raises(ParseError) as caught:
        model.parse(HEAD + f"a=fmtp:96 a=b{character}a=candidate:evil\r\n")
    assert caught.value.reason == "sdp-line"


@pytest.mark.parametrize(
    ("text", "maximum", "number"),
    [
        ("0", 1, 0), ("255", 255, 255), ("256", 255, None), ("", 9, None), ("-1", 9, None), ("+1", 9, None),
        ("1_0", 99, None), ("²", 9, None), (" 1", 9, None), ("9" * 5000, 9, None),
    ],
)  # fmt: skip
def test_decimal(text: str, maximum: int, number: int | None) -> None:
    assert model.decimal(text, maximum) == number
