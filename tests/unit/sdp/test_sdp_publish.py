from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sfu.errors import ParseError
from sfu.rtp.parameters import Codec, EncodingSsrcs, ExtensionIds
from sfu.sdp import model, publish
from sfu.sdp.model import MediaDescription
from sfu.sdp.negotiate import DtlsRole, LocalParameters, OfferedCodec
from sfu.sdp.publish import PublishAnswer

FIXTURES = Path(__file__).parent / "fixtures"
LOCAL = LocalParameters(
    ice_ufrag="serverfrag",
    ice_pwd="serverpasswordserverpassword",
    fingerprint="sha-256 " + ":".join(["AB"] * 32),
    candidates=(
        "1 1 udp 2130706431 192.0.2.1 7882 typ host",
        "2 1 tcp 1671430143 192.0.2.1 7882 typ host tcptype passive",
    ),
    sctp_max_message_size=65536,
)
TRANSPORT = (
    "ice-ufrag:abcd",
    "ice-pwd:" + "p" * 24,
    "fingerprint:sha-256 " + ":".join(["0a"] * 32),
    "setup:actpass",
)
VP8 = ("rtpmap:96 VP8/90000", "rtcp-fb:96 nack", "rtpmap:97 rtx/90000", "fmtp:97 apt=96")
H264_FMTP = "level-asymmetry-allowed=1;packetization-mode={};profile-level-id=42001f"
OPUS = ("rtpmap:111 opus/48000/2",)


def fixture(name: str) -> str:
    return (FIXTURES / f"{name}.sdp").read_bytes().decode()


def media_line(line: str, *attributes: str, mux: bool = True) -> list[str]:
    return [f"m={line}", *(f"a={name}" for name in (*attributes, *(("rtcp-mux",) if mux else ())))]


def audio(mid: str, *more: str, codec: tuple[str, ...] = OPUS) -> list[str]:
    return media_line("audio 9 UDP/TLS/RTP/SAVPF 111", f"mid:{mid}", *codec, *more)


def video(mid: str, *more: str) -> list[str]:
    return media_line("video 9 UDP/TLS/RTP/SAVPF 96 97", f"mid:{mid}", *VP8, *more)


def offer(*sections: list[str], group: str | None = None, session: tuple[str, ...] = TRANSPORT) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", *(f"a={line}" for line in session)]
    if group is not None:
        lines.append(f"a=group:BUNDLE {group}")
    return "\r\n".join([*lines, *(line for section in sections for line in section)]) + "\r\n"


def answer(text: str, accept: Callable[[str, str], str | None] = lambda mid, kind: None) -> PublishAnswer:
    return publish.answer(model.parse(text), LOCAL, session_id=42, version=3, accept=accept)


def values(media: MediaDescription, name: str) -> list[str]:
    return list(media.all(name))


def test_chromium_simulcast_offer() -> None:
    result = answer(fixture("chromium_simulcast"))
    audio_media, video_media = result.media
    assert audio_media.codecs == (
        Codec(name="opus", payload_type=111, clock_rate=48000),
        Codec(name="red", payload_type=63, clock_rate=48000),
    )
    assert audio_media.extensions == ExtensionIds(mid=4, transport_cc=3, abs_send_time=2, audio_level=1)
    assert audio_media.fmtps == ("minptime=10;useinbandfec=1", "")
    assert audio_media.ssrcs == (EncodingSsrcs(ssrc=2662791768),)
    assert not audio_media.nack
    assert video_media.codecs == (
        Codec(name="vp8", payload_type=96, clock_rate=90000, rtx_payload_type=97),
        Codec(name="h264", payload_type=102, clock_rate=90000, rtx_payload_type=103),
        Codec(name="av1", payload_type=45, clock_rate=90000, rtx_payload_type=46),
        Codec(name="vp9", payload_type=98, clock_rate=90000, rtx_payload_type=99),
    )
    assert video_media.rids == ("q", "h", "f")
    assert video_media.ssrcs == ()
    assert video_media.nack
    assert video_media.transport_cc
    assert video_media.extensions == ExtensionIds(
        mid=4,
        rid=10,
        repaired_rid=11,
        transport_cc=3,
        abs_send_time=2,
        playout_delay=5,
    )
    assert result.rejected == ()
    assert result.data_mid == "2"
    assert result.remote.ice_ufrag == "IJkO"
    assert result.remote.sctp_port == 5000
    assert result.remote.max_message_size == 262144


def test_the_answer_to_chromium_line_by_line() -> None:
    description = answer(fixture("chromium_simulcast")).description
    assert (description.session_id, description.session_version) == (42, 3)
    assert description.has("ice-lite")
    assert description.has("extmap-allow-mixed")
    assert description.get("group") == "BUNDLE 0 1 2"
    audio_media, video_media, data = description.media
    assert audio_media.formats == ("111", "63")
    assert values(audio_media, "candidate") == list(LOCAL.candidates)
    assert audio_media.has("end-of-candidates")
    for other in (video_media, data):
        assert values(other, "candidate") == list(LOCAL.candidates)
        assert other.has("end-of-candidates")
    for media in description.media:
        assert (media.port, media.get("setup"), media.get("ice-ufrag")) == (9, "passive", "serverfrag")
        assert media.get("fingerprint") == LOCAL.fingerprint
    assert video_media.formats == ("96", "102", "45", "98", "97", "103", "46", "99")
    assert values(video_media, "rtpmap")[:3] == ["96 VP8/90000", "97 rtx/90000", "102 H264/90000"]
    assert values(video_media, "fmtp")[:2] == ["97 apt=96", f"102 {H264_FMTP.format(1)}"]
    assert values(video_media, "rtcp-fb")[:5] == [
        "96 goog-remb",
        "96 transport-cc",
        "96 ccm fir",
        "96 nack",
        "96 nack pli",
    ]
    assert values(video_media, "rid") == ["q recv", "h recv", "f recv"]
    assert values(video_media, "simulcast") == ["recv q;h;f"]
    assert all(video_media.has(name) for name in ("recvonly", "rtcp-mux", "rtcp-rsize"))
    assert (data.get("sctp-port"), data.get("max-message-size")) == ("5000", "65536")


def test_inactive_m_lines_negotiate_the_rid_extensions_too() -> None:
    result = answer(fixture("chromium_plain"))
    inactive = result.description.media[2]
    assert inactive.port == 9
    assert inactive.has("inactive")
    assert {
        "10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    } <= set(values(inactive, "extmap"))
    assert [media.mid for media in result.media] == ["0", "1"]
    assert result.media[1].ssrcs == (EncodingSsrcs(ssrc=3313240474, rtx_ssrc=1255374865),)


def test_red_stands_first_where_the_peer_put_it_first() -> None:
    result = answer(fixture("chromium_red_first"))
    assert result.description.media[0].formats == ("63", "111")
    assert [codec.name for codec in result.media[0].codecs] == ["red", "opus"]
    assert result.media[0].offered_codecs() == (
        OfferedCodec(name="red", clock_rate=48000, channels=2, fmtp="", ingress_payload_type=63),
        OfferedCodec(
            name="opus",
            clock_rate=48000,
            channels=2,
            fmtp="minptime=10;useinbandfec=1",
            ingress_payload_type=111,
        ),
    )


def test_a_peer_that_only_receives_is_answered_inactive() -> None:
    result = answer(fixture("chromium_recvonly"))
    assert (result.media, result.rejected, result.data_mid) == ((), (), None)
    assert all(media.port and media.has("inactive") for media in result.description.media)


def test_aiortc_offer() -> None:
    result = answer(fixture("aiortc"))
    assert [codec.name for media in result.media for codec in media.codecs] == ["opus", "vp8", "h264"]
    assert not result.media[1].transport_cc
    assert [algorithm for algorithm, _ in result.remote.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    assert not result.description.media[0].has("rtcp-rsize")
    assert not result.description.has("extmap-allow-mixed")


@pytest.mark.parametrize(
    ("first", "chosen", "fmtp"),
    [
        ("102 103 96 97", ("h264", 102, 103), H264_FMTP.format(1)),
        ("104 107 96 97", ("h264", 104, 107), H264_FMTP.format(0)),
        ("100 101 96 97", ("vp9", 100, 101), "profile-id=2"),
        ("45 46 96 97", ("av1", 45, 46), "level-idx=5;profile=0;tier=0"),
        ("118 119 120 96 97", ("vp8", 96, 97), ""),
        ("98 96 97", ("vp9", 98, None), "profile-id=0"),
    ],
)  # fmt: skip
def test_the_first_of_each_codec_is_taken_in_the_peers_order(
    first: str, chosen: tuple[str, int, int | None], fmtp: str
) -> None:
    text = fixture("chromium_plain").replace(
        "m=video 9 UDP/TLS/RTP/SAVPF 96 ", f"m=video 9 UDP/TLS/RTP/SAVPF {first} "
    )
    media = answer(text).media[1]
    codec = media.codecs[0]
    assert (codec.name, codec.payload_type) == chosen[:2]
    assert sorted(each.name for each in media.codecs) == ["av1", "h264", "vp8", "vp9"]
    assert media.fmtps[0] == fmtp
    if chosen[2] is not None:
        assert codec.rtx_payload_type == chosen[2]


@pytest.mark.parametrize(
    ("profiles", "kept"),
    [
        (("42e01f", "42e034", "640c1f"), ["42e01f"]),
        (("4d001f", "42e01f", "42001f"), ["4d001f", "42e01f"]),
        (("640c1f", "64001f", "4d001f", "42001f"), ["640c1f", "42001f"]),
        (("4d001f", "640c1f"), ["4d001f"]),
        (("aa001f", "4d001f"), ["4d001f"]),
    ],
)
def test_of_h264_there_is_the_first_profile_and_the_baseline(
    profiles: tuple[str, ...], kept: list[str]
) -> None:
    numbers = range(100, 100 + len(profiles))
    lines = [f"video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}", "mid:0"]
    for number, profile in zip(numbers, profiles, strict=True):
        lines += [
            f"rtpmap:{number} H264/90000",
            f"fmtp:{number} packetization-mode=1;profile-level-id={profile}",
        ]
    (media,) = answer(offer(media_line(*lines), group="0")).media
    assert [fmtp.rpartition("=")[2] for fmtp in media.fmtps] == kept
    assert [codec.payload_type for codec in media.codecs] == [100 + profiles.index(each) for each in kept]


def test_a_stranger_cannot_pile_up_formats_of_one_codec() -> None:
    numbers = [*range(96, 128), *range(35, 64)]
    lines = [f"video 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}", "mid:0"]
    names = ("VP8", "VP9", "H264", "AV1")
    lines += [f"rtpmap:{number} {names[number % 4]}/90000" for number in numbers]
    lines += [f"fmtp:{number} profile-id={number % 3}" for number in numbers]
    (media,) = answer(offer(media_line(*lines), group="0")).media
    assert len(media.codecs) == 4


def test_stereo_and_dtx_are_the_publishers_choice() -> None:
    text = offer(audio("0", "fmtp:111 stereo=1;usedtx=1;x=evil"), group="0")
    result = answer(text)
    assert values(result.description.media[0], "fmtp") == [
        "111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1;usedtx=1"
    ]
    (codec,) = result.media[0].offered_codecs()
    assert codec.fmtp == "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"


def test_an_m_line_without_a_shared_codec_is_refused_alone() -> None:
    strange = media_line("video 9 UDP/TLS/RTP/SAVPF 99", "mid:1", "rtpmap:99 H261/90000")
    result = answer(offer(audio("0"), strange, video("2"), group="0 1 2"))
    refused = result.description.media[1]
    assert (refused.port, refused.get("mid"), refused.formats) == (0, "1", ("99",))
    assert result.rejected == (("1", "codec_unsupported"),)
    assert [media.mid for media in result.media] == ["0", "2"]
    assert result.description.get("group") == "BUNDLE 0 2"


def test_a_tagged_m_line_without_a_shared_codec_is_kept_inactive() -> None:
    result = answer(offer(audio("0", codec=("rtpmap:111 G722/8000",)), video("1"), group="0 1"))
    tagged = result.description.media[0]
    assert (tagged.port, tagged.formats, tagged.has("inactive")) == (9, ("111",), True)
    assert tagged.has("candidate")
    assert result.rejected == (("0", "codec_unsupported"),)
    assert [media.mid for media in result.media] == ["1"]
    assert result.description.get("group") == "BUNDLE 0 1"


def test_the_bundle_tag_moves_off_a_refused_first_m_line() -> None:
    first = media_line("audio 9 RTP/AVP 111", "mid:0", *OPUS, mux=False)
    result = answer(offer(first, video("1"), group="0 1"))
    assert result.rejected == (("0", "bad_sdp"),)
    assert result.description.get("group") == "BUNDLE 1"
    assert all(media.has("candidate") for media in result.description.media)
    assert [media.mid for media in result.media] == ["1"]


def test_the_room_may_refuse_an_m_line() -> None:
    asked: list[tuple[str, str]] = []

    def accept(mid: str, kind: str) -> str | None:
        asked.append((mid, kind))
        return "not_allowed" if kind == "video" else None

    result = answer(offer(audio("0"), video("1"), audio("2", "recvonly"), group="0 1 2"), accept)
    assert asked == [("0", "audio"), ("1", "video")]
    assert result.rejected == (("1", "not_allowed"),)
    assert [media.mid for media in result.media] == ["0"]
    assert result.description.media[1].port == 9
    assert result.description.media[1].has("inactive")


@pytest.mark.parametrize(
    "section",
    [
        media_line("video 9 UDP/TLS/RTP/SAVPF 96 97", "mid:1", *VP8, mux=False),
        media_line("video 9 RTP/SAVPX 96 97", "mid:1", *VP8),
        media_line("text 9 UDP/TLS/RTP/SAVPF 96", "mid:1", "rtpmap:96 t140/1000"),
        media_line("video 9 UDP/TLS/RTP/SAVPF 96 97", "mid:unbundled", *VP8),
        media_line("video 9 UDP/TLS/RTP/SAVPF 96 97", *VP8),
        media_line("application 9 TCP/SCTP webrtc-datachannel", "mid:1"),
        media_line("application 9 DTLS/SCTP 5000", "mid:1"),
    ],
)
def test_what_the_server_does_not_speak_is_refused_alone(section: list[str]) -> None:
    result = answer(offer(audio("0"), section, group="0 1"))
    assert result.description.media[1].port == 0
    assert [code for _, code in result.rejected] == ["bad_sdp"]
    assert [media.mid for media in result.media] == ["0"]
    assert result.data_mid is None
    assert result.remote.sctp_port is None


def test_there_is_one_data_channel_m_line() -> None:
    data = [media_line("application 9 UDP/DTLS/SCTP webrtc-datachannel", f"mid:{mid}") for mid in "12"]
    result = answer(offer(audio("0"), *data, group="0 1 2"))
    assert (result.data_mid, result.rejected) == ("1", (("2", "bad_sdp"),))
    assert result.remote.max_message_size == 65536


def test_an_m_line_the_peer_closed_stays_closed_and_bundle_only_is_open() -> None:
    closed = [line.replace("audio 9", "audio 0") for line in audio("0")]
    bundle_only = [line.replace("video 9", "video 0") for line in video("1", "bundle-only")]
    result = answer(offer(closed, bundle_only, group="1"))
    assert [media.port for media in result.description.media] == [0, 9]
    assert [media.mid for media in result.media] == ["1"]
    assert result.rejected == ()


def test_without_bundle_the_first_m_line_is_served() -> None:
    result = answer(offer(audio("0"), video("1")))
    assert [media.mid for media in result.media] == ["0"]
    assert result.rejected == (("1", "bad_sdp"),)


def test_transport_of_the_m_line_goes_before_the_sessions() -> None:
    own = ("ice-ufrag:mine", "ice-pwd:" + "q" * 24, "setup:active")
    result = answer(offer(audio("0", *own), group="0"))
    assert (result.remote.ice_ufrag, result.remote.ice_pwd, result.remote.dtls_role) == (
        "mine",
        "q" * 24,
        "client",
    )
    assert result.remote.fingerprints == (("sha-256", ":".join(["0A"] * 32)),)


@pytest.mark.parametrize(
    ("offered", "role", "answered", "peer"),
    [
        ("actpass", "server", "passive", "client"),
        ("active", "server", "passive", "client"),
        ("passive", "server", "active", "server"),
        ("actpass", "client", "active", "server"),
        ("passive", "client", "active", "server"),
        ("active", "client", "passive", "client"),
    ],
)
def test_the_server_takes_the_dtls_role_that_is_left_to_it(
    offered: str, role: DtlsRole, answered: str, peer: DtlsRole
) -> None:
    text = offer(audio("0"), video("1"), group="0 1", session=(*TRANSPORT[:3], f"setup:{offered}"))
    result = publish.answer(
        model.parse(text),
        replace(LOCAL, dtls_role=role),
        session_id=42,
        version=3,
        accept=lambda mid, kind: None,
    )
    assert [media.get("setup") for media in result.description.media] == [answered] * 2
    assert result.remote.dtls_role == peer


def test_an_offer_without_a_dtls_role_is_the_clients() -> None:
    result = answer(offer(audio("0"), group="0", session=TRANSPORT[:3]))
    assert (result.description.media[0].get("setup"), result.remote.dtls_role) == ("passive", "client")


def test_rids_without_their_extension_are_not_negotiated() -> None:
    result = answer(offer(video("0", "rid:q send", "rid:f send", "simulcast:send q;f"), group="0"))
    assert result.media[0].rids == ()
    assert not result.description.media[0].has("simulcast")


def test_extension_directions_are_mirrored() -> None:
    level, mid = "urn:ietf:params:rtp-hdrext:ssrc-audio-level", "urn:ietf:params:rtp-hdrext:sdes:mid"
    result = answer(offer(audio("0", f"extmap:1/sendonly {level}", f"extmap:2/recvonly {mid}"), group="0"))
    assert values(result.description.media[0], "extmap") == [f"1/recvonly {level}"]
    assert result.media[0].extensions == ExtensionIds(audio_level=1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (offer(), "sdp-no-media"),
        (offer(audio("0"), video("0"), group="0"), "sdp-duplicate-mid"),
        (offer(audio("0"), group="0", session=TRANSPORT[1:]), "sdp-ice-credentials"),
        (offer(audio("0"), group="0", session=("ice-pwd:short", *TRANSPORT)), "sdp-ice-credentials"),
        (offer(audio("0"), group="0", session=TRANSPORT[:2]), "sdp-fingerprint"),
        (offer(audio("0", "fingerprint:sha-256 zz"), group="0", session=TRANSPORT[:2]), "sdp-fingerprint"),
        (offer(audio("0", "ice-ufrag:mine", "setup:both"), group="0"), "sdp-setup"),
        (offer(audio("0"), group="0", session=(*TRANSPORT[:3], "setup:holdconn")), "sdp-setup"),
    ],
)
def test_an_offer_that_cannot_carry_a_transport_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        answer(text)
    assert caught.value.reason == reason


def test_answering_is_a_pure_function() -> None:
    text = fixture("chromium_simulcast")
    assert answer(text) == answer(text)
    changed = publish.answer(
        model.parse(text),
        replace(LOCAL, ice_ufrag="another"),
        session_id=42,
        version=4,
        accept=lambda mid, kind: None,
    )
    assert changed.media == answer(text).media


def test_the_dependency_descriptor_is_for_av1_alone() -> None:
    text = fixture("chromium_simulcast")
    (vp8,) = [media for media in answer(text).media if media.kind == "video"]
    assert vp8.extensions.dependency_descriptor == 0
    without = re.sub(r"a=rtpmap:(\d+) (VP8|VP9|H264)/90000", r"a=rtpmap:\1 other/90000", text)
    (av1,) = [media for media in answer(without).media if media.kind == "video"]
    assert av1.codecs[0].name == "av1"
    assert av1.extensions.dependency_descriptor == 12


@pytest.mark.parametrize(
    ("kept", "fir"),
    [(("ccm fir", "nack pli"), False), (("ccm fir",), True), (("nack pli",), False), ((), False)],
)
def test_fir_is_for_encoders_that_take_no_pli(kept: tuple[str, ...], fir: bool) -> None:
    lines = [f"rtcp-fb:96 {feedback}" for feedback in kept]
    (media,) = answer(offer(video("0", "sendonly", *lines))).media
    assert media.fir is fir


# --- forms that standards and devices have -----------------------------------------------------


@pytest.mark.parametrize(
    "protocol",
    ["RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "TCP/DTLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"],
)
def test_every_profile_of_jsep_is_accepted_and_echoed(protocol: str) -> None:
    lines = media_line(f"video 9 {protocol} 96 97", "mid:0", *VP8, "sendonly")
    result = answer(offer(lines))
    assert len(result.media) == 1
    assert result.description.media[0].protocol == protocol


def test_a_profile_without_dtls_is_refused() -> None:
    result = answer(
        offer(video("0", "sendonly"), media_line("video 9 XYZ/AVP 96", "mid:1", "sendonly"), group="0 1")
    )
    assert result.rejected == (("1", "bad_sdp"),)


@pytest.mark.parametrize(
    ("line", "attribute", "answered"),
    [
        ("application 9 UDP/DTLS/SCTP webrtc-datachannel", "sctp-port:5000", "sctp-port:5000"),
        ("application 9 TCP/DTLS/SCTP webrtc-datachannel", "sctp-port:5000", "sctp-port:5000"),
        (
            "application 9 DTLS/SCTP 5001",
            "sctpmap:5001 webrtc-datachannel 256",
            "sctpmap:5000 webrtc-datachannel 1024",
        ),
    ],
)
def test_data_is_accepted_in_every_form(line: str, attribute: str, answered: str) -> None:
    result = answer(offer(media_line(line, "mid:0", attribute, mux=False)))
    assert result.data_mid == "0"
    assert result.remote.sctp_port == int(re.findall(r":(\d+)", attribute)[0])
    assert f"a={answered}\r\n" in model.format(result.description)
    again = model.parse(model.format(result.description)).media[0]
    assert again.protocol == line.split(" ")[2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("m=video 9 UDP", "m=video 9/2 UDP"),
        ("SAVPF 96 97\r\n", "SAVPF 96 97 \r\n"),
        ("mid:0", "mid:7b0d4bd2-6b1c-4d0e-9a59-5c1e0e0c2b11"),
        ("o=- 1 1", "o=My Soft Phone 1 1"),
        ("o=- 1 1", "o=- -8070161385456021410 2"),
        ("m=video", "\r\nm=video"),
        ("ice-ufrag:abcd", "ice-ufrag:ab-_"),
        ("a=rtcp-mux\r\n", "a=rtcp-mux-only\r\n"),
    ],
)
def test_what_devices_write_is_read(before: str, after: str) -> None:
    text = offer(video("0", "sendonly"))
    assert before in text
    assert len(answer(text.replace(before, after)).media) == 1
