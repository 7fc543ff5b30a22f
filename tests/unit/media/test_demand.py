from __future__ import annotations

import pytest

from sfu.media.demand import SHRINK_US, START_US, Demand, KnownEncoding, needed

Q, H, F = KnownEncoding("q", 320, 180), KnownEncoding("h", 640, 360), KnownEncoding("f", 1280, 720)
ALL = (F, Q, H)


@pytest.mark.parametrize(
    ("sizes", "rids"),
    [
        ([], ""),
        ([(0, 0)], "qhf"),
        ([(100, 100)], "q"),
        ([(320, 180)], "q"),
        ([(320, 181)], "qh"),
        ([(100, 0)], "q"),
        ([(100, 100), (640, 360)], "qh"),
        ([(1280, 720)], "qhf"),
        ([(4000, 3000)], "qhf"),
    ],
)
def test_what_covers_the_largest_picture_and_everything_below(
    sizes: list[tuple[int, int]], rids: str
) -> None:
    assert needed(ALL, sizes) == set(rids)


def test_every_quality_of_the_covering_size_is_needed() -> None:
    qualities = tuple(KnownEncoding(rid, 1280, 720) for rid in "lmh")
    assert needed((Q, *qualities), [(640, 360)]) == set("qlmh")
    assert needed((*qualities, KnownEncoding("x", 1920, 1080)), [(640, 360)]) == set("lmh")


def test_what_was_never_seen_may_be_of_use() -> None:
    assert needed((Q, KnownEncoding("f", 0, 0)), [(100, 100)]) == {"q", "f"}
    assert needed((KnownEncoding("", 0, 0),), []) == set()


def watch(demand: Demand, need: str, start_us: int, until_us: int) -> dict[int, str]:
    """When what is wanted changed, and to what."""
    changes = {}
    for now_us in range(start_us, until_us, 100_000):
        if demand.update(frozenset(need), now_us):
            changes[now_us] = "".join(rid for rid in demand.rids if rid in demand.wanted)
    return changes


def test_a_new_publication_is_left_alone_for_a_while() -> None:
    demand = Demand("qhf")
    assert demand.wanted == set("qhf")
    assert watch(demand, "", 7_000_000, 20_000_000) == {7_000_000 + START_US: ""}


def test_more_at_once_and_less_after_a_while() -> None:
    demand = Demand("qhf")
    assert watch(demand, "qhf", 0, 10_000_000) == {}
    assert watch(demand, "q", 10_000_000, 20_000_000) == {9_900_000 + SHRINK_US: "q"}
    assert watch(demand, "qh", 20_000_000, 20_100_000) == {20_000_000: "qh"}
    assert watch(demand, "", 20_100_000, 30_000_000) == {20_000_000 + SHRINK_US: ""}
    assert watch(demand, "qhf", 30_000_000, 40_000_000) == {30_000_000: "qhf"}


def test_a_short_look_away_changes_nothing() -> None:
    demand = Demand("qhf")
    watch(demand, "qhf", 0, 10_000_000)
    assert watch(demand, "", 10_000_000, 11_800_000) == {}
    assert watch(demand, "qhf", 11_800_000, 20_000_000) == {}
