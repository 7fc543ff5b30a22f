from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sfu.ids import SubscriptionKey
from sfu.media.attention import (
    HOLD_US,
    MAX_SCREENS,
    NEVER_US,
    Attention,
    Candidate,
    beyond,
    beyond_places,
    rank,
)


def candidates(*spoke_us: int, priority: int = 128) -> list[Candidate]:
    return [Candidate(SubscriptionKey(index), priority, each) for index, each in enumerate(spoke_us)]


def test_a_speaker_stays_one_for_a_moment() -> None:
    attention = Attention()
    assert attention.follow(("ann",))
    attention.go_on(1_000_000)
    assert attention.speaks("ann", 1_000_000 + HOLD_US - 1)
    assert not attention.speaks("ann", 1_000_000 + HOLD_US)
    assert attention.spoke_us("ann") == 1_000_000
    assert attention.spoke_us("ben") == NEVER_US
    assert not attention.speaks("ben", 0)
    attention.forget("ann")
    assert attention.spoke_us("ann") == NEVER_US


def test_who_was_silent_longest_is_left_out() -> None:
    assert beyond(candidates(30, NEVER_US, 10, 20), 3) == {1}
    assert beyond(candidates(30, NEVER_US, 10, 20), 2) == {1, 2}


def test_those_who_never_spoke_keep_their_places() -> None:
    assert beyond(candidates(*[NEVER_US] * 5), 3) == {3, 4}
    assert beyond(candidates(*[NEVER_US] * 4, 7), 3) == {2, 3}


def test_no_limit_and_room_enough() -> None:
    assert beyond(candidates(1, 2, 3), 0) == frozenset()
    assert beyond(candidates(1, 2, 3), 3) == frozenset()


def test_what_the_subscriber_asked_for_goes_before_who_speaks() -> None:
    pinned = Candidate(SubscriptionKey(9), 200, NEVER_US)
    assert 9 not in beyond([*candidates(30, 20, 10), pinned], 1)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(-1, 100))), st.integers(1, 10))
def test_exactly_the_number_allowed_is_kept(entries: list[tuple[int, int]], limit: int) -> None:
    some = [Candidate(SubscriptionKey(index), *entry) for index, entry in enumerate(entries)]
    left_out = beyond(some, limit)
    assert len(some) - len(left_out) == min(len(some), limit)
    # Who speaks now is kept, where not more speak, and none is preferred to another.
    equals = [Candidate(each.key, 128, each.spoke_us) for each in some]
    speaking = {each.key for each in equals if each.spoke_us == 100}
    if len(speaking) <= limit:
        assert speaking.isdisjoint(beyond(equals, limit))


def test_priority_then_screens_then_speakers() -> None:
    order = [
        rank(129, screen=False, speaks=False),
        rank(128, screen=True, speaks=False),
        rank(128, screen=False, speaks=True),
        rank(128, screen=False, speaks=False),
        rank(127, screen=True, speaks=True),
    ]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == len(order)


def test_the_first_of_those_who_speak_counts_as_the_last_heard() -> None:
    attention = Attention()
    assert attention.follow(("ann", "ben"))
    assert not attention.follow(("ben",)), "one has stopped"
    assert attention.follow(("ben", "ann"))
    assert attention.follow(("ann", "ben")), "they changed places"
    attention.go_on(1_000_000)
    assert attention.spoke_us("ann") > attention.spoke_us("ben")


def test_a_few_screens_take_no_place_and_more_of_them_do() -> None:
    people = candidates(30, 20, 10)
    screens = [Candidate(SubscriptionKey(50 + number), 128, NEVER_US) for number in range(MAX_SCREENS + 2)]
    assert beyond_places(people, screens[:MAX_SCREENS], 3) == frozenset()
    surplus = {each.key for each in screens[MAX_SCREENS:]}
    assert beyond_places(people, screens, 3) == surplus
    assert beyond_places(people, screens, 4) == {max(surplus)}
