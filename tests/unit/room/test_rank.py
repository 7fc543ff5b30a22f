"""Who moderates and owns nothing does nothing to an owner, from inside the room or from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from test_moderation import ROOMY, entered
from test_rooms import World, refused

from sfu.ids import ParticipantId, RoomName
from sfu.room import acts, commands
from sfu.room.model import BreakoutId, SessionKey
from sfu.room.permissions import GrantChanges, Grants, Role

ROOM = RoomName("r")
Upon = Callable[[ParticipantId, ParticipantId], commands.Command]

UPON_SOMEBODY: list[Upon] = [
    lambda by, target: acts.SetRole(by, target, "participant"),
    lambda by, target: acts.SetGrants(by, target, GrantChanges(chat=False)),
    lambda by, target: acts.MuteOthers(by, target, "microphone"),
    lambda by, target: acts.AssignBreakout(by, (target,), BreakoutId(1)),
    lambda by, target: acts.Erase(by, f"stroke of {target}"),
    lambda by, target: acts.Remove(by, target),
]


class Lesson(World):
    """An owner, a moderator and a student, each of whom has drawn; there is one breakout room."""

    def __init__(self) -> None:
        super().__init__(ROOMY)
        self.ann = entered(self, "ann", "owner")
        self.mia = entered(self, "mia", "participant", moderate=True)
        self.ben = entered(self, "ben", "participant")
        self.do(acts.OpenBreakouts(self.ann, ("One",)))
        for each in (self.ann, self.mia, self.ben):
            self.published(each, "microphone")
            self.do(acts.Draw(each, f"stroke of {each}", "#000000", 4, ((1, 1),)))


@pytest.mark.parametrize("upon", UPON_SOMEBODY)
def test_only_an_owner_acts_upon_an_owner(upon: Upon) -> None:
    lesson = Lesson()
    assert refused(lesson, upon(lesson.mia, lesson.ann)) == "not_allowed"
    lesson.do(upon(lesson.mia, lesson.ben))
    second = entered(lesson, "zoe", "owner")
    lesson.do(acts.Draw(second, f"stroke of {second}", "#000000", 4, ((1, 1),)))
    lesson.do(upon(lesson.ann, second))


@pytest.mark.parametrize("upon", UPON_SOMEBODY)
def test_who_acts_from_outside_has_a_rank_too(upon: Upon) -> None:
    lesson = Lesson()
    act = upon(commands.OPERATOR, lesson.ann)
    if isinstance(act, acts.Erase):
        return
    assert isinstance(act, commands.FromOutside)
    command = commands.Operate(
        room=ROOM, identity="tool", name="Tool", role="participant", grants=Grants(moderate=True), command=act
    )
    assert refused(lesson, command) == "not_allowed"
    lesson.do(replace(command, role="owner"))


def test_several_are_moved_together_or_not_at_all() -> None:
    lesson = Lesson()
    act = acts.AssignBreakout(lesson.mia, (lesson.ben, lesson.ann), BreakoutId(1))
    assert refused(lesson, act) == "not_allowed"
    assert lesson.rooms.room(ROOM).participants[lesson.ben].breakout is None


def test_all_are_muted_but_owners_even_one_that_does_not_moderate() -> None:
    lesson = Lesson()
    lesson.do(acts.SetGrants(lesson.ann, lesson.ann, GrantChanges(moderate=False)))
    lesson.do(acts.MuteOthers(lesson.mia, None, "microphone"))
    muted = {
        each.name: [publication.muted for publication in each.publications.values()]
        for each in lesson.rooms.room(ROOM).participants.values()
    }
    assert muted == {"ann": [False], "mia": [False], "ben": [True]}


def test_an_owner_that_waits_is_not_turned_away_by_others() -> None:
    lesson = Lesson()
    lesson.do(acts.SetRoom(lesson.ann, None, True))
    roles: dict[str, Role] = {"zoe": "owner", "cid": "participant"}
    for name, role in roles.items():
        lesson.sessions += 1
        join = commands.Join(
            session=SessionKey(lesson.sessions), room=ROOM, name=name, identity=name, role=role,
            grants=GrantChanges(moderate=False),
        )  # fmt: skip
        lesson.do(join)
    zoe, cid = lesson.rooms.room(ROOM).lobby.ids(Grants(moderate=True))
    assert refused(lesson, acts.Deny(lesson.mia, zoe)) == "not_allowed"
    lesson.do(acts.Deny(lesson.mia, cid))
    lesson.do(acts.Deny(lesson.ann, zoe))
