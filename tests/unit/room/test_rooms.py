"""The room core under a clock of its own: commands in, effects out."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from typing import TypeVar

import pytest

from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room import commands, effects
from sfu.room.effects import Effect
from sfu.room.model import Instant, Limits, Publication, SessionKey, Wants
from sfu.room.permissions import GrantChanges, Grants, Source
from sfu.room.registry import Rooms

E = TypeVar("E")
LIMITS = Limits(grace_us=20_000_000, empty_us=30_000_000, max_rooms=3, max_participants=3, max_publications=2)


class World:
    """Rooms with a clock that only moves when told."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.rooms = Rooms(limits, random.Random(1))
        self.us = 0
        self.sessions = 0

    @property
    def now(self) -> Instant:
        return Instant(self.us, 1_700_000_000_000 + self.us // 1000)

    def do(self, command: commands.Command) -> list[Effect]:
        return self.rooms.apply(command, self.now)

    def join(
        self,
        name: str,
        room: str = "r",
        identity: str | None = None,
        grants: Grants | None = None,
        wants: Wants | None = None,
    ) -> effects.Welcome:
        self.sessions += 1
        done = self.do(
            commands.Join(
                session=SessionKey(self.sessions),
                room=RoomName(room),
                name=name,
                identity=identity,
                grants=GrantChanges(**asdict(grants)) if grants else GrantChanges(),
                wants=wants or Wants(),
            )
        )
        return only(done, effects.Welcome)

    def resume(self, welcome: effects.Welcome, **changes: object) -> list[Effect]:
        self.sessions += 1
        command = commands.Resume(
            session=SessionKey(self.sessions),
            room=welcome.room,
            participant=welcome.participant.id,
            secret=welcome.secret,
        )
        return self.do(replace(command, **changes))

    def publish(self, who: ParticipantId, source: Source = "camera", muted: bool = False) -> list[Effect]:
        kind = "audio" if source in {"microphone", "screen_audio"} else "video"
        return self.do(
            commands.Publish(
                participant=who, kind=kind, source=source, name="", muted=muted, codec="vp8", simulcast=False
            )
        )

    def published(self, who: ParticipantId, source: Source = "camera") -> Publication:
        return only(self.publish(who, source), effects.PublicationOpened).publication

    def advance(self, seconds: float) -> list[Effect]:
        self.us += round(seconds * 1_000_000)
        return self.rooms.tick(self.now)


def of(done: list[Effect], kind: type[E]) -> list[E]:
    return [effect for effect in done if isinstance(effect, kind)]


def only(done: list[Effect], kind: type[E]) -> E:
    (found,) = of(done, kind)
    return found


def told(done: list[Effect], kind: type[E]) -> list[tuple[tuple[ParticipantId, ...], E]]:
    return [(a.to, a.event) for a in of(done, effects.Announce) if isinstance(a.event, kind)]


def refused(world: World, command: commands.Command) -> str:
    with pytest.raises(RequestError) as caught:
        world.do(command)
    return caught.value.code


def test_the_first_join_opens_the_room_and_the_second_meets_the_first() -> None:
    world = World()
    ann = world.join("Ann")
    assert ann.others == ()
    assert not ann.resumed
    ben = world.join("Ben")
    assert [p.name for p in ben.others] == ["Ann"]
    assert ben.participant.id != ann.participant.id
    assert ben.participant.identity != ann.participant.identity
    assert len(ann.secret) >= 32


def test_others_are_told_of_a_join() -> None:
    world = World()
    ann = world.join("Ann")
    done = world.do(commands.Join(session=SessionKey(9), room=RoomName("r"), name="Ben"))
    ((to, event),) = told(done, effects.ParticipantJoined)
    assert to == (ann.participant.id,)
    assert event.participant.name == "Ben"
    assert event.participant.joined_at_ms == world.now.wall_ms


def test_rooms_are_isolated() -> None:
    world = World()
    ann, eve = world.join("Ann", "one"), world.join("Eve", "two")
    assert eve.others == ()
    camera = world.published(ann.participant.id)
    command = commands.Subscribe(participant=eve.participant.id, publications=(camera.id,))
    assert refused(world, command) == "not_found"
    assert refused(world, commands.SendChat(eve.participant.id, "hi", to=ann.participant.id)) == "not_found"


def test_limits_of_rooms_and_participants() -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.join("x", name)
    full = commands.Join(session=SessionKey(99), room=RoomName("d"), name="x")
    assert refused(world, full) == "too_many_rooms"
    world.join("y", "a")
    world.join("z", "a")
    assert refused(world, replace(full, room=RoomName("a"))) == "room_full"


def test_where_rooms_are_full_the_one_empty_for_longest_makes_place() -> None:
    world = World()
    world.do(commands.OpenRoom(room=RoomName("kept"), template=None, empty_us=60_000_000))
    for name in ("b", "a"):
        world.do(commands.Leave(world.join("x", name).participant.id, "left"))
        world.us += 1000
    refusal = commands.Join(
        session=SessionKey(9), room=RoomName("c"), name="x", grants=GrantChanges(join=False)
    )
    assert refused(world, refusal) == "not_allowed"
    assert [each.name for each in world.rooms.summaries()] == ["a", "b", "kept"], "a refusal closes none"
    done = world.do(replace(refusal, grants=GrantChanges()))
    assert only(done, effects.RoomClosed).room == "b"
    world.do(commands.OpenRoom(room=RoomName("d"), template=None, empty_us=0))
    assert [each.name for each in world.rooms.summaries()] == ["c", "d", "kept"]
    world.join("y", "d")
    assert refused(world, replace(refusal, room=RoomName("e"))) == "too_many_rooms"


def test_a_refused_join_leaves_no_room_behind() -> None:
    world = World(replace(LIMITS, max_participants=0))
    command = commands.Join(session=SessionKey(1), room=RoomName("r"), name="x")
    assert refused(world, command) == "room_full"
    assert world.rooms.summaries() == []


def test_the_same_identity_replaces_even_in_a_full_room() -> None:
    world = World(replace(LIMITS, max_participants=2))
    old = world.join("Ann", identity="ann")
    ben = world.join("Ben", identity="ben")
    done = world.do(
        commands.Join(session=SessionKey(7), room=RoomName("r"), name="Ann again", identity="ann")
    )
    closed = only(done, effects.ParticipantClosed)
    assert (closed.participant, closed.session, closed.reason) == (
        old.participant.id,
        old.session,
        "replaced",
    )
    assert [e.reason for _, e in told(done, effects.ParticipantLeft)] == ["replaced"]
    assert [p.id for p in only(done, effects.Welcome).others] == [ben.participant.id]
    assert len(world.rooms.summaries()) == 1


def test_a_dropped_session_reconnects_within_grace_with_everything_in_place() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    camera = world.published(ben.participant.id)
    done = world.do(commands.Disconnect(ben.participant.id, ben.session))
    ((to, updated),) = told(done, effects.ParticipantUpdated)
    assert to == (ann.participant.id,)
    assert updated.participant.state == "reconnecting"
    assert of(done, effects.PublicationClosed) == []
    assert of(world.advance(19.9), effects.ParticipantClosed) == []
    done = world.resume(ben)
    welcome = only(done, effects.Welcome)
    assert welcome.resumed
    assert welcome.participant.publications == (camera,)
    assert welcome.secret == ben.secret
    ((_, updated),) = told(done, effects.ParticipantUpdated)
    assert updated.participant.state == "connected"
    assert world.advance(100) == []


def test_grace_ends_in_timeout() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    world.published(ben.participant.id)
    world.do(commands.Disconnect(ben.participant.id, ben.session))
    assert world.rooms.deadline_us() == 20_000_000
    done = world.advance(20)
    assert only(done, effects.ParticipantClosed).reason == "timeout"
    assert [e for _, e in told(done, effects.ParticipantLeft)] == [
        effects.ParticipantLeft(ben.participant.id, "timeout")
    ]
    assert [to for to, _ in told(done, effects.PublicationRemoved)] == [(ann.participant.id,)]
    with pytest.raises(RequestError, match="resume_failed"):
        world.resume(ben)


def test_a_late_disconnect_of_an_older_session_changes_nothing() -> None:
    world = World()
    ann = world.join("Ann")
    done = world.resume(ann)
    assert only(done, effects.SessionReplaced).session == ann.session
    assert world.do(commands.Disconnect(ann.participant.id, ann.session)) == []
    assert world.rooms.deadline_us() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "guess"},
        {"secret": ""},
        {"secret": "\u00e9"},
        {"participant": ParticipantId("PA_other")},
        {"identity": "somebody"},
        {"room": RoomName("elsewhere")},
    ],
)
def test_resume_needs_the_secret_the_participant_and_the_identity(changes: dict[str, object]) -> None:
    world = World()
    ann = world.join("Ann", identity="ann")
    with pytest.raises(RequestError, match="resume_failed"):
        world.resume(ann, **changes)


def test_an_empty_room_is_kept_for_a_while() -> None:
    world = World()
    world.do(commands.Leave(world.join("Ann").participant.id, "left"))
    assert world.advance(29) == []
    ben = world.rooms.summaries()[0]
    assert (ben.participants, ben.publications) == (0, 0)
    (participant,) = [world.join("Ben").participant, *world.join("Cat").others][1:]
    world.do(commands.Leave(participant.id, "left"))
    assert world.rooms.deadline_us() is None


def test_an_empty_room_closes() -> None:
    world = World()
    world.do(commands.Leave(world.join("Ann").participant.id, "left"))
    assert world.rooms.deadline_us() == 30_000_000
    assert world.advance(30) == [effects.RoomClosed(RoomName("r"))]
    assert world.rooms.deadline_us() is None


def test_publishing_tells_and_subscribes_those_who_want_the_kind() -> None:
    world = World()
    ann = world.join("Ann")
    ben = world.join("Ben", wants=Wants(video=False))
    cat = world.join("Cat", wants=Wants(subscribe=False))
    done = world.publish(ann.participant.id, "microphone")
    publication = only(done, effects.PublicationOpened).publication
    assert [to for to, _ in told(done, effects.PublicationAdded)] == [
        (ben.participant.id, cat.participant.id)
    ]
    opened = of(done, effects.SubscriptionOpened)
    assert [(o.subscription.subscriber, o.subscription.publication) for o in opened] == [
        (ben.participant.id, publication.id)
    ]
    assert of(world.publish(ann.participant.id, "camera"), effects.SubscriptionOpened) == []


def test_a_late_joiner_is_subscribed_to_what_is_there() -> None:
    world = World()
    ann = world.join("Ann")
    camera = world.published(ann.participant.id)
    done = world.do(commands.Join(session=SessionKey(5), room=RoomName("r"), name="Ben"))
    assert only(done, effects.Welcome).others[0].publications == (camera,)
    assert only(done, effects.SubscriptionOpened).subscription.publication == camera.id


def test_without_the_right_nothing_is_subscribed() -> None:
    world = World()
    ann = world.join("Ann")
    camera = world.published(ann.participant.id)
    ben = world.join("Ben", grants=Grants(subscribe=False))
    command = commands.Subscribe(participant=ben.participant.id, publications=(camera.id,))
    assert refused(world, command) == "not_allowed"


@pytest.mark.parametrize(
    ("source", "kind", "grants", "beside", "code"),
    [
        ("camera", "video", Grants(), 0, None),
        ("camera", "audio", Grants(), 0, "bad_request"),
        ("camera", "video", Grants(publish=False), 0, "not_allowed"),
        ("screen", "video", Grants(publish=("camera",)), 0, "not_allowed"),
        ("camera", "video", Grants(), 1, None),
        ("camera", "video", Grants(), 2, "too_many_publications"),
    ],
)
def test_refusal(source: Source, kind: str, grants: Grants, beside: int, code: str | None) -> None:
    world = World()
    ann = world.join("Ann", grants=grants)
    assert world.rooms.refusal(ann.participant.id, source, kind, beside) == code  # type: ignore[arg-type]


def test_publications_are_limited() -> None:
    world = World()
    ann = world.join("Ann")
    world.publish(ann.participant.id)
    world.publish(ann.participant.id)
    with pytest.raises(RequestError, match="too_many_publications"):
        world.publish(ann.participant.id)


def test_unpublish_ends_subscriptions_first() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    camera = world.published(ann.participant.id)
    assert refused(world, commands.Unpublish(ben.participant.id, camera.id)) == "not_found"
    done = world.do(commands.Unpublish(ann.participant.id, camera.id))
    assert done == [
        effects.SubscriptionClosed(ben.participant.id, camera.id, asked=False),
        effects.PublicationClosed(camera.id, ann.participant.id),
        effects.Announce((ben.participant.id,), effects.PublicationRemoved(camera.id, ann.participant.id)),
    ]
    assert world.rooms.publication(camera.id) is None
    assert refused(world, commands.Unpublish(ann.participant.id, camera.id)) == "not_found"


def test_mute_is_announced_once() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    camera = world.published(ann.participant.id)
    done = world.do(commands.Mute(ann.participant.id, camera.id, True))
    assert effects.PublicationMuted(camera.id, True) in done
    assert [(to, e.publication.muted) for to, e in told(done, effects.PublicationUpdated)] == [
        ((ben.participant.id,), True)
    ]
    assert world.do(commands.Mute(ann.participant.id, camera.id, True)) == []
    assert refused(world, commands.Mute(ben.participant.id, camera.id, False)) == "not_found"


def test_published_muted_starts_muted() -> None:
    world = World()
    done = world.publish(world.join("Ann").participant.id, muted=True)
    assert only(done, effects.PublicationMuted).muted


def test_a_size_is_told_to_everybody_once() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    camera = world.published(ann.participant.id)
    done = world.do(commands.Describe(camera.id, 640, 360))
    ((to, event),) = told(done, effects.PublicationUpdated)
    assert set(to) == {ann.participant.id, ben.participant.id}
    assert (event.publication.width, event.publication.height) == (640, 360)
    assert world.do(commands.Describe(camera.id, 640, 360)) == []
    assert world.do(commands.Describe(PublicationId("TR_gone"), 1, 1)) == []


def test_subscribe_opens_then_adjusts_what_is_given() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben", wants=Wants(subscribe=False))
    camera = world.published(ann.participant.id)
    me = ben.participant.id
    command = commands.Subscribe(
        participant=me, publications=(camera.id,), priority=200, width=320, height=180
    )
    opened = only(world.do(command), effects.SubscriptionOpened).subscription
    assert (opened.priority, opened.width, opened.height, opened.paused) == (200, 320, 180, False)
    assert world.do(command) == []
    paused = commands.Subscribe(participant=me, publications=(camera.id,), paused=True)
    adjusted = only(world.do(paused), effects.SubscriptionAdjusted).subscription
    assert adjusted == replace(opened, paused=True)


def test_subscribe_is_all_or_nothing() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben", wants=Wants(subscribe=False))
    camera = world.published(ann.participant.id)
    me = ben.participant.id
    both = commands.Subscribe(participant=me, publications=(camera.id, PublicationId("TR_gone")))
    assert refused(world, both) == "not_found"
    twice = commands.Subscribe(participant=me, publications=(camera.id, camera.id))
    assert len(of(world.do(twice), effects.SubscriptionOpened)) == 1
    own = commands.Subscribe(participant=ann.participant.id, publications=(camera.id,))
    assert refused(world, own) == "bad_request"


def test_unsubscribe_ends_and_passes_over_strangers() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    camera = world.published(ann.participant.id)
    me = ben.participant.id
    done = world.do(commands.Unsubscribe(me, (camera.id, PublicationId("TR_gone"))))
    assert done == [effects.SubscriptionClosed(me, camera.id, asked=True)]
    assert world.do(commands.Unsubscribe(me, (camera.id,))) == []


def test_who_has_left_can_do_nothing() -> None:
    world = World()
    ann = world.join("Ann")
    world.do(commands.Leave(ann.participant.id, "left"))
    assert world.do(commands.Leave(ann.participant.id, "left")) == []
    assert refused(world, commands.SendChat(ann.participant.id, "hi")) == "not_found"


def test_leaving_ends_own_subscriptions_too() -> None:
    world = World()
    ann, ben = world.join("Ann"), world.join("Ben")
    camera = world.published(ann.participant.id)
    done = world.do(commands.Leave(ben.participant.id, "left"))
    assert effects.SubscriptionClosed(ben.participant.id, camera.id, asked=False) in done
    assert only(done, effects.ParticipantClosed).reason == "left"
    assert of(world.do(commands.Unpublish(ann.participant.id, camera.id)), effects.SubscriptionClosed) == []
