"""M-lines of one subscriber go to whom they are needed for, and stay there."""

from __future__ import annotations

import random

from sfu.ids import ParticipantId, PublicationId
from sfu.media.attention import HOLD_US, MAX_SCREENS, Attention
from sfu.media.slots import Candidate, MLines, Slots

STEP_US = 20_000


class Cameras:
    """The pictures of a room, named after their people, and its clock."""

    def __init__(self, limit: int, people: int, swaps: int = 0) -> None:
        self.slots = Slots(limit, pictures=True, swaps=swaps or limit)
        self.attention = Attention()
        self.now_us = 0
        self.keys: set[str] = set()
        for person in range(people):
            self.add(str(person))
        self.changes = 0

    def add(self, person: str, name: str = "", *, screen: bool = False) -> PublicationId:
        key = PublicationId(name or person)
        self.keys.add(key)
        self.slots.add(Candidate(key=key, participant=ParticipantId(person), screen=screen))
        return key

    def wish(self, key: str, *, flows: bool = True, priority: int = 128, sized: bool = False) -> None:
        self.slots.change(PublicationId(key), flows=flows, priority=priority, sized=sized)

    def speak(self, *people: str, us: int = STEP_US) -> None:
        """These speak for so long; m-lines change hands meanwhile."""
        self.attention.follow(people)
        for _ in range(0, us, STEP_US):
            self.now_us += STEP_US
            self.attention.go_on(self.now_us)
            self.changes += len(self.slots.settle(self.attention, swap=True).lost)

    def shown(self) -> set[str]:
        return {key for key in self.keys if self.slots.holds(PublicationId(key))}


def test_everybody_has_one_while_there_are_enough() -> None:
    room = Cameras(4, 4)
    room.speak("3", "0", us=HOLD_US)
    assert (room.shown(), room.changes) == ({"0", "1", "2", "3"}, 0)
    assert not room.slots.crowded


def test_who_speaks_is_seen_and_the_longest_silent_leaves() -> None:
    room = Cameras(4, 8)
    assert room.shown() == {"0", "1", "2", "3"}
    room.speak("6")
    assert room.shown() == {"0", "1", "2", "6"}, "of those that never spoke the last gives way"
    room.speak("0")
    room.speak("2")
    room.speak("1")
    room.speak(us=HOLD_US)
    room.speak("7")
    assert room.shown() == {"0", "1", "2", "7"}


def test_a_dialogue_moves_nothing() -> None:
    room = Cameras(4, 8)
    for turn in range(50):
        room.speak(("5", "6", "7")[turn % 3], us=300_000)
    assert room.changes == 3
    assert {"5", "6", "7"} < room.shown()


def test_what_is_asked_for_goes_before_speakers() -> None:
    room = Cameras(4, 12)
    for person in "4567":
        room.wish(person, sized=True)
    room.wish("8", priority=200)
    room.speak("9", "10", us=HOLD_US)
    assert room.shown() == {"8", "4", "5", "6"}
    room.wish("8", priority=128)
    room.wish("4", sized=False)
    room.wish("5", sized=False)
    room.speak("9", "10", us=HOLD_US)
    assert {"9", "10"} < room.shown()


def test_what_is_muted_or_paused_gives_way_to_what_flows() -> None:
    room = Cameras(3, 5)
    room.wish("1", flows=False)
    room.speak()
    assert room.shown() == {"0", "2", "3"}
    room.wish("1", flows=True)
    room.speak(us=HOLD_US)
    assert room.shown() == {"0", "2", "3"}, "back among equals, it waits"


def test_a_silent_sound_takes_the_place_of_none_that_is_muted() -> None:
    sounds = Slots(2, pictures=False, swaps=2)
    for person in "abc":
        sounds.add(Candidate(key=PublicationId(person), participant=ParticipantId(person)))
    sounds.settle(Attention(), swap=True)
    sounds.change(PublicationId("a"), flows=False, priority=128, sized=False)
    assert sounds.settle(Attention(), swap=True).lost == ()


def test_what_leaves_makes_room() -> None:
    room = Cameras(3, 5)
    room.slots.remove(PublicationId("1"))
    room.slots.remove(PublicationId("4"))
    settled = room.slots.settle(room.attention, swap=False)
    assert settled.changed
    assert room.shown() == {"0", "2", "3"}


def test_screens_come_in_but_only_a_few() -> None:
    room = Cameras(8, 12)
    for number in range(MAX_SCREENS + 2):
        room.add(str(number), f"screen{number}", screen=True)
    room.speak()
    assert {each for each in room.shown() if each.startswith("s")} == {
        f"screen{number}" for number in range(MAX_SCREENS)
    }


def test_a_few_publishers_do_not_use_up_everybodys() -> None:
    room = Cameras(12, 0)
    for person in "ab":
        for number in range(8):
            room.add(person, f"{person}{number}")
    room.speak()
    for person in "cdefghij":
        room.add(person)
    room.speak()
    assert room.shown() == {"a0", "a1", "b0", "b1", *"cdefghij"}


def test_more_noise_than_m_lines_leaves_room_for_the_leading_speakers() -> None:
    room = Cameras(8, 20)
    noisy = [str(person) for person in range(2, 12)]
    room.speak(*noisy, us=HOLD_US)
    assert "15" not in room.shown()
    room.speak("15", *noisy)
    assert "15" in room.shown()


def test_a_noisy_crowd_does_not_make_m_lines_flap() -> None:
    rng, room = random.Random(5), Cameras(10, 100)
    order = [str(person) for person in range(100)]
    for _ in range(100):
        rng.shuffle(order)
        room.speak(*order[:40], us=200_000)
    leading = 10 // 4
    assert room.changes <= 100 * leading + 10, "only the leading speakers come in"


def test_few_change_hands_at_once() -> None:
    room = Cameras(10, 20, swaps=2)
    room.attention.follow(("10", "11", "12", "13", "14"))
    room.attention.go_on(STEP_US)
    before = room.shown()
    settled = [room.slots.settle(room.attention, swap=True) for _ in range(3)]
    assert [(len(each.lost), each.more) for each in settled] == [(2, True), (2, True), (1, False)]
    assert room.shown() - before == {"10", "11", "12", "13", "14"}


def test_sound_has_half_of_the_m_lines() -> None:
    lines = MLines(6)
    held = [
        lines.add(kind, Candidate(key=PublicationId(f"{kind}{person}"), participant=ParticipantId(person)))
        for kind in ("audio", "video")
        for person in "abcd"
    ]
    assert held == [True, True, False, False, True, True, True, False]
