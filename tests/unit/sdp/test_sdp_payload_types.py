from __future__ import annotations

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
