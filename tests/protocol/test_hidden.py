"""Nobody without `see_hidden` finds out about hidden people: a room says the same with them and without.

The property runs one script twice, once with hidden participants who do all that they may, and compares every
byte that the others are sent. Ids, which are drawn at random, are numbered in the order in which they appear.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from guarded import call, error, guarded, member, token
from hypothesis import given, settings
from hypothesis import strategies as st
from signalling import clients

from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import acts, commands, effects
from sfu.room.alarms import Series
from sfu.room.class_records import ClassHistory, RoomSettings
from sfu.room.effects import ChatToStore, Effect
from sfu.room.model import BreakoutId, ChatHistory, Instant, Limits, SessionKey
from sfu.room.permissions import GrantChanges, Role, Template
from sfu.room.registry import Rooms
from sfu.server import wire
from sfu.server.encoded import Encoded
from sfu.server.fairness import Turns

ROOM = RoomName("r")
LIMITS = Limits(max_participants=4, max_rooms=2, grace_us=5_000_000, empty_us=30_000_000)
TEMPLATES = {
    "meeting": Template(),
    "consultation": Template(name="consultation", lobby=True),
}


@dataclass
class World:
    """One room over a clock of its own, a store of what lasts, and what each ordinary person was sent."""

    rooms: Rooms = field(default_factory=lambda: Rooms(LIMITS, random.Random(7), TEMPLATES))
    sent: dict[str, list[str]] = field(default_factory=dict)
    here: dict[str, ParticipantId] = field(default_factory=dict)
    sessions: dict[SessionKey, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    settings: RoomSettings | None = None
    us: int = 0
    count: int = 0

    def say(self, who: str, message: dict[str, Any]) -> None:
        message.pop("secret", None)
        text = json.dumps(message, default=lambda part: json.loads(part.text))
        self.sent.setdefault(who, []).append(text)

    def apply(self, by: str, command: commands.Command) -> None:
        try:
            self.take(by, self.rooms.apply(command, Instant(self.us, self.us // 1000)))
        except RequestError as error:
            # It names the id that was asked for, which is no secret of its own.
            for each in HIDDEN:
                error.message = error.message.replace(self.here.get(each, STRANGE), STRANGE)
            self.say(by, {"type": "error", "code": error.code, "message": error.message})

    def take(self, by: str, done: Iterable[Effect]) -> None:
        names = {participant: name for name, participant in self.here.items()}
        for effect in done:
            match effect:
                case effects.Welcome():
                    name = self.sessions[effect.session]
                    self.here[name] = effect.participant.id
                    names[effect.participant.id] = name
                    self.say(name, {"type": "joined", **Encoded(Turns()).welcome(effect)})
                case effects.ParticipantClosed():
                    name = names[effect.participant]
                    if self.here.get(name) == effect.participant:
                        del self.here[name]
                    self.say(name, {"type": "closed", "reason": effect.reason})
                case effects.Announce():
                    for participant in effect.to:
                        self.say(names[participant], wire.event(effect.event))
                case effects.WaitingBegun():
                    self.say(self.sessions[effect.session], {"type": "waiting"})
                    if self.sessions[effect.session] not in HIDDEN:
                        self.waiting.append(effect.waiting)
                case effects.ClassToStore(change=RoomSettings() as settings):
                    self.settings = settings
                case ChatToStore():
                    self.say(by, {"type": "ok", "message": wire.chat_message(effect.message)})
                    stored = commands.ChatStored(ROOM, effect.message, effect.change, effect.by)
                    self.take(by, self.rooms.apply(stored, Instant(self.us, self.us // 1000)))

    def join(self, name: str, role: Role, template: str | None, **rights: Any) -> None:
        self.count += 1
        session = SessionKey(self.count * 2 + (name in HIDDEN))
        self.sessions[session] = name
        # What lasts of the chat is the store's affair: here a room that is opened again begins without.
        known = self.rooms.is_known(ROOM)
        work = ClassHistory() if known else ClassHistory(settings=self.settings)
        self.apply(
            name,
            commands.Join(
                session=session,
                room=ROOM,
                name=name,
                identity=name,
                role=role,
                grants=GrantChanges(**rights),
                appointed=template,
                chat=ChatHistory(),
                work=work,
            ),
        )

    def advance(self, seconds: int) -> None:
        self.us += seconds * 1_000_000
        self.take("", self.rooms.tick(Instant(self.us, self.us // 1000)))


HIDDEN = ("eve", "ivy")
ORDINARY = ("ann", "ben", "cid", "dan", "fay")
STRANGE = ParticipantId("PA_strange")
Step = tuple[str, Callable[[World, ParticipantId], commands.Command | None]]


def _somebody(world: World, name: str) -> ParticipantId:
    """Of the ordinary those who are here; hidden ones by an id that does not exist in the other run."""
    return world.here.get(name, STRANGE)


def _act(make: Callable[[World, ParticipantId], commands.Command | None]) -> Any:
    return make


targets = st.sampled_from((*ORDINARY, *HIDDEN))
ordinary_acts = st.one_of(
    targets.map(lambda n: _act(lambda w, me: commands.SendChat(me, f"hello @{n}"))),
    targets.map(lambda n: _act(lambda w, me: commands.SendChat(me, "psst", to=n))),
    targets.map(lambda n: _act(lambda w, me: commands.SendChat(me, "psst", to=_somebody(w, n)))),
    targets.map(lambda n: _act(lambda w, me: commands.TypeChat(me, _somebody(w, n)))),
    st.just(_act(lambda w, me: commands.TypeChat(me, None))),
    st.just(_act(lambda w, me: commands.ReadChat(me, 5))),
    targets.map(lambda n: _act(lambda w, me: acts.Remove(me, _somebody(w, n)))),
    targets.map(lambda n: _act(lambda w, me: acts.SetRole(me, _somebody(w, n), "presenter"))),
    targets.map(lambda n: _act(lambda w, me: acts.MuteOthers(me, _somebody(w, n), "microphone"))),
    targets.map(lambda n: _act(lambda w, me: acts.CallOn(me, _somebody(w, n)))),
    targets.map(lambda n: _act(lambda w, me: acts.LowerHand(me, _somebody(w, n)))),
    targets.map(lambda n: _act(lambda w, me: acts.SetSpotlight(me, _somebody(w, n), None))),
    targets.map(lambda n: _act(lambda w, me: acts.SetThresholds(me, _somebody(w, n), "t", 1, 2))),
    targets.map(lambda n: _act(lambda w, me: acts.AcknowledgeAlarm(me, _somebody(w, n), "t"))),
    targets.map(lambda n: _act(lambda w, me: acts.AssignBreakout(me, (_somebody(w, n),), BreakoutId(1)))),
    st.booleans().map(lambda on: _act(lambda w, me: acts.SetRoom(me, locked=on, lobby=None))),
    st.booleans().map(lambda on: _act(lambda w, me: acts.SetRoom(me, locked=None, lobby=on))),
    st.booleans().map(lambda on: _act(lambda w, me: acts.SetRoom(me, None, None, silenced=on))),
    st.just(_act(lambda w, me: acts.Admit(me, None))),
    st.just(_act(lambda w, me: acts.Deny(me, w.waiting[-1]) if w.waiting else None)),
    st.just(_act(lambda w, me: acts.OpenBreakouts(me, ("one", "two")))),
    st.just(_act(lambda w, me: acts.CloseBreakouts(me))),
    st.booleans().map(lambda on: _act(lambda w, me: acts.RaiseHand(me, on))),
    st.just(_act(lambda w, me: acts.OpenPoll(me, "why?", ("a", "b"), False))),
    st.just(_act(lambda w, me: acts.VotePoll(me, 1, (0,)))),
    st.just(_act(lambda w, me: acts.AskQuestion(me, "what?"))),
    st.just(_act(lambda w, me: acts.ChangeState(me, "k", 1))),
    st.just(_act(lambda w, me: acts.DeclareSeries(me, (SERIES,)))),
    st.just(
        _act(
            lambda w, me: commands.Publish(
                participant=me,
                kind="audio",
                source="microphone",
                name="",
                muted=False,
                codec="opus",
                simulcast=False,
            )
        )
    ),
    st.just(_act(lambda w, me: commands.Leave(me, "left"))),
)
SERIES = Series(name="t", title="", unit="", low=1, high=5, hysteresis=0, silent_s=None)
hidden_acts = st.one_of(
    ordinary_acts,
    st.just(_act(lambda w, me: acts.SetRecording(me, True))),
    st.just(_act(lambda w, me: acts.Broadcast(me, "here I am"))),
)
templates = st.sampled_from((None, "meeting", "consultation"))
steps = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(ORDINARY), templates),
    st.tuples(st.just("act"), st.sampled_from(ORDINARY), ordinary_acts),
    st.tuples(st.just("join"), st.sampled_from(HIDDEN), templates),
    st.tuples(st.just("act"), st.sampled_from(HIDDEN), hidden_acts),
    st.tuples(st.just("drop"), st.sampled_from((*ORDINARY, *HIDDEN)), st.none()),
    st.tuples(st.just("wait"), st.just(""), st.sampled_from((1, 6, 40))),
)


def run(script: list[tuple[str, str, Any]], *, with_hidden: bool) -> dict[str, list[str]]:
    world = World()
    for kind, name, what in script:
        world.us += 1_000_000
        if kind == "wait":
            world.advance(what)
        elif name in HIDDEN and not with_hidden:
            continue
        elif kind == "join" and name in HIDDEN:
            # It may have been given everything else.
            world.join(name, "owner", what, hidden=True)
        elif kind == "join":
            # One who moderates without `see_hidden`, and others.
            owner = name == "ann"
            world.join(name, "owner" if owner else "participant", what, see_hidden=False)
        elif (me := world.here.get(name)) is None:
            continue
        elif kind == "drop":
            session = next(key for key, who in world.sessions.items() if who == name)
            member = world.rooms.participant(me)
            session = member.session if member and member.session is not None else session
            world.apply(name, commands.Disconnect(me, session))
        elif (command := what(world, me)) is not None:
            world.apply(name, command)
    return {name: world.sent.get(name, []) for name in ORDINARY}


def numbered(lines: list[str]) -> list[str]:
    """Random ids as numbers in the order of their appearance."""
    ids: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"{found[1]}_{len(ids)}")

    return [re.sub(r"\b(PA|TR|WA)_[A-Za-z0-9]{12}\b", number, line) for line in lines]


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=25))
def test_a_room_says_the_same_with_hidden_people_and_without(script: list[tuple[str, str, Any]]) -> None:
    with_them = run(script, with_hidden=True)
    without = run(script, with_hidden=False)
    for name in ORDINARY:
        assert numbered(with_them[name]) == numbered(without[name]), name


def joins(*names: str) -> list[tuple[str, str, Any]]:
    return [("join", name, None) for name in names]


def test_the_property_runs_what_it_means_to() -> None:
    """Both kinds of people are in the room, and the ordinary ones are told things."""
    world = World()
    world.join("ann", "owner", None, see_hidden=False)
    world.join("eve", "owner", None, hidden=True)
    assert set(world.here) == {"ann", "eve"}
    world.apply("ann", commands.SendChat(world.here["ann"], "hello"))
    assert any('"type": "chat"' in line for line in world.sent["eve"])


def test_seats_are_counted_apart() -> None:
    script = [*joins("eve", "ivy", "ann", "ben", "cid", "dan", "fay")]
    assert "room_full" in run(script, with_hidden=True)["fay"][0]
    assert "joined" in run(script, with_hidden=True)["dan"][0]


def test_hidden_people_keep_no_room_open() -> None:
    script = [
        *joins("ann", "eve"),
        ("act", "ann", lambda w, me: acts.OpenBreakouts(me, ("one",))),
        ("act", "ann", lambda w, me: acts.ChangeState(me, "k", 1)),
        ("act", "ann", lambda w, me: commands.Leave(me, "left")),
        ("wait", "", 40),
        *joins("ann"),
    ]
    last = json.loads(run(script, with_hidden=True)["ann"][-1])
    assert last["room"]["breakouts"] == []
    assert last["state"] == {"version": 0, "entries": {}}


def test_who_was_hidden_first_decides_nothing_about_the_room_and_sees_who_comes() -> None:
    world = World()
    world.join("eve", "owner", "meeting", hidden=True)
    world.join("ann", "owner", "consultation", see_hidden=False)
    assert world.settings is not None
    assert world.settings.template == "consultation"
    assert [json.loads(line)["type"] for line in world.sent["eve"]].count("participant_joined") == 1


def test_who_comes_back_hidden_has_left_for_the_others() -> None:
    world = World()
    world.join("ann", "owner", None, see_hidden=False)
    world.join("eve", "participant", None)
    world.apply("eve", acts.RaiseHand(world.here["eve"], True))
    world.join("eve", "owner", None, hidden=True)
    told = [json.loads(line) for line in world.sent["ann"]][-2:]
    assert [each["type"] for each in told] == ["participant_left", "hands"]
    assert told[0]["reason"] == "left"
    assert told[1]["hands"]["queue"] == []


# --- over the WebSocket and HTTP --------------------------------------------------------------


async def test_nobody_finds_out_by_its_identity_who_is_hidden() -> None:
    """Before it comes, while it is here and after it has gone, the same is said of it."""
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner", template="classroom", see_hidden=False)
        ben = await member(those, "ben")

        async def asked() -> list[Any]:
            said = []
            for who in (ann, ben):
                mentions = (await who.request("chat", text="@eve are you there?"))["message"]["mentions"]
                said += [mentions, error(await who.request("chat", text="psst", to="eve"))]
            said.append(error(await ann.request("remove", participant=strange)))
            said.append(error(await ann.request("revoke", participant=strange)))
            said.append(error(await ben.request("chat_typing", to=strange)))
            said.append((await call(those, "GET", f"/rooms/r/participants/{strange}", ann))[0])
            return said

        strange = "PA_strange"
        before = await asked()
        assert before == [[], "not_found", [], "not_found", "not_found", "not_found", "not_found", 404]
        eve = await member(those, "eve", role="observer")
        strange = eve.me
        assert await asked() == before
        await eve.request("leave")
        assert await asked() == before
        assert not [m for m in ann.seen + ben.seen if eve.me in json.dumps(m)]


async def test_a_room_of_hidden_people_alone_is_not_open_to_others() -> None:
    async with clients(guarded()) as those:
        eve = await member(those, "eve", role="observer", template="classroom")
        weak = token("app", moderate=True)
        assert (await call(those, "GET", "/rooms", weak))[1]["rooms"] == []
        assert (await call(those, "GET", "/rooms/r", weak))[0] == 404
        ann = await member(those, "ann", role="owner", template="meeting", see_hidden=False)
        assert ann.joined["room"]["template"] == "meeting"
        assert ann.joined["participants"] == []
        assert (await eve.next("participant_joined"))["participant"]["id"] == ann.me
        assert (await eve.next("room_updated"))["room"]["template"] == "meeting"
        await ann.request("chat", text="hello")
        await eve.next("chat")
