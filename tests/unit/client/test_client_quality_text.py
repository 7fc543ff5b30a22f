"""The statistics message as typed values and as a line of text."""

from __future__ import annotations

from typing import Any

import pytest

from sfu_client import Layer, Participant, Publication, SubscriptionQuality

PARTICIPANT = Participant(id="PA_1", name="Gate")
PUBLICATION = Publication(id="TR_1", participant_id="PA_1", kind="video", source="camera")
MESSAGE: dict[str, Any] = {
    "bitrate_bps": 412_345,
    "fraction_lost": 0.0123,
    "lost": 7,
    "jitter_ms": 4.4,
    "rtt_ms": 35.6,
    "current": {"spatial": 1, "temporal": 2},
    "current_rid": "h",
    "estimate_bps": 1_240_000,
    "target": {"spatial": 1, "temporal": 2},
    "reason": "bandwidth",
}


def parse(**changes: Any) -> SubscriptionQuality:
    return SubscriptionQuality.parse(PUBLICATION, PARTICIPANT, MESSAGE | changes)


def test_every_value_is_typed() -> None:
    quality = parse()
    assert (quality.publication, quality.participant) == (PUBLICATION, PARTICIPANT)
    assert (quality.current, quality.target, quality.rid) == (Layer(1, 2), Layer(1, 2), "h")
    assert (quality.bitrate_bps, quality.estimate_bps, quality.reason) == (412_345, 1_240_000, "bandwidth")
    assert (quality.fraction_lost, quality.lost, quality.rtt_ms, quality.jitter_ms) == (0.0123, 7, 35.6, 4.4)


def test_what_is_not_known_is_none() -> None:
    quality = parse(
        current=None, current_rid="", target=None, estimate_bps=None, rtt_ms=None, reason="client"
    )
    assert (quality.current, quality.target, quality.estimate_bps, quality.rtt_ms) == (None,) * 4


def test_a_subscription_that_is_not_decided_yet_has_no_reason() -> None:
    undecided = {key: MESSAGE[key] for key in ("bitrate_bps", "fraction_lost", "lost", "jitter_ms")}
    assert SubscriptionQuality.parse(PUBLICATION, PARTICIPANT, undecided).reason == ""


def test_a_message_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError):
        SubscriptionQuality.parse(PUBLICATION, PARTICIPANT, {})


def test_the_line_says_it_all() -> None:
    assert str(parse()) == (
        "Gate camera: layer 1.2 (h) at 412 kbit/s, limited by: bandwidth, path carries 1.2 Mbit/s, loss 1.2%,"
        " RTT 36 ms, jitter 4 ms"
    )


def test_the_line_leaves_out_what_is_not_known() -> None:
    quality = parse(current=None, current_rid="", bitrate_bps=0, estimate_bps=None, rtt_ms=None, reason="")
    assert str(quality) == "Gate camera: nothing at 0 kbit/s, loss 1.2%, jitter 4 ms"
