"""SDP from strangers: everything is accepted or refused with `ParseError`, and nothing smuggles a line."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.sdp import model, publish
from sfu.sdp.model import Attribute, MediaDescription, SessionDescription
from sfu.sdp.negotiate import LocalParameters
from sfu.sdp.subscribe import OutgoingMedia, SubscribeSession

FIXTURES = sorted((Path(__file__).parents[1] / "unit" / "sdp" / "fixtures").glob("*.sdp"))
OFFERS = [path.read_bytes().decode() for path in FIXTURES]
LOCAL = LocalParameters(
    ice_ufrag="serverfrag",
    ice_pwd="serverpasswordserverpassword",
    fingerprint="sha-256 " + ":".join(["AB"] * 32),
    candidates=("1 1 udp 2130706431 192.0.2.1 7882 typ host",),
    sctp_max_message_size=65536,
)

tokens = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20)
attributes = st.lists(st.builds(Attribute, tokens, texts), max_size=6).map(tuple)
media_descriptions = st.builds(
    MediaDescription,
    kind=st.sampled_from(["audio", "video", "application", "text"]),
    port=st.integers(0, 65535),
    protocol=st.sampled_from(["UDP/TLS/RTP/SAVPF", "UDP/DTLS/SCTP", "RTP/AVP"]),
    formats=st.lists(tokens, min_size=1, max_size=4).map(tuple),
    attributes=attributes,
)
descriptions = st.builds(
    SessionDescription,
    session_id=st.integers(0, 2**64 - 1),
    session_version=st.integers(0, 2**64 - 1),
    attributes=attributes,
    media=st.lists(media_descriptions, max_size=4).map(tuple),
)
lines = st.sampled_from(sorted({line for offer in OFFERS for line in offer.splitlines()}))


@st.composite
def mutations(draw: st.DrawFn, texts: list[str]) -> str:
    """A real description with lines dropped, added, exchanged, taken from others, or words changed."""
    found = draw(st.sampled_from(texts)).splitlines()
    for _ in range(draw(st.integers(1, 8))):
        # The version and origin lines stay: a fault there is found at once and hides the rest.
        index = draw(st.integers(2, len(found) - 1))
        match draw(st.integers(0, 5)):
            case 0 if len(found) > 3:
                del found[index]
            case 1:
                found.insert(index, draw(lines))
            case 2:
                found[index] = draw(lines)
            case 3:
                other = draw(st.integers(2, len(found) - 1))
                found[index], found[other] = found[other], found[index]
            case 4:
                cut = draw(st.integers(2, max(2, len(found[index]))))
                found[index] = found[index][:cut] + draw(st.text(max_size=8)) + found[index][cut + 1 :]
            case _:
                words = found[index].split(" ")
                place = draw(st.integers(0, len(words) - 1))
                words[place] = draw(st.sampled_from(["", "0", "-1", "99999999999", "*"]))
                found[index] = " ".join(words)
    return "\r\n".join(found)


def outgoing(result: publish.PublishAnswer) -> list[OutgoingMedia]:
    return [
        OutgoingMedia(
            key=media.mid,
            kind=media.kind,
            stream_id="PA",
            track_id="TR",
            codecs=media.offered_codecs(),
            ssrc=1,
            rtx_ssrc=2,
            cname="c",
        )
        for media in result.media
    ]


def answer(text: str) -> publish.PublishAnswer:
    return publish.answer(model.parse(text), LOCAL, session_id=1, version=1, accept=lambda mid, kind: None)


def reply(offer: str) -> str:
    return offer.replace("a=setup:actpass", "a=setup:active").replace("a=sendonly", "a=recvonly")


OFFERED = outgoing(answer((FIXTURES[0].parent / "chromium_simulcast.sdp").read_bytes().decode()))
REPLIES = [reply(SubscribeSession(7).plan(OFFERED, LOCAL).sdp)]


def negotiate(text: str) -> None:
    """Answer an offer and offer what it publishes to somebody else."""
    offer = model.parse(text)
    result = answer(text)
    assert model.parse(model.format(result.description)) == result.description
    assert [media.kind for media in result.description.media] == [media.kind for media in offer.media]
    planned = SubscribeSession(7).plan(outgoing(result), LOCAL)
    assert planned.sdp.isascii()
    assert planned.sdp.splitlines() == planned.sdp.split("\r\n")[:-1]
    assert len(planned.media) == len(result.media)


@given(descriptions)
def test_parse_reads_back_what_format_writes(description: SessionDescription) -> None:
    assert model.parse(model.format(description)) == description


@given(st.text(max_size=400))
def test_arbitrary_text_is_refused(text: str) -> None:
    with contextlib.suppress(ParseError):
        model.parse(text)


@given(st.lists(lines, max_size=40))
def test_shuffled_lines_are_answered_or_refused(found: list[str]) -> None:
    with contextlib.suppress(ParseError):
        negotiate("\r\n".join(["v=0", "o=- 1 1 IN IP4 0.0.0.0", *found]))


@settings(max_examples=300)
@given(mutations(OFFERS))
def test_mutated_offers_are_answered_or_refused(text: str) -> None:
    with contextlib.suppress(ParseError):
        negotiate(text)


@settings(max_examples=300)
@given(mutations(REPLIES))
def test_mutated_answers_are_taken_or_refused(text: str) -> None:
    session = SubscribeSession(7)
    session.plan(OFFERED, LOCAL)
    with contextlib.suppress(ParseError):
        result = session.apply_answer(text)
        keys = [media.key for media in result.media]
        assert sorted([*keys, *result.rejected, *result.inactive]) == sorted(one.key for one in OFFERED)
    assert model.parse(session.plan(OFFERED, LOCAL).sdp)
