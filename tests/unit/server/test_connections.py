"""Which connection gives way, and which session, where there are too many."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sfu.server.connections import Connections, Rank
from sfu.server.newcomers import Newcomer, Newcomers


class Guest:
    def __init__(self, host: str) -> None:
        self.host = host
        self.gone = False

    def give_way(self) -> None:
        self.gone = True


def come(table: Connections, host: str, rank: Rank = Rank.IDLE) -> Guest:
    assert table.make_place(host)
    guest = Guest(host)
    table.add(guest)
    table.rank(guest, rank)
    return guest


def test_who_has_shown_least_gives_way_and_of_those_the_oldest() -> None:
    table = Connections(100, 4)
    known, asking, idle, later = (
        come(table, "a", rank) for rank in (Rank.KNOWN, Rank.ASKING, Rank.IDLE, Rank.IDLE)
    )
    order = [idle, later, asking, known]
    for number, each in enumerate(order):
        come(table, "a", Rank.KNOWN)
        assert [guest.gone for guest in order] == [True] * (number + 1) + [False] * (3 - number), each


def test_what_becomes_idle_again_is_the_newest_of_the_idle() -> None:
    table = Connections(100, 2)
    first, second = come(table, "a"), come(table, "a")
    table.rank(first, Rank.ASKING)
    table.rank(first, Rank.IDLE)
    come(table, "a")
    assert (first.gone, second.gone) == (False, True)


def test_one_that_somebody_joined_over_neither_counts_nor_gives_way() -> None:
    table = Connections(100, 2)
    inside = [come(table, "school", Rank.ASKING) for _ in range(2)]
    for each in inside:
        table.hold(each)
    others = [come(table, "school") for _ in range(3)]
    assert [each.gone for each in (*inside, *others)] == [False, False, True, False, False]
    table.rank(inside[0], Rank.IDLE)
    table.remove(inside[0])
    assert len(table) == 3


def test_of_all_hosts_the_one_with_most_gives_way() -> None:
    table = Connections(6, 5)
    crowd = [come(table, "crowd") for _ in range(4)]
    pair = [come(table, "pair") for _ in range(2)]
    come(table, "new")
    assert [each.gone for each in (*crowd, *pair)] == [True, False, False, False, False, False]
    come(table, "crowd")
    assert sum(each.gone for each in crowd) == 2, "the crowd pays for its own"
    assert not any(each.gone for each in pair)


def test_where_all_hosts_have_as_much_only_what_is_idle_gives_way() -> None:
    table = Connections(2, 1)
    busy = [come(table, host, Rank.ASKING) for host in ("a", "b")]
    assert not table.make_place("c")
    table.rank(busy[1], Rank.IDLE)
    table.rank(busy[0], Rank.IDLE)
    assert table.make_place("c")
    assert [each.gone for each in busy].count(True) == 1


def test_nothing_gives_way_where_everybody_has_joined() -> None:
    table = Connections(1, 1)
    table.hold(come(table, "a"))
    assert not table.make_place("b")


def test_the_table_counts_right_whatever_happens() -> None:
    rng = random.Random(7)
    table = Connections(12, 4)
    there: list[Guest] = []
    held: set[int] = set()
    for _ in range(4000):
        host = rng.choice("abcdef")
        if rng.random() < 0.5 and table.make_place(host):
            there.append(Guest(host))
            table.add(there[-1])
        there = [each for each in there if not each.gone]
        if there:
            chosen = rng.choice(there)
            match rng.randrange(4):
                case 0:
                    table.remove(chosen)
                    there.remove(chosen)
                case 1 if len(held) < 6:
                    table.hold(chosen)
                    held.add(id(chosen))
                case _:
                    table.rank(chosen, rng.choice(list(Rank)))
        held &= {id(each) for each in there}
        counts = Counter(each.host for each in there if id(each) not in held)
        assert len(table) == len(there) <= 12
        assert {host: len(each) for host, each in table._hosts.items()} == counts
        assert table._largest == max(counts.values(), default=0) <= 4


@pytest.mark.parametrize("guarded", [True, False])
def test_sessions_that_have_not_joined_give_way(guarded: bool) -> None:
    ended: list[str] = []
    sessions = Newcomers(2, guarded=guarded)
    made = {name: Newcomer("host", lambda name=name: ended.append(name)) for name in "abcdef"}
    assert all(sessions.enter(made[name]) for name in "ab")
    sessions.joined(made["a"])
    assert sessions.enter(made["c"])
    assert ended == ([] if guarded else ["b"])
    sessions.joined(made["c"])
    assert sessions.enter(made["d"]) is guarded
    sessions.joined(made["b"])
    for name in "abcd":
        sessions.left(made[name])
    assert all(sessions.enter(made[name]) for name in "ef"), "all places are free again"
    for name in "ef":
        sessions.left(made[name])
    assert (sessions._waiting, sessions._joined, sessions._counted) == ({}, Counter(), set())
