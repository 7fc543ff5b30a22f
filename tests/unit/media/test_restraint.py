"""A subscription that fell back from a larger picture waits longer each time before it climbs again."""

from __future__ import annotations

from sfu.media.allocator import UP_MARGIN_PERCENT
from sfu.media.plane import Layer
from sfu.media.restraint import WARY_MARGIN_PERCENT, Restraint

S = 1_000_000
SMALL, LARGE = Layer(0, 2), Layer(1, 2)


def failed_climb(restraint: Restraint, at_us: int) -> int:
    """Up, and down again a second later. Returns how long it is wary."""
    restraint.moved(SMALL, LARGE, at_us)
    assert restraint.margin_percent(at_us) == UP_MARGIN_PERCENT
    fell_us = at_us + S
    restraint.moved(LARGE, SMALL, fell_us)
    now_us = fell_us
    while restraint.margin_percent(now_us) == WARY_MARGIN_PERCENT:
        now_us += S
    assert restraint.margin_percent(now_us) == UP_MARGIN_PERCENT
    return now_us - fell_us


def test_each_failed_climb_doubles_the_wait_up_to_a_minute() -> None:
    restraint = Restraint()
    waits = [failed_climb(restraint, number * 100 * S) // S for number in range(6)]
    assert waits == [4, 8, 16, 32, 60, 60]


def test_a_layer_that_was_held_for_long_is_lost_without_suspicion() -> None:
    restraint = Restraint()
    assert failed_climb(restraint, 0) == 4 * S
    restraint.moved(SMALL, LARGE, 100 * S)
    restraint.moved(LARGE, SMALL, 130 * S)
    assert restraint.margin_percent(130 * S) == UP_MARGIN_PERCENT
    assert failed_climb(restraint, 200 * S) == 4 * S


def test_frame_rates_come_and_go_unnoticed_and_a_pause_counts() -> None:
    restraint = Restraint()
    restraint.moved(Layer(0, 0), SMALL, 0)
    restraint.moved(SMALL, Layer(0, 0), S)
    assert restraint.margin_percent(S) == UP_MARGIN_PERCENT
    restraint.moved(None, SMALL, 2 * S)
    restraint.moved(SMALL, None, 3 * S)
    assert restraint.margin_percent(3 * S) == WARY_MARGIN_PERCENT
