"""Offers of a publisher: what it sends becomes publications."""

from __future__ import annotations

import random
from typing import Any

import pytest
from leg_fakes import FINGERPRINT, FakeMedia

from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room import commands, effects
from sfu.room.effects import Effect
from sfu.room.model import Instant, Limits, SessionKey
from sfu.room.permissions import GrantChanges
from sfu.room.registry import Rooms
from sfu.server.publish_leg import PublishLeg
from sfu.server.requests import Offer, OfferedMedia, offered

NOW = Instant(0, 0)
CAMERA = OfferedMedia("camera", "", False)
MICROPHONE = OfferedMedia("microphone", "", False)


def section(mid: str, kind: str, *, direction: str = "sendonly", codec: str = "") -> list[str]:
    if kind == "application":
        return [
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            f"a=mid:{mid}",
            "a=sctp-port:5000",
        ]
    codec = codec or ("VP8/90000" if kind == "video" else "opus/48000/2")
    return [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF 96",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:96 {codec}",
    ]


def offer(*sections: list[str], ufrag: str = "cli0", fingerprint: str = FINGERPRINT) -> str:
    mids = " ".join(
        line.partition(":")[2] for lines in sections for line in lines if line.startswith("a=mid:")
    )
    head = [
        "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {mids}", f"a=ice-ufrag:{ufrag}",
        "a=ice-pwd:" + "q" * 24, f"a=fingerprint:sha-256 {fingerprint}", "a=setup:actpass",
    ]  # fmt: skip
    return "\r\n".join([*head, *(line for lines in sections for line in lines), ""])


class Publisher:
    """A leg in a room of its own."""

    def __init__(self, *, grants: GrantChanges | None = None, most: int = 8) -> None:
        self.media = FakeMedia()
        self.said: list[dict[str, Any]] = []
        self.rooms = Rooms(Limits(max_publications=most), random.Random(1))
        join = commands.Join(
            session=SessionKey(1), room=RoomName("r"), name="", grants=grants or GrantChanges()
        )
        done = self.rooms.apply(join, NOW)
        self.id: ParticipantId = next(e.participant.id for e in done if isinstance(e, effects.Welcome))
        self.leg = PublishLeg(
            self.id,
            self.media,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            self.said.append,
            self.apply,
            lambda source, kind, beside: self.rooms.refusal(self.id, source, kind, beside),
        )

    def apply(self, command: commands.Command) -> list[Effect]:
        done = self.rooms.apply(command, NOW)
        for effect in done:
            if isinstance(effect, effects.PublicationClosed):
                self.leg.forget(effect.publication)
                self.media.published.pop(effect.publication, None)
        return done

    def offer(self, sdp: str, **media: OfferedMedia) -> dict[str, Any]:
        return self.leg.negotiate(
            Offer(offered(sdp), {mid.removeprefix("m"): entry for mid, entry in media.items()})
        )

    def sources(self) -> list[str]:
        participant = self.rooms.participant(self.id)
        assert participant is not None
        return [publication.source for publication in participant.publications.values()]


def test_the_first_offer_makes_transport_and_publications() -> None:
    ann = Publisher()
    sdp = offer(section("0", "audio"), section("1", "video"), section("2", "application"))
    answer = ann.offer(sdp, m0=MICROPHONE, m1=CAMERA)
    assert answer["type"] == "answer"
    assert "a=ice-ufrag:srv0" in answer["sdp"]
    assert [entry["mid"] for entry in answer["media"]] == ["0", "1"]
    assert ann.sources() == ["microphone", "camera"]
    assert set(ann.media.published) == {entry["publication"] for entry in answer["media"]}
    assert ann.media.transports[0].calls == [("start", "cli0")]


def test_data_of_a_later_offer_reaches_the_transport() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "audio")), m0=MICROPHONE)
    ann.offer(offer(section("0", "audio"), section("2", "application")), m0=MICROPHONE)
    assert ann.media.transports[0].calls == [("start", "cli0"), ("open_data", (5000, 65536))]


def test_the_same_offer_again_changes_nothing() -> None:
    ann = Publisher()
    sdp = offer(section("0", "video"))
    first = ann.offer(sdp, m0=CAMERA)
    second = ann.offer(sdp, m0=CAMERA)
    assert first["media"] == second["media"]
    assert first["sdp"] != second["sdp"], "the version grows"
    assert len(ann.media.transports) == 1
    assert len(ann.media.transports[0].calls) == 1


def test_an_m_line_that_stops_sending_ends_its_publication_and_may_be_reused() -> None:
    ann = Publisher()
    first = ann.offer(offer(section("0", "video")), m0=CAMERA)
    ann.offer(offer(section("0", "video", direction="inactive")))
    assert ann.sources() == []
    again = ann.offer(offer(section("0", "video")), m0=OfferedMedia("screen", "", False))
    assert ann.sources() == ["screen"]
    assert again["media"][0]["publication"] != first["media"][0]["publication"]


def test_another_source_on_the_same_m_line_is_another_publication() -> None:
    ann = Publisher()
    first = ann.offer(offer(section("0", "video")), m0=CAMERA)
    second = ann.offer(offer(section("0", "video")), m0=OfferedMedia("screen", "", False))
    assert ann.sources() == ["screen"]
    assert first["media"][0]["publication"] != second["media"][0]["publication"]


def test_another_codec_is_another_publication() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    before = set(ann.media.published)
    ann.offer(offer(section("0", "video", codec="VP9/90000")), m0=CAMERA)
    assert ann.sources() == ["camera"]
    assert before.isdisjoint(ann.media.published)


def test_unpublish_then_a_new_offer_publishes_anew() -> None:
    ann = Publisher()
    (entry,) = ann.offer(offer(section("0", "video")), m0=CAMERA)["media"]
    ann.apply(commands.Unpublish(ann.id, PublicationId(entry["publication"])))
    assert ann.sources() == []
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    assert ann.sources() == ["camera"]


def test_what_may_not_be_published_is_refused_alone() -> None:
    ann = Publisher(grants=GrantChanges(publish=("microphone",)))
    answer = ann.offer(
        offer(section("0", "audio"), section("1", "video"), section("2", "video"), section("3", "audio")),
        m0=MICROPHONE,
        m1=CAMERA,
        m3=OfferedMedia("camera", "", False),
    )
    assert answer["media"][1:] == [
        {"mid": "1", "error": "not_allowed"},
        {"mid": "2", "error": "bad_request"},
        {"mid": "3", "error": "bad_request"},
    ]
    assert ann.sources() == ["microphone"]


def test_an_unknown_codec_is_refused_alone() -> None:
    ann = Publisher()
    sdp = offer(section("0", "audio"), section("1", "video", codec="THEORA/90000"))
    answer = ann.offer(sdp, m0=MICROPHONE, m1=CAMERA)
    assert answer["media"][1] == {"mid": "1", "error": "codec_unsupported"}
    assert ann.sources() == ["microphone"]


def test_the_limit_counts_what_is_there_after_the_offer() -> None:
    ann = Publisher(most=2)
    lines = [section(str(mid), "video") for mid in range(3)]
    answer = ann.offer(offer(*lines), m0=CAMERA, m1=CAMERA, m2=CAMERA)
    assert answer["media"][2] == {"mid": "2", "error": "too_many_publications"}
    lines[0] = section("0", "video", direction="inactive")
    answer = ann.offer(offer(*lines), m1=CAMERA, m2=CAMERA)
    assert [entry["mid"] for entry in answer["media"]] == ["1", "2"]
    assert len(ann.sources()) == 2


def test_a_source_published_muted_starts_muted() -> None:
    ann = Publisher()
    (entry,) = ann.offer(offer(section("0", "video")), m0=OfferedMedia("camera", "", True))["media"]
    assert ("set_muted", entry["publication"], True) in ann.media.calls


def test_new_ice_credentials_restart_ice() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    before = dict(ann.media.published)
    answer = ann.offer(offer(section("0", "video"), ufrag="cli1"), m0=CAMERA)
    assert ann.media.transports[0].calls == [("start", "cli0"), ("restart_ice",), ("update_remote", "cli1")]
    assert "a=ice-ufrag:srv2" in answer["sdp"]
    assert ann.media.published == before


def test_the_dtls_role_stays_over_renegotiations() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "video")).replace("actpass", "passive"), m0=CAMERA)
    (transport,) = ann.media.transports
    before = set(ann.media.published)
    answer = ann.offer(offer(section("0", "video")), m0=CAMERA)
    assert transport.dtls_role == "client"
    assert "a=setup:active" in answer["sdp"]
    assert (ann.media.transports, set(ann.media.published)) == ([transport], before)


def test_another_dtls_role_replaces_the_transport() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    (old,) = ann.media.transports
    answer = ann.offer(offer(section("0", "video")).replace("actpass", "passive"), m0=CAMERA)
    (new,) = ann.media.transports
    assert (old.dtls_role, new.dtls_role) == ("server", "client")
    assert f"a=ice-ufrag:{new.ice_ufrag}" in answer["sdp"]


def test_another_peer_connection_replaces_the_transport() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    (old,) = ann.media.transports
    before = set(ann.media.published)
    ann.offer(offer(section("0", "video"), ufrag="cli1", fingerprint=":".join(["CD"] * 32)), m0=CAMERA)
    (new,) = ann.media.transports
    assert new is not old
    assert new.calls == [("start", "cli1")]
    assert before.isdisjoint(ann.media.published)
    assert ann.sources() == ["camera"]


@pytest.mark.parametrize("sdp", ["x", "v=0\r\n", offer(section("0", "video")).replace("a=ice-pwd", "a=x")])
def test_a_bad_offer_changes_nothing(sdp: str) -> None:
    ann = Publisher()
    with pytest.raises(RequestError, match="bad_sdp"):
        ann.offer(sdp, m0=CAMERA)
    assert ann.media.transports == []
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    with pytest.raises(RequestError, match="bad_sdp"):
        ann.offer(sdp, m0=CAMERA)
    assert ann.sources() == ["camera"]
    assert len(ann.media.transports) == 1


def test_a_lost_transport_ends_its_publications_and_the_next_offer_makes_another() -> None:
    ann = Publisher()
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    ann.leg.lost()
    assert ann.sources() == []
    assert ann.media.transports == []
    ann.offer(offer(section("0", "video")), m0=CAMERA)
    assert ann.sources() == ["camera"]
    assert ann.media.transports[0].calls == [("start", "cli0")]


def layers(publication: str, **active: bool) -> dict[str, Any]:
    encodings = [{"rid": rid, "active": each} for rid, each in active.items()]
    return {"type": "layers", "publication": publication, "encodings": encodings}


def test_who_sends_is_told_which_encodings_are_of_use() -> None:
    ann = Publisher()
    simulcast = [
        *section("0", "video"),
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        *(f"a=rid:{rid} send" for rid in "qhf"),
        "a=simulcast:send q;h;f",
    ]
    answer = ann.offer(offer(simulcast, section("1", "video")), m0=CAMERA, m1=CAMERA)
    first, second = (entry["publication"] for entry in answer["media"])
    ann.leg.attach()
    assert ann.said == [], "everything is sent until something else is said"
    ann.leg.want_layers(first, ("q",))
    ann.leg.want_layers(second, ())
    few = [
        layers(first, q=True, h=False, f=False),
        {"type": "layers", "publication": second, "encodings": [{"active": False}]},
    ]
    assert ann.said == few
    ann.leg.attach()
    assert ann.said[2:] == few, "a new session may have missed it"
    ann.leg.want_layers(first, ("q", "h", "f"))
    assert ann.said[4:] == [layers(first, q=True, h=True, f=True)]


def test_what_has_ended_is_of_use_to_nobody() -> None:
    ann = Publisher()
    (entry,) = ann.offer(offer(section("0", "video")), m0=CAMERA)["media"]
    ann.leg.want_layers(entry["publication"], ())
    ann.leg.lost()
    ann.leg.want_layers(entry["publication"], ("",))
    ann.leg.attach()
    assert len(ann.said) == 1
