"""Allocation: what people would call fair and calm, held for any wishes by hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.media.allocator import UP_MARGIN_PERCENT, Allocation, Wish, allocate
from sfu.media.plane import Layer

LOW, MID, HIGH = Layer(0, 0), Layer(1, 0), Layer(2, 0)
CAMERA = ((LOW, 150_000), (MID, 500_000), (HIGH, 1_700_000))


def camera(key: str, priority: int = 128, **changes: object) -> Wish[str]:
    return replace(Wish(key, "video", priority, CAMERA), **changes)  # type: ignore[arg-type]


def audio(key: str, bps: int = 32_000) -> Wish[str]:
    return Wish(key, "audio", 0, ((LOW, bps),))


def test_audio_is_given_even_without_a_budget() -> None:
    result = allocate(0, [camera("a"), audio("b"), audio("c")])
    assert result.layers == {"a": None, "b": LOW, "c": LOW}
    assert result.spent_bps == 64_000
    assert result.starved == {"a"}


def test_audio_is_paid_before_video() -> None:
    wishes = [camera("a", current=LOW), audio("b")]
    assert allocate(181_999, wishes).layers["a"] is None
    assert allocate(182_000, wishes).layers["a"] == LOW


def test_a_bad_picture_for_all_before_a_good_one_for_anybody() -> None:
    result = allocate(700_000, [camera("a", 255), camera("b"), camera("c"), camera("d")])
    assert set(result.layers.values()) == {LOW}


def test_when_not_all_fit_the_highest_priority_stays() -> None:
    result = allocate(400_000, [camera("a", 10), camera("b", 30), camera("c", 20)])
    assert result.layers == {"a": None, "b": LOW, "c": LOW}
    assert result.starved == {"a"}


def test_the_speaker_is_raised_first_then_the_others_in_turn() -> None:
    wishes = [camera("a"), camera("speaker", 200), camera("b")]
    assert allocate(2_300_000, wishes).layers == {"a": LOW, "speaker": HIGH, "b": LOW}
    assert allocate(3_100_000, wishes).layers == {"a": MID, "speaker": HIGH, "b": MID}


def test_equals_climb_together() -> None:
    assert allocate(2_000_000, [camera("a"), camera("b")]).layers == {"a": MID, "b": MID}


def test_room_the_first_cannot_use_goes_to_the_next() -> None:
    result = allocate(1_300_000, [camera("speaker", 200), camera("a")])
    assert result.layers == {"speaker": MID, "a": MID}


def test_an_up_switch_needs_a_margin_and_a_current_layer_none() -> None:
    cost = 500_000
    assert allocate(cost + 1, [camera("a", current=LOW)]).layers["a"] == LOW
    assert allocate(cost * (100 + UP_MARGIN_PERCENT) // 100, [camera("a", current=LOW)]).layers["a"] == MID
    assert allocate(cost, [camera("a", current=MID)]).layers["a"] == MID
    assert allocate(cost - 1, [camera("a", current=MID)]).layers["a"] == LOW


def test_nothing_above_the_wished_size() -> None:
    result = allocate(10_000_000, [camera("a", max_layer=Layer(1, 2))])
    assert result.layers["a"] == MID
    assert result.wanted_bps == 500_000 * (100 + UP_MARGIN_PERCENT) // 100


def test_too_large_a_picture_when_there_is_no_smaller() -> None:
    wish = Wish("a", "video", 1, ((HIGH, 100_000),), max_layer=LOW)
    assert allocate(200_000, [wish]).layers["a"] == HIGH


def test_a_layer_dearer_than_a_better_one_is_not_chosen() -> None:
    still_screen = Wish("a", "video", 1, ((LOW, 90_000), (MID, 250_000), (HIGH, 200_000)))
    assert allocate(240_000, [still_screen]).layers["a"] == HIGH


def test_what_does_not_flow_is_neither_chosen_nor_starved() -> None:
    result = allocate(1_000_000, [Wish("a", "video", 1, ())])
    assert result == Allocation(layers={"a": None}, starved=frozenset(), spent_bps=0, wanted_bps=0)


# --- for any wishes ------------------------------------------------------------------------------


@st.composite
def wish_lists(draw: st.DrawFn) -> list[Wish[int]]:
    wishes = []
    for key in range(draw(st.integers(0, 6))):
        if draw(st.integers(0, 3)) == 0:
            wishes.append(Wish(key, "audio", 0, ((LOW, draw(st.integers(6_000, 64_000))),)))
            continue
        layers = tuple(
            (Layer(spatial, temporal), draw(st.integers(0, 3_000_000)))
            for spatial in range(draw(st.integers(0, 3)))
            for temporal in range(draw(st.integers(1, 3)))
        )
        some_layer = st.none() | st.builds(Layer, st.integers(0, 2), st.integers(0, 2))
        wishes.append(Wish(key, "video", draw(st.integers(0, 3)), layers, draw(some_layer), draw(some_layer)))
    return wishes


def with_current(wishes: list[Wish[int]], result: Allocation[int]) -> list[Wish[int]]:
    return [replace(wish, current=result.layers[wish.key]) for wish in wishes]


def cost(wish: Wish[int], layer: Layer | None) -> int:
    return 0 if layer is None else dict(wish.layers)[layer]


def ranks(wishes: list[Wish[int]], result: Allocation[int]) -> list[int]:
    """0 for nothing, else one more than the layer's place, for video in order of priority."""
    video = sorted((wish for wish in wishes if wish.kind == "video"), key=lambda wish: -wish.priority)
    return [
        0 if (layer := result.layers[wish.key]) is None else [x for x, _ in wish.layers].index(layer) + 1
        for wish in video
    ]


budgets = st.integers(0, 12_000_000)


@given(budgets, wish_lists())
def test_the_budget_is_never_exceeded_but_for_audio(budget: int, wishes: list[Wish[int]]) -> None:
    result = allocate(budget, wishes)
    spent = {wish.key: cost(wish, result.layers[wish.key]) for wish in wishes}
    assert sum(spent.values()) == result.spent_bps
    audio_bps = sum(spent[wish.key] for wish in wishes if wish.kind == "audio")
    assert result.spent_bps <= max(budget, audio_bps)
    assert all(result.layers[wish.key] == LOW for wish in wishes if wish.kind == "audio")


@given(budgets, budgets, wish_lists())
def test_more_budget_is_never_worse(one: int, other: int, wishes: list[Wish[int]]) -> None:
    """First comes who is seen at all, then who better: a loss always pays for a gain that goes before."""
    smaller, larger = (allocate(budget, wishes) for budget in sorted((one, other)))
    seen_before = [rank > 0 for rank in ranks(wishes, smaller)]
    seen_after = [rank > 0 for rank in ranks(wishes, larger)]
    assert seen_before <= seen_after
    if seen_before != seen_after:
        return
    for priority in sorted({wish.priority for wish in wishes}, reverse=True):
        equals = [wish for wish in wishes if wish.priority == priority]
        before, after = ranks(equals, smaller), ranks(equals, larger)
        if before != after:
            assert any(b < a for b, a in zip(before, after, strict=True))
            break


@given(wish_lists(), budgets, budgets)
def test_one_alone_is_monotone(wishes: list[Wish[int]], one: int, other: int) -> None:
    for wish in wishes:
        smaller, larger = (allocate(budget, [wish]) for budget in sorted((one, other)))
        assert ranks([wish], smaller) <= ranks([wish], larger)


@given(budgets, wish_lists())
def test_what_was_allocated_stays_while_it_fits(budget: int, wishes: list[Wish[int]]) -> None:
    result = allocate(budget, wishes)
    again = with_current(wishes, result)
    assert allocate(budget, again) == result
    if result.spent_bps <= budget:
        assert allocate(result.spent_bps, again).layers == result.layers


@settings(max_examples=150)
@given(st.integers(100_000, 12_000_000), wish_lists(), st.lists(st.integers(0, 100), min_size=8, max_size=8))
def test_an_estimate_that_saws_does_not_flap(budget: int, wishes: list[Wish[int]], saw: list[int]) -> None:
    """Within the margin of one another, budgets stop making changes after at most one round."""
    low = budget * 100 // (100 + UP_MARGIN_PERCENT) + 1
    audio_bps = sum(wish.layers[0][1] for wish in wishes if wish.kind == "audio")
    low, budget = low + audio_bps, budget + audio_bps
    for settle in (low, budget, low):
        wishes = with_current(wishes, allocate(settle, wishes))
    settled = allocate(low, wishes).layers
    for part in saw:
        result = allocate(low + (budget - low) * part // 100, wishes)
        assert result.layers == settled
        wishes = with_current(wishes, result)


@given(budgets, wish_lists())
def test_the_lowest_layer_is_kept_from_nobody_by_a_lower_priority(
    budget: int, wishes: list[Wish[int]]
) -> None:
    """With equal costs and nothing running, whoever is starved has no lower priority below it served."""
    wishes = [replace(wish, layers=CAMERA if wish.layers else (), current=None, max_layer=None)
              for wish in wishes if wish.kind == "video"]  # fmt: skip
    result = allocate(budget, wishes)
    for starved in (wish for wish in wishes if wish.key in result.starved):
        for other in wishes:
            assert other.priority >= starved.priority or result.layers[other.key] is None


@given(wish_lists())
def test_what_is_wanted_is_enough_and_a_little_less_is_not_more(wishes: list[Wish[int]]) -> None:
    wanted = allocate(0, wishes).wanted_bps
    satisfied = allocate(wanted, wishes)
    assert not satisfied.starved
    assert satisfied.layers == allocate(10 * wanted + 1, wishes).layers
    assert allocate(wanted // 3, wishes).wanted_bps == wanted


@given(budgets, wish_lists())
def test_deterministic(budget: int, wishes: list[Wish[int]]) -> None:
    assert allocate(budget, wishes) == allocate(budget, list(wishes))


def test_many_thumbnails_share_what_there_is() -> None:
    count = 50
    result = allocate(3_000_000, [camera(str(index)) for index in range(count)])
    assert len(result.starved) == count - 3_000_000 * 100 // (100 + UP_MARGIN_PERCENT) // 150_000
