"""SRTP held against libsrtp itself, in both directions and over the wrap of sequence numbers."""

from __future__ import annotations

import random

import pylibsrtp
import pytest
from plane_harness import Secured, rtp

from sfu.errors import ParseError
from sfu.media.plane import SrtpProfile
from sfu.media.srtp import SrtpReceiver, SrtpSender
from sfu.rtp.packet import parse_packet
from sfu.rtp.rtcp import ReceiverReport, parse_compound, serialize

PROFILES: list[SrtpProfile] = ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES128_CM_SHA1_80"]
KEPT = 64


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_sent_is_read_by_libsrtp_over_three_wraps(profile: SrtpProfile) -> None:
    peer = Secured(5, profile)
    stream = SrtpSender(peer.keys).stream(77)
    rng = random.Random(5)
    ext_seq = 0x7FF0
    while ext_seq < 0x30010:
        packet = rtp(77, ext_seq, 3 * ext_seq, rng.randbytes(rng.randrange(200)))
        protected = stream.protect(ext_seq, packet[:12], packet[12:])
        assert protected != packet
        assert peer.inbound.unprotect(protected) == packet
        ext_seq += rng.randrange(1, 2000)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_late_packet_of_before_the_wrap_is_read_too(profile: SrtpProfile) -> None:
    peer = Secured(6, profile)
    stream = SrtpSender(peer.keys).stream(8)
    for ext_seq in (0xFFFD, 0xFFFE, 0x10001, 0xFFFF, 0x10000):
        packet = rtp(8, ext_seq, 1, b"late")
        assert peer.inbound.unprotect(stream.protect(ext_seq, packet[:12], b"late")) == packet


@pytest.mark.parametrize("profile", PROFILES)
def test_two_streams_of_one_sender_do_not_disturb_each_other(profile: SrtpProfile) -> None:
    peer = Secured(7, profile)
    sender = SrtpSender(peer.keys)
    streams = {ssrc: sender.stream(ssrc) for ssrc in (1, 0xFFFFFFFF)}
    for seq in range(50):
        for ssrc, stream in streams.items():
            packet = rtp(ssrc, seq, 1, b"x" * seq)
            assert peer.inbound.unprotect(stream.protect(seq, packet[:12], packet[12:])) == packet


@pytest.mark.parametrize("profile", PROFILES)
def test_replays_are_refused_and_so_are_forgeries(profile: SrtpProfile) -> None:
    peer = Secured(8, profile)
    receiver = SrtpReceiver(peer.keys)
    datagrams = [peer.outbound.protect(rtp(5, seq, 1, b"abcdef")) for seq in range(3000)]
    for datagram in (*datagrams[:50], *datagrams[60:]):
        receiver.unprotect(datagram)
    for replayed in (datagrams[0], datagrams[2990], datagrams[2999]):
        with pytest.raises(ParseError) as caught:
            receiver.unprotect(replayed)
        assert caught.value.reason == "srtp-replay"
    forged = peer.outbound.protect(rtp(5, 3000, 1, b"abcdef"))
    forged = forged[:-1] + bytes((forged[-1] ^ 1,))
    with pytest.raises(ParseError) as caught:
        receiver.unprotect(forged)
    assert caught.value.reason == "srtp-authentication"
    with pytest.raises(ParseError):
        receiver.unprotect(datagrams[55])  # never seen, but 2944 packets old: outside of the window


@pytest.mark.parametrize("profile", PROFILES)
def test_a_packet_as_late_as_the_window_allows_is_taken(profile: SrtpProfile) -> None:
    peer = Secured(9, profile)
    receiver = SrtpReceiver(peer.keys)
    late = peer.outbound.protect(rtp(5, 1, 1, b"late"))
    for seq in range(2, 1000):
        receiver.unprotect(peer.outbound.protect(rtp(5, seq, 1, b"x")))
    assert parse_packet(receiver.unprotect(late)).payload == b"late"


@pytest.mark.parametrize("profile", PROFILES)
def test_rtcp_goes_both_ways_once(profile: SrtpProfile) -> None:
    peer = Secured(10, profile)
    sender, receiver = SrtpSender(peer.keys), SrtpReceiver(peer.keys)
    report = ReceiverReport(9, ())
    assert parse_compound(peer.inbound.unprotect_rtcp(sender.protect_rtcp(serialize([report])))) == [report]
    datagram = peer.outbound.protect_rtcp(serialize([report]))
    assert parse_compound(receiver.unprotect_rtcp(datagram)) == [report]
    with pytest.raises(ParseError) as caught:
        receiver.unprotect_rtcp(datagram)
    assert caught.value.reason == "srtp-replay"


@pytest.mark.parametrize("kind", ["rtp", "rtcp"])
def test_state_of_unwanted_ssrcs_is_bounded_and_that_of_wanted_ones_stays(kind: str) -> None:
    peer = Secured(11, "AEAD_AES_128_GCM")
    wanted = {1}
    receiver = SrtpReceiver(peer.keys, wanted)
    first = peer.outbound.protect(rtp(1, 1, 1, b"mine"))
    receiver.unprotect(first)
    newest = b""
    for ssrc in range(100, 1100):
        if kind == "rtp":
            newest = peer.outbound.protect(rtp(ssrc, 1, 1, b""))
            receiver.unprotect(newest)
        else:
            receiver.unprotect_rtcp(peer.outbound.protect_rtcp(serialize([ReceiverReport(ssrc, ())])))
    assert len(receiver._known) <= KEPT + 1
    with pytest.raises(ParseError):
        receiver.unprotect(first)  # still known to be a replay
    if kind == "rtp":
        with pytest.raises(ParseError):
            receiver.unprotect(newest)
    # A stream that is wanted no more goes like the others.
    wanted.clear()
    for ssrc in range(2000, 2000 + 2 * KEPT):
        receiver.unprotect(peer.outbound.protect(rtp(ssrc, 1, 1, b"")))
    assert (1).to_bytes(4, "big") not in receiver._known


@pytest.mark.parametrize("profile", PROFILES)
def test_no_bytes_raise_anything_but_a_parse_error(profile: SrtpProfile) -> None:
    peer = Secured(12, profile)
    receiver = SrtpReceiver(peer.keys)
    rng = random.Random(12)
    for size in (*range(40), 1500, 2048, 5000, 65_535):
        for first in (0x80, 0x90, 0xBF, 0x00):
            garbage = (bytes((first,)) + rng.randbytes(size))[:size]
            for unprotect in (receiver.unprotect, receiver.unprotect_rtcp):
                with pytest.raises(ParseError):
                    unprotect(garbage)


def test_libsrtp_is_asked_for_replay_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    policies: list[pylibsrtp.Policy] = []
    session = pylibsrtp.Session

    def noting(policy: pylibsrtp.Policy) -> pylibsrtp.Session:
        policies.append(policy)
        return session(policy)

    monkeypatch.setattr("sfu.media.srtp.pylibsrtp.Session", noting)
    SrtpReceiver(Secured(13, "AEAD_AES_128_GCM").keys)
    policy = policies[-1]
    assert (policy.window_size, policy.allow_repeat_tx) == (1024, False)
