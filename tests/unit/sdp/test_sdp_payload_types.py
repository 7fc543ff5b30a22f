from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from sfu.sdp.capabilities import CODECS, canonical_fmtp, offered_fmtp
from sfu.sdp.negotiate import OfferedCodec
from sfu.sdp.payload_types import PayloadTypes

OPUS = OfferedCodec(name="opus", clock_rate=48000, channels=2, fmtp="minptime=10", ingress_payload_type=111)
RED = OfferedCodec(name="red", clock_rate=48000, channels=2, fmtp="", ingress_payload_type=63)


def h264(number: int, ingress: int = 100) -> OfferedCodec:
    fmtp = f"packetization-mode=1;profile-level-id={number:06x}"
    return OfferedCodec(name="h264", clock_rate=90000, channels=1, fmtp=fmtp, ingress_payload_type=ingress)


def test_the_same_codec_keeps_its_numbers_whatever_the_publisher_calls_it() -> None:
    types = PayloadTypes()
    (first,) = types.assign("video", (h264(1, ingress=96),), ())
    (other,) = types.assign("video", (h264(2),), ())
    (again,) = types.assign("video", (h264(1, ingress=125),), ())
    assert (first.payload_type, first.rtx_payload_type) == (96, 97)
    assert (other.payload_type, other.rtx_payload_type) == (98, 99)
    assert (again.payload_type, again.rtx_payload_type) == (96, 97)


def test_red_keeps_its_place_and_names_what_it_carries() -> None:
    red, opus = PayloadTypes().assign("audio", (RED, OPUS), ())
    assert (red.codec.name, opus.codec.name) == ("red", "opus")
    assert red.fmtp == f"{opus.payload_type}/{opus.payload_type}"
    assert red.rtx_payload_type is None
    assert red.payload_type != opus.payload_type


def test_red_alone_and_strangers_are_left_out() -> None:
    assert PayloadTypes().assign("audio", (RED,), ()) == ()
    assert PayloadTypes().assign("audio", (h264(1),), ()) == ()


def test_numbers_of_codecs_long_gone_are_taken_again_and_those_in_use_never() -> None:
    types = PayloadTypes()
    (kept,) = types.assign("video", (h264(0),), ())
    in_use = {kept.payload_type, kept.rtx_payload_type or 0}
    for number in range(1, 200):
        (codec,) = types.assign("video", (h264(number),), in_use)
        numbers = {codec.payload_type, codec.rtx_payload_type}
        assert numbers.isdisjoint(in_use)
        assert all(n is not None and (35 <= n < 64 or 96 <= n < 128) for n in numbers)
    assert types.assign("video", (h264(0),), in_use) == (kept,)


def test_there_is_no_number_when_all_are_in_use() -> None:
    types = PayloadTypes()
    in_use: set[int] = set()
    count = 0
    while codecs := types.assign("video", (h264(count),), in_use):
        in_use |= {codecs[0].payload_type, codecs[0].rtx_payload_type or 0}
        count += 1
    assert count == 30
    assert len(types.assign("audio", (OPUS,), in_use)) == 1
    assert types.assign("audio", (RED, OPUS), in_use | {63}) == types.assign("audio", (OPUS,), in_use)


def every_fmtp(name: str) -> Iterator[str]:
    """What publishers may write of a codec, as far as the server tells it apart."""
    numbers = [f"{number}" for number in range(100)]
    match name:
        case "opus":
            for flags in itertools.product(("stereo", ""), ("sprop-stereo", ""), ("usedtx", "")):
                yield ";".join(f"{flag}=1" for flag in flags if flag)
        case "h264":
            levels = ("00", "1f", "34")
            for idc, iop, level, mode in itertools.product(range(256), range(256), levels, "01"):
                yield f"packetization-mode={mode};profile-level-id={idc:02x}{iop:02x}{level}"
            yield "level-asymmetry-allowed=1"
        case "vp9":
            yield from ("", *(f"profile-id={number}" for number in numbers))
        case "av1":
            for profile, level, tier in itertools.product(numbers, ("0", "9", "31", "77"), ("0", "1", "5")):
                yield f"profile={profile};level-idx={level};tier={tier}"
            yield ""
        case _:
            yield ""


def test_everything_that_publishers_may_send_has_numbers_at_once() -> None:
    types, in_use = PayloadTypes(), set[int]()
    for name, codec in CODECS.items():
        canonical = {canonical_fmtp(name, fmtp) for fmtp in every_fmtp(name)} - {None}
        for fmtp in sorted({offered_fmtp(name, each or "") for each in canonical}):
            offered = OfferedCodec(
                name=name,
                clock_rate=codec.clock_rate,
                channels=codec.channels,
                fmtp=fmtp,
                ingress_payload_type=1,
            )
            media = (offered, RED) if name == "opus" else (offered,)
            numbered = types.assign(codec.kind, media, in_use)
            assert len(numbered) == (0 if name == "red" else len(media)), (name, fmtp)
            for each in numbered:
                in_use |= {each.payload_type, each.rtx_payload_type or each.payload_type}


@pytest.mark.parametrize(
    ("name", "fmtp", "offered"),
    [
        ("h264", "packetization-mode=1;profile-level-id=42e033", "42e01f"),
        ("h264", "packetization-mode=1;profile-level-id=4d0028", "4d001f"),
        ("h264", "packetization-mode=1;profile-level-id=640028", "64001f"),
        ("h264", "packetization-mode=1;profile-level-id=42c01f", "42e01f"),
        ("h264", "packetization-mode=1", "42e01f"),
    ],
)
def test_profiles_that_decode_alike_are_offered_alike(name: str, fmtp: str, offered: str) -> None:
    canonical = canonical_fmtp(name, fmtp)
    assert canonical is not None
    assert offered_fmtp(name, canonical).endswith(f"packetization-mode=1;profile-level-id={offered}")


@pytest.mark.parametrize(
    ("name", "fmtp"),
    [
        ("h264", "profile-level-id=aa001f"),
        ("h264", "profile-level-id=58001f"),
        ("vp9", "profile-id=4"),
        ("av1", "profile=3"),
    ],
)
def test_profiles_that_no_standard_knows_are_not_forwarded(name: str, fmtp: str) -> None:
    assert canonical_fmtp(name, fmtp) is None
