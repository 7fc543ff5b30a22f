"""Chat in the room core: a stand-in for the store says at once, later or never that a change is durable."""

from __future__ import annotations

import random

import pytest

from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import commands, effects
from sfu.room.chat import MAX_EMOJI, MAX_REACTIONS
from sfu.room.effects import Announce, ChatToStore, Effect
from sfu.room.model import ChatHistory, ChatMessage, ChatNews, Instant, Limits, SessionKey
from sfu.room.permissions import GrantChanges, Role
from sfu.room.registry import Rooms

ROOM = RoomName("r")


class World:
    """One room; what is to be stored waits in `waiting` until `store` is called."""

    def __init__(self, capacity: int = 200, history: ChatHistory | None = None) -> None:
        self.rooms = Rooms(Limits(chat_history=capacity), random.Random(1))
        self.history = history or ChatHistory()
        self.us = 0
        self.waiting: list[ChatToStore] = []

    def do(self, command: commands.Command) -> list[Effect]:
        done = self.rooms.apply(command, Instant(self.us, 1_000 + self.us // 1000))
        self.waiting += [effect for effect in done if isinstance(effect, ChatToStore)]
        return done

    def welcome(
        self, identity: str, after: int | None = None, role: Role = "participant", **rights: bool
    ) -> effects.Welcome:
        command = commands.Join(
            session=SessionKey(1), room=ROOM, name=identity.title(), identity=identity,
            role=role, grants=GrantChanges(**rights), chat_after=after, chat=self.history,
        )  # fmt: skip
        return next(effect for effect in self.do(command) if isinstance(effect, effects.Welcome))

    def join(self, identity: str, role: Role = "participant", **rights: bool) -> ParticipantId:
        return self.welcome(identity, None, role, **rights).participant.id

    def news(self, identity: str, after: int | None = None) -> ChatNews:
        return self.welcome(identity, after).chat

    def store(self) -> list[tuple[tuple[ParticipantId, ...], effects.Event]]:
        """Everything that waits is durable now: who is told what."""
        told: list[tuple[tuple[ParticipantId, ...], effects.Event]] = []
        for each in self.waiting:
            done = self.do(commands.ChatStored(each.room, each.message, each.change, each.by))
            told += [(effect.to, effect.event) for effect in done if isinstance(effect, Announce)]
        self.waiting.clear()
        return told

    def say(self, who: ParticipantId, text: str, to: ParticipantId | None = None) -> ChatMessage:
        """Send and store."""
        self.do(commands.SendChat(who, text, to))
        message = self.waiting[-1].message
        self.store()
        return message


def refused(world: World, command: commands.Command) -> str:
    with pytest.raises(RequestError) as caught:
        world.do(command)
    return caught.value.code


def texts(news: ChatNews) -> list[str]:
    return [message.text for message in news.messages]


def test_nobody_is_told_before_it_is_stored_and_then_all_others() -> None:
    world = World()
    ann, ben = world.join("ann"), world.join("ben")
    assert not any(isinstance(effect, Announce) for effect in world.do(commands.SendChat(ann, "hi")))
    assert texts(world.news("cat")) == []
    ((to, event),) = world.store()
    assert isinstance(event, effects.ChatSent)
    assert to[0] == ben
    assert len(to) == 2, "who came meanwhile is told too"
    assert (event.message.id, event.message.rev, event.message.identity) == (1, 1, "ann")
    assert texts(world.news("dan")) == ["hi"]


def test_what_was_lost_is_never_told_and_its_number_is_left_out() -> None:
    world = World()
    ann = world.join("ann")
    world.do(commands.SendChat(ann, "lost"))
    (lost,) = world.waiting
    world.waiting.clear()
    assert world.do(commands.ChatLost(ROOM, lost.message)) == []
    assert world.say(ann, "kept").id == 2
    assert texts(world.news("ben")) == ["kept"]
    assert refused(world, commands.EditChat(ann, 1, "x")) == "not_found"


def test_a_private_message_is_for_two_people() -> None:
    world = World()
    ann, ben, _cat = world.join("ann"), world.join("ben"), world.join("cat")
    world.do(commands.SendChat(ann, "psst", ben))
    ((to, _),) = world.store()
    assert to == (ben,)
    assert texts(world.news("cat")) == []
    assert texts(world.news("ben")) == texts(world.news("ann")) == ["psst"]
    assert refused(world, commands.ReactChat(world.join("eve"), 1, "👍", True)) == "not_found"
    assert refused(world, commands.SendChat(world.join("ann"), "x", ParticipantId("PA_no"))) == "not_found"


def test_own_messages_are_edited_and_deleted() -> None:
    world = World()
    ann, ben = world.join("ann"), world.join("ben")
    world.say(ann, "first")
    world.us = 5_000_000
    world.do(commands.EditChat(ann, 1, "second"))
    ((to, event),) = world.store()
    assert to == (ben,)
    assert isinstance(event, effects.ChatUpdated)
    changed = event.message
    assert (changed.id, changed.rev, changed.text, changed.edited_at_ms) == (1, 2, "second", 6_000)
    for command in (commands.EditChat(ben, 1, "mine"), commands.DeleteChat(ben, 1)):
        assert refused(world, command) == "not_allowed"
    world.do(commands.DeleteChat(ann, 1))
    ((_, event),) = world.store()
    assert isinstance(event, effects.ChatUpdated)
    assert (event.message.deleted, event.message.text, event.message.rev) == (True, "", 3)
    for command in (commands.EditChat(ann, 1, "again"), commands.DeleteChat(ann, 1)):
        assert refused(world, command) == "not_found"


def test_who_moderates_changes_what_it_may_read() -> None:
    world = World()
    ann, ben = world.join("ann"), world.join("ben")
    owner = world.join("owner", "owner")
    world.say(ann, "rude")
    world.say(ann, "private", ben)
    world.do(commands.EditChat(owner, 1, "polite"))
    assert (world.waiting[0].identity, world.waiting[0].message.identity) == ("owner", "ann")
    world.do(commands.DeleteChat(owner, 1))
    assert refused(world, commands.DeleteChat(owner, 2)) == "not_found"


def test_changes_build_on_changes_that_are_not_stored_yet() -> None:
    world = World()
    ann, ben = world.join("ann"), world.join("ben")
    world.say(ann, "first")
    world.do(commands.EditChat(ann, 1, "second"))
    world.do(commands.ReactChat(ben, 1, "👍", True))
    world.store()
    (message,) = world.news("cat").messages
    assert (message.text, message.reactions, message.rev) == ("second", {"👍": ("ben",)}, 3)


def test_reactions_are_one_for_each_person_and_emoji() -> None:
    world = World()
    ann, ben = world.join("ann"), world.join("ben")
    world.say(ann, "first")
    for who, emoji, on in ((ann, "👍", True), (ben, "👍", True), (ann, "👍", True), (ben, "🎉", True)):
        world.do(commands.ReactChat(who, 1, emoji, on))
    world.store()
    (message,) = world.news("cat").messages
    assert message.reactions == {"👍": ("ben", "ann"), "🎉": ("ben",)}
    world.do(commands.ReactChat(ben, 1, "🎉", False))
    world.do(commands.ReactChat(ben, 1, "😀", False))
    world.store()
    (message,) = world.news("cat").messages
    assert message.reactions == {"👍": ("ben", "ann")}


def test_reactions_are_limited() -> None:
    world = World()
    ann = world.join("ann")
    world.say(ann, "first")
    for number in range(MAX_EMOJI):
        world.do(commands.ReactChat(ann, 1, str(number), True))
    assert refused(world, commands.ReactChat(ann, 1, "more", True)) == "too_large"
    world.do(commands.ReactChat(ann, 1, "0", False))
    world.do(commands.ReactChat(ann, 1, "more", True))
    many = ChatMessage(
        id=50, rev=50, sender=ann, identity="ann", name="Ann", text="x", to=None, to_identity=None,
        mentions=(), sent_at_ms=1, reactions={"👍": tuple(str(number) for number in range(MAX_REACTIONS))},
    )  # fmt: skip
    assert refused(world, commands.ReactChat(ann, 50, "👍", True, many)) == "too_large"


def test_an_old_message_is_changed_as_the_store_has_it() -> None:
    world = World(history=ChatHistory(last=90, complete=False))
    ann = world.join("ann")
    old = ChatMessage(
        id=7, rev=7, sender=ParticipantId("PA_gone"), identity="ann", name="Ann", text="old", to=None,
        to_identity=None, mentions=(), sent_at_ms=1,
    )  # fmt: skip
    assert refused(world, commands.EditChat(ann, 7, "new")) == "not_found"
    world.do(commands.EditChat(ann, 7, "new", old))
    assert (world.waiting[0].message.id, world.waiting[0].message.rev) == (7, 91)
    world.store()
    assert texts(world.news("ben", after=90)) == ["new"]


def test_numbers_go_on_where_the_store_ends() -> None:
    world = World(history=ChatHistory(last=41, complete=False))
    assert world.say(world.join("ann"), "x").id == 42


def test_who_was_away_gets_each_change_once_and_in_order() -> None:
    world = World()
    ann = world.join("ann")
    for text in ("one", "two", "three"):
        world.say(ann, text)
    world.do(commands.EditChat(ann, 1, "ONE"))
    world.store()
    world.say(ann, "four")
    news = world.news("ben", after=2)
    assert texts(news) == ["ONE", "three", "four"]
    assert (news.after, news.last, news.more) == (2, 5, False)
    assert texts(world.news("ben", after=5)) == []
    assert texts(world.news("ben", after=0)) == ["ONE", "two", "three", "four"]


def test_who_was_away_too_long_starts_anew() -> None:
    world = World(capacity=2)
    ann = world.join("ann")
    for text in ("one", "two", "three", "four"):
        world.say(ann, text)
    news = world.news("ben", after=1)
    assert (texts(news), news.after, news.last, news.more) == (["three", "four"], None, 4, True)
    assert world.news("ben", after=2).after == 2
    news = world.news("ben", after=99)
    assert (texts(news), news.after) == (["three", "four"], None), "a number of another history"


def test_an_old_message_that_changed_leaves_no_hole_for_a_newcomer() -> None:
    world = World(capacity=2)
    ann = world.join("ann")
    one, *_ = [world.say(ann, text) for text in ("one", "two", "three")]
    world.do(commands.ReactChat(ann, 1, "👍", True, one))
    world.store()
    assert (texts(world.news("ben")), world.news("ben").more) == (["three"], True)
    assert texts(world.news("ben", after=3)) == ["one"]


def test_a_room_opens_with_what_the_store_has() -> None:
    ann = ParticipantId("PA_ann")
    kept = tuple(
        ChatMessage(
            id=number, rev=number, sender=ann, identity="ann", name="Ann", text=str(number), to=None,
            to_identity=None, mentions=(), sent_at_ms=1,
        )
        for number in (8, 9, 10)
    )  # fmt: skip
    world = World(history=ChatHistory(last=10, messages=kept, complete=False))
    news = world.news("ben")
    assert (texts(news), news.more, news.last) == (["8", "9", "10"], True, 10)
    assert world.news("ben", after=7).after == 7
    assert world.news("ben", after=6).after is None
    whole = World(history=ChatHistory(last=10, messages=kept, complete=True))
    assert (whole.news("ben").more, whole.news("ben", after=0).after) == (False, 0)


def test_without_capacity_nothing_is_kept() -> None:
    world = World(capacity=0)
    world.say(world.join("ann"), "x")
    assert (world.news("ben").messages, world.news("ben").more) == ((), True)


def test_mentions_are_of_people_who_are_there_or_spoke() -> None:
    world = World()
    ann = world.join("ann")
    world.join("ben")
    cat = world.join("cat")
    world.say(cat, "bye")
    world.do(commands.Leave(cat, "left"))
    for text, expected in (
        ("@ben look", ("ben",)),
        ("hey @cat, @ben!", ("ben", "cat")),
        ("@benjamin and @nobody", ()),
        ("@benj @ben.", ("ben",)),
        ("mail ann@ben", ("ben",)),
        ("no at", ()),
    ):
        assert world.say(ann, text).mentions == expected, text


def test_read_positions_go_forward() -> None:
    world = World()
    ann = world.join("ann")
    for number in range(1, 10):
        world.say(ann, str(number))
    assert world.do(commands.ReadChat(ann, 5)) == [effects.ChatReadTo(ROOM, "ann", 5)]
    assert world.do(commands.ReadChat(ann, 4)) == []
    assert world.do(commands.ReadChat(ann, 6)) == [effects.ChatReadTo(ROOM, "ann", 6)]


def test_typing_is_told_now_and_then() -> None:
    world = World()
    ann, ben = world.join("ann"), world.join("ben")
    event = effects.ChatTyping(ann, None)
    assert world.do(commands.TypeChat(ann)) == [Announce((ben,), event)]
    assert world.do(commands.TypeChat(ann)) == []
    world.us = 2_000_000
    assert world.do(commands.TypeChat(ann, ben)) == [Announce((ben,), effects.ChatTyping(ann, ben))]


def test_chat_needs_the_right() -> None:
    world = World()
    mute = world.join("mute", chat=False)
    world.say(world.join("ann"), "hi")
    for command in (
        commands.SendChat(mute, "x"),
        commands.EditChat(mute, 1, "x"),
        commands.ReactChat(mute, 1, "👍", True),
        commands.TypeChat(mute),
    ):
        assert refused(world, command) == "not_allowed"


def test_a_room_that_has_closed_meanwhile_changes_nothing() -> None:
    world = World()
    ann = world.join("ann")
    world.do(commands.SendChat(ann, "x"))
    world.do(commands.Leave(ann, "left"))
    world.rooms.tick(Instant(60_000_000, 0))
    assert world.store() == []


def test_nobody_has_read_what_is_not_there_yet() -> None:
    world = World()
    ann = world.join("ann")
    world.say(ann, "one")
    (kept,) = world.do(commands.ReadChat(ann, 2**53 - 1))
    assert isinstance(kept, effects.ChatReadTo)
    assert kept.message == 1
    world.say(ann, "two")
    assert world.do(commands.ReadChat(ann, 2)), "and goes on from there"


def test_what_expires_is_given_to_nobody_and_cannot_be_changed() -> None:
    world = World()
    ann = world.join("ann")
    old = world.say(ann, "old")
    world.us += 10_000_000
    world.say(ann, "new")
    # On its way to the store when the old one goes.
    world.do(commands.ReactChat(ann, old.id, "👍", True))
    world.do(commands.Expire(old.sent_at_ms + 1))
    world.store()
    assert [message.text for message in world.news("ben").messages] == ["new"]
    assert refused(world, commands.EditChat(ann, old.id, "x")) == "not_found"
    assert world.say(ann, "next").id == 4


def test_a_moderator_touches_no_message_of_an_owner() -> None:
    world = World()
    ann, ben, mia = world.join("ann", "owner"), world.join("ben"), world.join("mia", moderate=True)
    first, second = world.say(ann, "by the owner").id, world.say(ben, "by a student").id
    for command in (commands.DeleteChat(mia, first), commands.EditChat(mia, first, "else")):
        assert refused(world, command) == "not_allowed"
    world.do(commands.Leave(ann, "left"))
    assert refused(world, commands.DeleteChat(mia, first)) == "not_allowed", "also when it has gone"
    world.do(commands.DeleteChat(mia, second))
