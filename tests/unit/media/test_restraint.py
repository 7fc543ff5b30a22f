"""A subscription that fell back from a larger picture waits longer each time before it climbs again."""

from __future__ import annotations

from sfu.media.allocator import Wish, allocate
from sfu.media.plane import Layer
from sfu.media.restraint import Restraint

S = 1_000_000
SMALL, LARGE = Layer(0, 2), Layer(1, 2)


def failed_climb(restraint: Restraint, at_us: int) -> int:
    """Up, and down again a second later. Returns how long it is wary."""
    restraint.moved(SMALL, LARGE, at_us)
    assert restraint.wary_of(at_us) is None
    fell_us = at_us + S
    restraint.moved(LARGE, SMALL, fell_us)
    now_us = fell_us
    while restraint.wary_of(now_us) == LARGE.spatial:
        now_us += S
    assert restraint.wary_of(now_us) is None
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
    assert restraint.wary_of(130 * S) is None
    assert failed_climb(restraint, 200 * S) == 4 * S


def test_frame_rates_come_and_go_unnoticed_and_a_pause_counts() -> None:
    restraint = Restraint()
    restraint.moved(Layer(0, 0), SMALL, 0)
    restraint.moved(SMALL, Layer(0, 0), S)
    assert restraint.wary_of(S) is None
    restraint.moved(None, SMALL, 2 * S)
    restraint.moved(SMALL, None, 3 * S)
    assert restraint.wary_of(3 * S) == 0


def test_wariness_is_of_one_layer_and_gives_way_to_plenty_of_room() -> None:
    layers = ((Layer(0, 2), 100_000), (Layer(1, 2), 400_000), (Layer(2, 2), 1_000_000))
    wish = Wish("x", "video", 128, layers, current=Layer(0, 2), wary_of=1)
    assert allocate(500_000, (wish,)).layers["x"] == Layer(0, 2)
    assert allocate(650_000, (wish,)).layers["x"] == Layer(1, 2)
    assert allocate(1_130_000, (wish,)).layers["x"] == Layer(2, 2)
