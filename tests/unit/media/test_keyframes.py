from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sfu.ids import PublicationKey
from sfu.media.keyframes import KeyframeThrottle

MS = 1000
P1, P2 = PublicationKey(1), PublicationKey(2)


def requests(throttle: KeyframeThrottle, until_ms: int, *, start_ms: int = 0, step_ms: int = 10) -> list[int]:
    """Times in milliseconds at which a request for the first publication was due."""
    return [now for now in range(start_ms, until_ms, step_ms) if (P1, "h") in throttle.due(now * MS)]


def test_a_first_wish_is_served_at_once_and_merged() -> None:
    throttle = KeyframeThrottle(500 * MS)
    for _ in range(10):
        throttle.want(P1, "h")
    throttle.want(P1, "q")
    throttle.want(P2, "h")
    assert throttle.due(0) == [(P1, "h"), (P1, "q"), (P2, "h")]
    assert throttle.due(0) == []


def test_a_wish_within_the_interval_is_served_at_its_end() -> None:
    throttle = KeyframeThrottle(500 * MS)
    throttle.want(P1, "h")
    throttle.due(0)
    throttle.seen(P1, "h")
    assert throttle.due(100 * MS) == []
    throttle.want(P1, "h")
    assert throttle.due(499 * MS) == []
    assert throttle.due(500 * MS) == [(P1, "h")]


def test_an_unsatisfied_wish_is_repeated_with_back_off() -> None:
    throttle = KeyframeThrottle(100 * MS)
    throttle.want(P1, "h")
    assert requests(throttle, 3000) == [0, 100, 300, 700, 1500, 2300]


def test_a_keyframe_ends_the_repeats_and_the_back_off() -> None:
    throttle = KeyframeThrottle(100 * MS)
    throttle.want(P1, "h")
    assert requests(throttle, 800) == [0, 100, 300, 700]
    throttle.seen(P1, "h")
    assert throttle.wishes() == []
    assert requests(throttle, 2000, start_ms=800) == []
    throttle.want(P1, "h")
    assert throttle.wishes() == [(P1, "h")]
    assert requests(throttle, 2400, start_ms=2000) == [2000, 2100, 2300]


def test_what_has_ended_is_not_requested() -> None:
    throttle = KeyframeThrottle(100 * MS)
    for publication, rid in ((P1, "h"), (P1, "q"), (P2, "h")):
        throttle.want(publication, rid)
    throttle.forget(P1, "q")
    assert throttle.due(0) == [(P1, "h"), (P2, "h")]
    throttle.forget(P1)
    assert throttle.due(10**9) == [(P2, "h")]


def test_a_keyframe_nobody_waited_for_changes_nothing() -> None:
    throttle = KeyframeThrottle(100 * MS)
    throttle.seen(P1, "h")
    assert throttle.due(0) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["want", "seen", "due"])), max_size=80))
def test_requests_are_never_closer_than_the_interval(steps: list[tuple[int, str]]) -> None:
    throttle = KeyframeThrottle(100 * MS)
    now_us = 0
    served: list[int] = []
    for pause_ms, what in steps:
        now_us += pause_ms * MS
        if what == "want":
            throttle.want(P1, "")
        elif what == "seen":
            throttle.seen(P1, "")
        elif throttle.due(now_us):
            served.append(now_us)
    assert all(later - earlier >= 100 * MS for earlier, later in pairwise(served))
