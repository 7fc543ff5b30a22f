from __future__ import annotations

import pytest

from sfu.rtp.parameters import EncodingSsrcs
from sfu.sdp import media as rtp_media
from sfu.sdp.model import MediaDescription, parse


def section(*attributes: str, formats: str = "96 97") -> MediaDescription:
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", f"m=video 9 UDP/TLS/RTP/SAVPF {formats}"]
    return parse("\r\n".join([*lines, *(f"a={attribute}" for attribute in attributes)])).media[0]


def test_codecs_stand_in_the_order_of_the_formats() -> None:
    media = section(
        "rtpmap:96 VP8/90000",
        "rtpmap:97 rtx/90000",
        "fmtp:97 apt=96",
        "rtcp-fb:96 nack",
        "rtcp-fb:96 nack pli",
        "rtcp-fb:* transport-cc",
        formats="97 96",
    )
    rtx, vp8 = rtp_media.codecs(media)
    assert (rtx.name, rtx.apt(), vp8.name, vp8.apt()) == ("rtx", 96, "vp8", None)
    assert vp8.feedback == {"nack", "nack pli", "transport-cc"}
    assert (vp8.clock_rate, vp8.channels) == (90000, 1)


@pytest.mark.parametrize(
    ("formats", "attributes"),
    [
        ("96", []),
        ("96", ["rtpmap:96"]),
        ("96", ["rtpmap:96 VP8"]),
        ("96", ["rtpmap:96 VP8/x"]),
        ("96", ["rtpmap:96 VP8/0"]),
        ("96", ["rtpmap:96 VP8/90000/x"]),
        ("72", ["rtpmap:72 VP8/90000"]),
        ("200", ["rtpmap:200 VP8/90000"]),
        ("vp8", ["rtpmap:vp8 VP8/90000"]),
    ],
)
def test_unusable_payload_types_are_left_out(formats: str, attributes: list[str]) -> None:
    assert rtp_media.codecs(section(*attributes, formats=formats)) == ()


def test_direction_is_sendrecv_when_nothing_is_said() -> None:
    assert rtp_media.direction(section()) == "sendrecv"
    assert rtp_media.direction(section("inactive")) == "inactive"
    assert rtp_media.sends(section())
    assert not rtp_media.sends(section("recvonly"))


@pytest.mark.parametrize(
    ("value", "mid"),
    [("0", "0"), ("video-1", "video-1"), ("a b", ""), ("", ""), ("x" * 64, "x" * 64), ("x" * 65, "")],
)
def test_mid(value: str, mid: str) -> None:
    assert rtp_media.mid(section(f"mid:{value}")) == mid
    assert rtp_media.mid(section()) == ""


def test_extensions() -> None:
    media = section(
        "extmap:1 urn:a",
        "extmap:2/sendonly urn:b with parameters",
        "extmap:2 urn:taken-id",
        "extmap:3 urn:a",
        "extmap:15 urn:reserved",
        "extmap:0 urn:zero",
        "extmap:4096 urn:unassigned",
        "extmap:16 urn:two-byte",
        "extmap:5",
    )
    assert rtp_media.extensions(media) == {
        "urn:a": (1, ""),
        "urn:b": (2, "sendonly"),
        "urn:two-byte": (16, ""),
    }


@pytest.mark.parametrize(
    ("attributes", "rids"),
    [
        ([], ()),
        (["rid:q send", "rid:f send", "simulcast:send q;f"], ("q", "f")),
        (["rid:q send", "rid:f send", "simulcast:send f;q"], ("f", "q")),
        (["rid:q send", "rid:f send", "simulcast:send ~q;f"], ("q", "f")),
        (["rid:q send", "rid:r send", "rid:f send", "simulcast:send q,r;f"], ("q", "f")),
        (["rid:q send", "simulcast:send q;undeclared;q"], ("q",)),
        (["rid:q send", "rid:f recv", "simulcast:send q;f"], ("q",)),
        (["rid:q send", "rid:r recv", "simulcast:recv r send q"], ("q",)),
        (["rid:q send pt=96;max-width=320", "rid:f send pt=98", "simulcast:send q;f"], ("q",)),
        (["rid:q send"], ("q",)),
        (["rid:q! send", "simulcast:send q!"], ()),
        (["rid:q send", "simulcast:send"], ("q",)),
        (["rid", "simulcast"], ()),
    ],
)
def test_send_rids(attributes: list[str], rids: tuple[str, ...]) -> None:
    assert rtp_media.send_rids(section(*attributes), 96) == rids


def test_the_number_of_rids_is_bounded() -> None:
    names = [f"r{number}" for number in range(20)]
    media = section(*(f"rid:{name} send" for name in names), "simulcast:send " + ";".join(names))
    assert rtp_media.send_rids(media, 96) == tuple(names[: rtp_media.MAX_RIDS])


def test_ssrcs_with_their_repair() -> None:
    media = section(
        "ssrc-group:SIM 1 2",
        "ssrc-group:FID 1 11",
        "ssrc-group:FID 2 12",
        "ssrc-group:FEC-FR 1 21",
        "ssrc-group:FID 7 8",
        *(f"ssrc:{ssrc} cname:x" for ssrc in (1, 11, 2, 12, 21, 1)),
        "ssrc:4294967296 cname:x",
        "ssrc:x",
    )
    assert rtp_media.ssrcs(media) == (EncodingSsrcs(ssrc=1, rtx_ssrc=11), EncodingSsrcs(ssrc=2, rtx_ssrc=12))


def test_the_number_of_ssrcs_is_bounded() -> None:
    media = section(*(f"ssrc:{number} cname:x" for number in range(1, 1000)))
    assert len(rtp_media.ssrcs(media)) == rtp_media.MAX_SSRCS
