"""Data messages, URLs, the roster and the server's SDP: text and bytes only."""

from __future__ import annotations

import pytest
from aiortc import RTCPeerConnection
from hypothesis import given
from hypothesis import strategies as st

from sfu.sdp.model import parse
from sfu_client import datagram, events, opus, remote_sdp
from sfu_client.roster import Roster
from sfu_client.signalling import signal_url


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4), st.binary(max_size=100))
def test_data_messages_come_back(header: dict[str, str], payload: bytes) -> None:
    assert datagram.unpack(datagram.pack(header, payload)) == (header, payload)


@given(st.binary(max_size=60))
def test_garbage_is_a_value_error(message: bytes) -> None:
    try:
        header, _ = datagram.unpack(message)
    except ValueError:
        return
    assert isinstance(header, dict)


def test_a_header_has_a_limit() -> None:
    with pytest.raises(ValueError, match="65535"):
        datagram.pack({"topic": "x" * 70_000}, b"")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:7880", "ws://localhost:7880/signal"),
        ("https://example.org/", "wss://example.org/signal"),
        ("https://example.org/calls", "wss://example.org/calls/signal"),
        ("wss://example.org/signal", "wss://example.org/signal"),
    ],
)
def test_signal_urls(url: str, expected: str) -> None:
    assert signal_url(url) == expected


@pytest.mark.parametrize("url", ["ftp://x", "localhost:7880", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http"):
        signal_url(url)


def member(number: int, *publications: str, name: str = "n") -> dict[str, object]:
    return {
        "id": f"PA_{number}",
        "name": name,
        "publications": [
            {"id": item, "participant": f"PA_{number}", "kind": "video", "source": "camera"}
            for item in publications
        ],
    }


def kinds(changes: list[events.Event]) -> list[str]:
    return [type(change).__name__ for change in changes]


def test_a_snapshot_becomes_the_difference() -> None:
    roster = Roster()
    assert kinds(roster.replace([member(1, "TR_a"), member(2)])) == [
        "ParticipantJoined",
        "PublicationAdded",
        "ParticipantJoined",
    ]
    same = roster.participants["PA_2"]
    changes = roster.replace([member(2, "TR_b", name="new"), member(3)])
    assert kinds(changes) == [
        "PublicationRemoved",
        "ParticipantLeft",
        "ParticipantUpdated",
        "PublicationAdded",
        "ParticipantJoined",
    ]
    assert roster.participants["PA_2"] is same
    assert same.name == "new"
    assert set(roster.participants) == {"PA_2", "PA_3"}


def test_publications_come_change_and_go() -> None:
    roster = Roster()
    roster.join(member(1))
    added = {"id": "TR_a", "participant": "PA_1", "kind": "audio", "source": "microphone"}
    assert kinds(roster.publish(added)) == ["PublicationAdded"]
    assert kinds(roster.publish(added | {"muted": True})) == ["PublicationUpdated"]
    found = roster.find("TR_a")
    assert found is not None
    assert found[1].muted
    assert kinds(roster.unpublish("TR_a")) == ["PublicationRemoved"]
    assert roster.unpublish("TR_a") == []
    assert roster.publish(added | {"participant": "PA_9"}) == []
    assert roster.leave("PA_9", "left") == []


OFFER = "\r\n".join(
    [
        "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1 2",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", "a=sendonly",
        "a=candidate:1 1 udp 1 192.0.2.1 7882 typ host", "a=end-of-candidates", "a=rtpmap:96 opus/48000/2",
        "m=video 9 UDP/TLS/RTP/SAVPF 98 99", "a=mid:1", "a=sendonly", "a=rtpmap:98 VP9/90000",
        "a=rtpmap:99 rtx/90000", "a=fmtp:99 apt=98", "a=ssrc:1 cname:x",
        "m=video 9 UDP/TLS/RTP/SAVPF 100", "a=mid:2", "a=sendonly", "a=rtpmap:100 H264/90000",
        "a=fmtp:100 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f", "",
    ]
)  # fmt: skip


def sections(sdp: str) -> list[str]:
    return sdp.split("\r\nm=")[1:]


def test_an_unknown_codec_becomes_inactive_and_the_rest_stays() -> None:
    audio, vp9, h264 = sections(remote_sdp.adapt(OFFER))
    assert vp9.startswith("video 9 UDP/TLS/RTP/SAVPF 98\r\n")
    assert "a=inactive" in vp9
    assert "a=sendonly" not in vp9
    assert "a=rtpmap:98 VP8/90000" in vp9
    assert "ssrc" not in vp9
    assert "a=sendonly" in audio
    assert "a=sendonly" in h264


def test_every_profile_of_h264_is_taken() -> None:
    assert "packetization-mode=1;profile-level-id=42e01f" in remote_sdp.adapt(OFFER)


def test_h264_without_fragmentation_is_not() -> None:
    *_, h264 = sections(remote_sdp.adapt(OFFER.replace("packetization-mode=1", "packetization-mode=0")))
    assert "a=inactive" in h264


async def test_an_offer_says_that_its_sound_is_stereo() -> None:
    connection = RTCPeerConnection()
    for kind in ("audio", "video", "audio"):
        connection.addTransceiver(kind, direction="sendonly")
    offer = (await connection.createOffer()).sdp
    announced = opus.announce_stereo(offer)
    await connection.close()
    lines = announced.split("\r\n")
    added = [line for line in lines if line not in offer.split("\r\n")]
    assert len(set(added)) == 1
    number = added[0].removesuffix(" sprop-stereo=1").removeprefix("a=fmtp:")
    assert [lines[at - 1] for at, line in enumerate(lines) if line in added] == [
        f"a=rtpmap:{number} opus/48000/2"
    ] * 2
    assert parse(announced).media[0].all("fmtp")
