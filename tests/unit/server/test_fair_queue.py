"""A bounded queue that whoever floods it shares with the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sfu.server.fair_queue import FairQueue


def test_the_source_with_most_in_it_loses_its_oldest() -> None:
    queue: FairQueue[str] = FairQueue(4)
    for each in ("x0", "a1", "x1", "a2"):
        assert queue.put(each, each[0]) is None
    assert queue.put("a3", "a") == "a1"
    assert [queue.popleft() for _ in range(4)] == ["x0", "x1", "a2", "a3"]


def test_what_is_weighty_gives_way_last_and_the_first_never() -> None:
    queue: FairQueue[str] = FairQueue(2)
    queue.put("first", "a")
    for each in ("w1", "w2"):
        queue.put(each, "a", weighty=True)
    assert queue.put("light", "b") == "light"
    assert [queue.popleft() for _ in range(2)] == ["first", "w2"]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60), st.integers(1, 10))
def test_order_holds_and_nobody_loses_while_another_has_more(puts: list[tuple[int, bool]], most: int) -> None:
    queue: FairQueue[tuple[int, int, bool]] = FairQueue(most)
    held: list[tuple[int, int, bool]] = []
    for number, (source, weighty) in enumerate(puts):
        thing = (number, source, weighty)
        held.append(thing)
        dropped = queue.put(thing, source, weighty=weighty)
        assert (dropped is not None) == (len(held) > most)
        if dropped is not None:
            rest = held[1:]
            light = [each for each in rest if not each[2]] or rest
            share = [each for each in light if each[1] == dropped[1] and each[2] == dropped[2]]
            sizes = [sum(e[1] == s and e[2] == dropped[2] for e in light) for s in range(4)]
            assert dropped == share[0]
            assert len(share) == max(sizes)
            held.remove(dropped)
        assert len(queue) == len(held)
    assert [queue.popleft() for _ in range(len(queue))] == held
