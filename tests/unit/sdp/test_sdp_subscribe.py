from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sfu.errors import ParseError, RequestError
from sfu.rtp.parameters import ExtensionIds
from sfu.sdp import model
from sfu.sdp.negotiate import DtlsRole, LocalParameters, OfferedCodec
from sfu.sdp.subscribe import FRESH_MEDIA, OutgoingMedia, SubscribeAnswer, SubscribeSession

LOCAL = LocalParameters(
    ice_ufrag="serverfrag",
    ice_pwd="serverpasswordserverpassword",
    fingerprint="sha-256 " + ":".join(["AB"] * 32),
    candidates=("1 1 udp 2130706431 192.0.2.1 7882 typ host",),
    sctp_max_message_size=65536,
)
VP8 = OfferedCodec(name="vp8", clock_rate=90000, channels=1, fmtp="", ingress_payload_type=120)
VP9 = OfferedCodec(name="vp9", clock_rate=90000, channels=1, fmtp="profile-id=2", ingress_payload_type=98)
OPUS = OfferedCodec(
    name="opus", clock_rate=48000, channels=2, fmtp="minptime=10;useinbandfec=1", ingress_payload_type=109
)
RED = OfferedCodec(name="red", clock_rate=48000, channels=2, fmtp="", ingress_payload_type=63)


def video(key: str, *codecs: OfferedCodec, ssrc: int = 100) -> OutgoingMedia:
    return OutgoingMedia(
        key=key,
        kind="video",
        stream_id="PA_x",
        track_id=key,
        codecs=codecs or (VP8,),
        ssrc=ssrc,
        rtx_ssrc=ssrc + 1,
        cname="cn",
    )


def audio(key: str, *codecs: OfferedCodec, ssrc: int = 50) -> OutgoingMedia:
    return replace(video(key, *(codecs or (OPUS,)), ssrc=ssrc), kind="audio", rtx_ssrc=None)


def reply(offer: str) -> str:
    """The answer of a peer that agrees with everything."""
    text = offer.replace("a=setup:actpass", "a=setup:active").replace("a=sendonly", "a=recvonly")
    return re.sub(r"a=(msid|ssrc|ssrc-group|ice-lite)\b.*\r\n", "", text)


def negotiate(session: SubscribeSession, *media: OutgoingMedia) -> SubscribeAnswer:
    return session.apply_answer(reply(session.plan(media, LOCAL).sdp))


def directions(sdp: str) -> list[tuple[str, str]]:
    names = ("sendonly", "inactive")
    return [
        (media.get("mid") or "", next(name for name in names if media.has(name)))
        for media in model.parse(sdp).media
    ]


def test_the_offer_line_by_line() -> None:
    offer = SubscribeSession(7).plan([audio("A", RED, OPUS), video("V", VP9)], LOCAL)
    description = model.parse(offer.sdp)
    assert (description.session_id, description.session_version) == (7, 1)
    assert description.get("group") == "BUNDLE 0 1"
    assert all(description.has(name) for name in ("ice-lite", "extmap-allow-mixed", "msid-semantic"))
    first, second = description.media
    # The anchor was numbered first, with Opus.
    assert first.formats == ("97", "96")
    assert list(first.all("fmtp")) == ["97 96/96", "96 minptime=10;useinbandfec=1"]
    assert first.has("candidate")
    assert list(second.all("candidate")) == list(first.all("candidate"))
    for media in description.media:
        assert (media.get("setup"), media.get("ice-ufrag"), media.port) == ("actpass", "serverfrag", 9)
        assert all(media.has(name) for name in ("sendonly", "rtcp-mux", "rtcp-rsize"))
    assert second.formats == ("98", "99")
    assert list(second.all("fmtp")) == ["98 profile-id=2", "99 apt=98"]
    assert second.get("msid") == "PA_x V"
    assert list(second.all("ssrc-group")) == ["FID 100 101"]
    assert list(second.all("ssrc")) == ["100 cname:cn", "100 msid:PA_x V", "101 cname:cn", "101 msid:PA_x V"]
    assert not first.has("ssrc-group")
    assert offer.media == (("0", "A"), ("1", "V"))
    assert offer.left_out == ()


def test_the_first_m_line_is_audio_even_when_there_is_none() -> None:
    session = SubscribeSession(7)
    offer = session.plan([video("V")], LOCAL)
    assert directions(offer.sdp) == [("0", "inactive"), ("1", "sendonly")]
    assert model.parse(offer.sdp).media[0].kind == "audio"
    session.apply_answer(reply(offer.sdp))
    after = session.plan([video("V"), audio("A")], LOCAL)
    assert after.media == (("0", "A"), ("1", "V"))


def test_the_answer_maps_payload_types_and_extensions() -> None:
    answer = negotiate(SubscribeSession(7), audio("A", OPUS, RED), video("V"))
    sound, picture = answer.media
    assert (sound.key, sound.mid) == ("A", "0")
    assert sound.payload_types == {109: 96, 63: 97}
    assert sound.rtx_payload_types == {}
    assert sound.extensions == ExtensionIds(mid=1, abs_send_time=2, transport_cc=3, audio_level=4)
    assert picture.payload_types == {120: 98}
    assert picture.rtx_payload_types == {98: 99}
    assert picture.extensions == ExtensionIds(
        mid=1, abs_send_time=2, transport_cc=3, playout_delay=6, dependency_descriptor=7
    )
    assert answer.remote is not None
    assert (answer.remote.ice_ufrag, answer.remote.dtls_role) == ("serverfrag", "client")


def test_every_publication_has_an_m_line_of_its_own_and_they_never_pile_up() -> None:
    """Pion, webrtcbin and aiortc never show what comes on an m-line that carried another publication."""
    session = SubscribeSession(7)
    carried: dict[str, object] = {}
    for number in range(200):
        answer = negotiate(session, audio("A"), *(video(f"V{number + i}") for i in range(number % 3)))
        assert answer.media[0].key == "A"
        assert len(answer.media) == 1 + number % 3
        for sent in answer.media:
            assert carried.setdefault(sent.mid, sent.key) == sent.key
    offer = session.plan([], LOCAL)
    description = model.parse(offer.sdp)
    assert description.session_version == 201
    assert len(description.media) == FRESH_MEDIA
    assert description.get("group") == "BUNDLE 0"
    assert [media.port for media in description.media] == [9] + [0] * (FRESH_MEDIA - 1)
    assert all(media.formats and not media.has("ssrc") for media in description.media)
    assert len(offer.sdp) < FRESH_MEDIA * 600


def test_a_place_is_not_taken_in_the_offer_that_closes_its_m_line() -> None:
    session = SubscribeSession(7)
    many = [video(f"V{number}") for number in range(FRESH_MEDIA)]
    negotiate(session, *many)
    offer = session.plan([*many[1:], video("new")], LOCAL)
    lines = model.parse(offer.sdp).media
    assert (lines[1].port, lines[1].get("mid")) == (0, "1")
    assert lines[-1].get("mid") == offer.media[-1][0]
    session.apply_answer(reply(offer.sdp))
    after = session.plan([*many[1:], video("new"), video("newer")], LOCAL)
    lines = model.parse(after.sdp).media
    assert (lines[1].port, lines[1].get("mid")) == (9, str(FRESH_MEDIA + 2))
    assert (lines[1].get("mid"), "newer") in after.media


def test_the_first_m_line_carries_the_first_audio_and_no_other() -> None:
    session = SubscribeSession(7)
    negotiate(session, audio("A"))
    offer = session.plan([audio("B")], LOCAL)
    assert directions(offer.sdp) == [("0", "inactive"), ("1", "sendonly")]
    assert offer.media == (("1", "B"),)
    assert [media.port for media in model.parse(offer.sdp).media] == [9, 9]


def test_media_keeps_its_m_line_and_its_numbers() -> None:
    session = SubscribeSession(7)
    negotiate(session, video("V1"), video("V2", VP9))
    before = {sent.key: sent for sent in negotiate(session, video("V2", VP9), video("V1")).media}
    after = {sent.key: sent for sent in negotiate(session, video("V3"), video("V2", VP9)).media}
    assert after["V2"] == before["V2"]
    assert after["V3"].mid == "3"
    assert after["V3"].payload_types == before["V1"].payload_types


def test_audio_does_not_take_the_m_line_of_video() -> None:
    session = SubscribeSession(7)
    negotiate(session, video("V"), audio("A"))
    offer = session.plan([audio("A"), audio("B")], LOCAL)
    assert offer.media == (("0", "A"), ("2", "B"))


def test_a_changed_codec_keeps_the_m_line() -> None:
    session = SubscribeSession(7)
    negotiate(session, video("V"))
    (sent,) = negotiate(session, video("V", VP9)).media
    assert (sent.mid, sent.payload_types) == ("1", {98: 99})


def test_a_refused_m_line_is_closed_left_out_and_recycled() -> None:
    session = SubscribeSession(7)
    offer = session.plan([video("bad", VP9), video("good")], LOCAL)
    text = reply(offer.sdp).split("m=video")
    text[1] = text[1].replace(" 9 ", " 0 ", 1)
    answer = session.apply_answer("m=video".join(text))
    assert answer.rejected == ("bad",)
    assert [sent.key for sent in answer.media] == ["good"]

    second = session.plan([video("bad", VP9), video("good")], LOCAL)
    assert second.left_out == ("bad",)
    description = model.parse(second.sdp)
    assert [media.port for media in description.media] == [9, 0, 9]
    assert description.get("group") == "BUNDLE 0 2"
    assert session.apply_answer(reply(second.sdp)).rejected == ()

    third = session.plan([video("good"), video("new")], LOCAL)
    assert third.media == (("2", "good"), ("3", "new"))
    session.apply_answer(reply(third.sdp))
    # Once it was away, it may come back.
    assert session.plan([video("good"), video("bad", VP9)], LOCAL).left_out == ()


def test_a_peer_that_refuses_everything_has_no_transport() -> None:
    session = SubscribeSession(7)
    offer = session.plan([video("V")], LOCAL)
    answer = session.apply_answer(re.sub(r"m=(\w+) 9", r"m=\1 0", reply(offer.sdp)))
    assert (answer.remote, answer.media, answer.rejected) == (None, (), ("V",))


def test_an_answer_may_drop_reorder_and_pause() -> None:
    session = SubscribeSession(7)
    offer = session.plan([audio("A", RED, OPUS), video("V"), video("W")], LOCAL)
    text = reply(offer.sdp).replace("SAVPF 97 96", "SAVPF 96").replace("SAVPF 98 99", "SAVPF 98", 1)
    text = re.sub(r"a=extmap:[2-7].*\r\n", "", text).replace("a=extmap-allow-mixed\r\n", "")
    head, separator, last = text.rpartition("m=video")
    answer = session.apply_answer(head + separator + last.replace("a=recvonly", "a=inactive"))
    sound, picture = answer.media
    assert sound.payload_types == {109: 96}
    assert (picture.payload_types, picture.rtx_payload_types) == ({120: 98}, {})
    assert picture.extensions == ExtensionIds(mid=1)
    assert (answer.rejected, answer.inactive) == ((), ("W",))
    assert session.plan([video("W")], LOCAL).media == (("2", "W"),)


def test_a_publisher_may_take_any_codec_that_the_subscriber_kept() -> None:
    both = (replace(VP8, ingress_payload_type=96), replace(VP9, ingress_payload_type=98))
    session = SubscribeSession(7)
    offer = session.plan([video("V", *both)], LOCAL)
    (sent,) = session.apply_answer(reply(offer.sdp)).media
    assert sent.payload_types == {96: 97, 98: 99}
    assert sent.rtx_payload_types == {97: 98, 99: 100}


@pytest.mark.parametrize(("missing", "rejected"), [("VP8", ("V",)), ("VP9", ())])
def test_a_subscriber_without_the_publishers_first_codec_is_rejected(
    missing: str, rejected: tuple[str, ...]
) -> None:
    session = SubscribeSession(7)
    offer = session.plan([video("V", VP8, VP9)], LOCAL)
    answer = session.apply_answer(reply(offer.sdp).replace(f"{missing}/90000", "theora/90000"))
    assert answer.rejected == rejected


def test_a_live_m_line_without_the_codec_is_rejected() -> None:
    session = SubscribeSession(7)
    offer = session.plan([video("V")], LOCAL)
    answer = session.apply_answer(reply(offer.sdp).replace("VP8/90000", "H264/90000"))
    assert (answer.media, answer.rejected) == ((), ("V",))


def test_without_mixed_extension_forms_there_is_no_dependency_descriptor() -> None:
    session = SubscribeSession(7)
    offer = session.plan([video("V")], LOCAL)
    answer = session.apply_answer(reply(offer.sdp).replace("a=extmap-allow-mixed\r\n", ""))
    assert answer.media[0].extensions.dependency_descriptor == 0
    assert answer.media[0].extensions.transport_cc == 3


def test_the_transport_wide_extension_without_its_feedback_is_not_taken() -> None:
    session = SubscribeSession(7)
    offer = session.plan([audio("A", OPUS, RED), video("V")], LOCAL)
    answer = session.apply_answer(re.sub(r"a=rtcp-fb:98 transport-cc\r\n", "", reply(offer.sdp)))
    sound, picture = answer.media
    assert (sound.extensions.transport_cc, picture.extensions.transport_cc) == (3, 0)
    assert picture.extensions.abs_send_time == 2


def test_new_credentials_are_offered_as_they_are() -> None:
    session = SubscribeSession(7)
    negotiate(session, video("V"))
    offer = session.plan([video("V")], replace(LOCAL, ice_ufrag="fresh"))
    assert all(media.get("ice-ufrag") == "fresh" for media in model.parse(offer.sdp).media)
    assert model.parse(offer.sdp).session_version == 2


def test_the_number_of_m_lines_is_bounded() -> None:
    media: Sequence[OutgoingMedia] = [video(f"V{number}") for number in range(model.MAX_MEDIA + 5)]
    offer = SubscribeSession(7).plan(media, LOCAL)
    assert len(offer.media) == model.MAX_MEDIA - 1
    assert offer.later == tuple(f"V{number}" for number in range(model.MAX_MEDIA - 1, model.MAX_MEDIA + 5))


def test_what_finds_no_place_has_one_when_closed_m_lines_leave_theirs() -> None:
    session = SubscribeSession(7, most_lines=4)
    negotiate(session, video("V0"), video("V1"), video("V2"))
    offer = session.plan([video("V0"), video("V3")], LOCAL)
    assert ([key for _, key in offer.media], offer.later) == (["V0"], ("V3",))
    session.apply_answer(reply(offer.sdp))
    offer = session.plan([video("V0"), video("V3")], LOCAL)
    assert ([key for _, key in offer.media], offer.later) == (["V0", "V3"], ())
    assert len(model.parse(offer.sdp).media) == 4


def test_codecs_unknown_to_the_server_are_left_out() -> None:
    offer = SubscribeSession(7).plan([video("V", replace(VP8, name="theora"))], LOCAL)
    assert (offer.media, offer.left_out) == ((), ("V",))


@pytest.mark.parametrize(
    ("answered", "peer"),
    [("a=setup:active", "client"), ("a=setup:passive", "server"), ("a=x-setup:none", "server")],
)
def test_a_subscriber_may_take_either_dtls_role(answered: str, peer: DtlsRole) -> None:
    session = SubscribeSession(7)
    good = reply(session.plan([video("V")], LOCAL).sdp)
    answer = session.apply_answer(good.replace("a=setup:active", answered))
    assert answer.remote
    assert (answer.remote.dtls_role, len(answer.media)) == (peer, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: "nonsense", "sdp-version"),
        (lambda text: text.rpartition("m=video")[0], "sdp-answer-media"),
        (lambda text: text.replace("m=video", "m=audio"), "sdp-answer-media"),
        (lambda text: text.replace("a=mid:1", "a=mid:9"), "sdp-answer-media"),
        (lambda text: text.replace("setup:active", "setup:holdconn"), "sdp-setup"),
        (lambda text: text.replace("setup:active", "setup:actpass"), "sdp-setup"),
        (lambda text: text.replace("a=ice-pwd", "a=x-pwd"), "sdp-ice-credentials"),
        (lambda text: text.replace("a=fingerprint", "a=x-fingerprint"), "sdp-fingerprint"),
    ],
)
def test_a_wrong_answer_leaves_the_offer_waiting(change, reason: str) -> None:  # type: ignore[no-untyped-def]
    session = SubscribeSession(7)
    good = reply(session.plan([video("V")], LOCAL).sdp)
    with pytest.raises(ParseError) as caught:
        session.apply_answer(change(good))
    assert caught.value.reason == reason
    assert len(session.apply_answer(good).media) == 1


def test_an_answer_without_an_offer_is_refused() -> None:
    session = SubscribeSession(7)
    good = reply(session.plan([video("V")], LOCAL).sdp)
    session.apply_answer(good)
    with pytest.raises(RequestError) as caught:
        session.apply_answer(good)
    assert caught.value.code == "bad_state"
