"""What moderators do to participants, at once: publications, subscriptions, breakout rooms, lobby, lock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from test_rooms import LIMITS, World, of, only, refused, told

from sfu.ids import ParticipantId, RoomName
from sfu.room import acts, commands, effects
from sfu.room.class_events import LobbyChanged, RoomUpdated
from sfu.room.model import BreakoutId, Instant, SessionKey
from sfu.room.permissions import GrantChanges, Role

ROOMY = replace(LIMITS, max_participants=9)


def entered(world: World, name: str, role: Role = "participant", **changes: Any) -> ParticipantId:
    world.sessions += 1
    done = world.do(
        commands.Join(
            session=SessionKey(world.sessions),
            room=RoomName("r"),
            name=name,
            identity=name,
            role=role,
            grants=GrantChanges(**changes),
        )
    )
    return only(done, effects.Welcome).participant.id


def test_a_withdrawn_source_is_unpublished_and_its_publisher_told() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    camera, microphone = world.published(ben), world.published(ben, "microphone")
    done = world.do(acts.SetGrants(ann, ben, GrantChanges(publish=("camera",))))
    assert only(done, effects.PublicationClosed).publication == microphone.id
    assert [e.publication for e in of(done, effects.SubscriptionClosed)] == [microphone.id]
    assert {to for to, _ in told(done, effects.PublicationRemoved)} == {(ann,), (ben,)}
    assert only(done, effects.Granted).grants.publish == ("camera",)
    ((to, event),) = told(done, effects.ParticipantUpdated)
    assert set(to) == {ann, ben}
    assert event.participant.publications == (camera,)
    assert world.rooms.refusal(ben, "microphone", "audio", 0) == "not_allowed"


def test_a_withdrawn_right_to_subscribe_ends_subscriptions_and_returns_with_them() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    camera = world.published(ann)
    done = world.do(acts.SetGrants(ann, ben, GrantChanges(subscribe=False)))
    assert only(done, effects.SubscriptionClosed).asked
    assert refused(world, commands.Subscribe(participant=ben, publications=(camera.id,))) == "not_allowed"
    again = world.do(acts.SetGrants(ann, ben, GrantChanges(subscribe=True)))
    assert only(again, effects.SubscriptionOpened).subscription.subscriber == ben


def test_what_changes_nothing_tells_nobody() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    assert world.do(acts.SetGrants(ann, ben, GrantChanges(chat=True))) == []
    assert world.do(acts.SetRoom(ann, False, None)) == []


def test_muting_all_spares_who_moderates_and_tells_everybody() -> None:
    world = World()
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid", "owner")
    for who in (ann, ben, cid):
        world.published(who, "microphone")
    world.published(ben)
    done = world.do(acts.MuteOthers(ann, None, "microphone"))
    muted = only(done, effects.PublicationMuted)
    ((to, event),) = told(done, effects.PublicationUpdated)
    assert set(to) == {ann, ben, cid}
    assert (event.publication.participant, event.publication.muted) == (ben, True)
    assert world.do(commands.Mute(ben, muted.publication, False)), "one may unmute oneself"


def test_breakout_rooms_divide_media_and_bring_it_back() -> None:
    world = World()
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid")
    cameras = {who: world.published(who).id for who in (ann, ben, cid)}
    world.do(acts.OpenBreakouts(ann, ("One", "Two")))
    assert refused(world, acts.OpenBreakouts(ann, ("Three",))) == "bad_state"
    assert refused(world, acts.AssignBreakout(ann, (ben,), BreakoutId(3))) == "not_found"
    done = world.do(acts.AssignBreakout(ann, (ben, cid), BreakoutId(1)))
    room = world.rooms.room(RoomName("r"))

    def sees() -> dict[str, set[str]]:
        return {p.name: set(p.subscriptions) for p in room.participants.values()}

    assert sees() == {"ann": set(), "ben": {cameras[cid]}, "cid": {cameras[ben]}}
    assert all(e.asked for e in of(done, effects.SubscriptionClosed))
    assert not room.together(ann, ben)
    assert refused(world, commands.Subscribe(participant=ann, publications=(cameras[ben],))) == "not_allowed"
    world.do(acts.AssignBreakout(ann, (ann,), BreakoutId(1)))
    assert sees()["ann"] == {cameras[ben], cameras[cid]}, "a visit"
    world.do(acts.AssignBreakout(ann, (ann,), BreakoutId(2)))
    assert sees()["ann"] == set()
    back = world.do(acts.CloseBreakouts(ann))
    assert sees() == {
        p: set(cameras.values()) - {cameras[i]} for p, i in zip(["ann", "ben", "cid"], cameras, strict=True)
    }
    assert told(back, RoomUpdated)[0][1].room.breakouts == ()


def test_who_comes_back_is_in_its_breakout_room_again() -> None:
    world = World(ROOMY)
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid")
    world.do(acts.OpenBreakouts(ann, ("One", "Two")))
    world.do(acts.AssignBreakout(ann, (ben, cid), BreakoutId(2)))
    room = world.rooms.room(RoomName("r"))
    camera = world.published(cid).id

    def place(who: ParticipantId) -> BreakoutId | None:
        return room.participants[who].breakout

    world.do(commands.Leave(ben, "left"))
    ben = entered(world, "ben")
    assert place(ben) == 2
    assert set(room.participants[ben].subscriptions) == {camera}
    ben = entered(world, "ben")
    assert place(ben) == 2, "who replaces itself as well"
    assert place(entered(world, "dan")) is None, "a new one is in the main room"
    world.do(acts.AssignBreakout(ann, (ben,), None))
    assert place(entered(world, "ben")) is None
    world.do(acts.Remove(ann, cid))
    cid = entered(world, "cid")
    assert place(cid) is None, "who was removed begins anew"
    world.do(acts.AssignBreakout(ann, (cid,), BreakoutId(1)))
    world.do(commands.Leave(cid, "left"))
    world.do(acts.CloseBreakouts(ann))
    world.do(acts.OpenBreakouts(ann, ("One",)))
    assert place(entered(world, "cid")) is None, "other breakout rooms"


def test_a_silence_lasts_until_the_microphone_is_given_back() -> None:
    world = World(ROOMY)
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid")
    dan, deaf = entered(world, "dan", "presenter"), entered(world, "deaf", publish=("camera",))
    room = world.rooms.room(RoomName("r"))

    def speak() -> set[str]:
        return {
            each.name for each in room.participants.values() if each.grants.may_publish("microphone", "audio")
        }

    microphone = world.published(ben, "microphone")
    done = world.do(acts.SetRoom(ann, None, None, True))
    assert only(done, effects.PublicationClosed).publication == microphone.id
    assert told(done, RoomUpdated)[0][1].room.silenced
    assert speak() == {"ann", "dan"}, "students only"
    assert room.participants[ben].grants.may_publish("camera", "video")
    late = entered(world, "late")
    assert speak() == {"ann", "dan"}, "who comes later too"
    world.do(acts.SetGrants(ann, ben, GrantChanges(publish=("camera", "microphone"))))
    assert speak() == {"ann", "dan", "ben"}
    world.do(acts.SetRole(ann, dan, "participant"))
    assert speak() == {"ann", "ben"}
    assert world.do(acts.SetRoom(ann, None, None, True)) == []
    world.do(acts.SetRoom(ann, None, None, False))
    assert speak() == {"ann", "ben", "cid", "dan", "late"}, "who had none before gets none"
    assert room.participants[cid].grants.publish is True
    assert not room.participants[deaf].grants.may_publish("microphone", "audio")
    assert room.participants[late].grants.publish is True


def test_a_silence_takes_all_sound_whatever_it_is_called() -> None:
    world = World(replace(ROOMY, max_publications=8))
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    publications = [world.published(ben, source) for source in ("microphone", "screen_audio", "screen")]
    other = commands.Publish(
        participant=ben, kind="audio", source="other", name="", muted=False, codec="opus", simulcast=False
    )
    publications.append(only(world.do(other), effects.PublicationOpened).publication)
    world.do(acts.SetRoom(ann, None, None, True))
    room = world.rooms.room(RoomName("r"))
    assert [each.source for each in room.participants[ben].publications.values()] == ["screen"]
    assert refused(world, other) == "not_allowed"
    for source in ("microphone", "screen_audio"):
        assert world.rooms.refusal(ben, source, "audio", 0) == "not_allowed"
    assert world.rooms.refusal(ben, "other", "video", 0) is None
    world.do(acts.SetRoom(ann, None, None, False))
    assert room.participants[ben].grants.publish is True


def test_a_muted_microphone_is_all_that_is_heard() -> None:
    world = World(replace(ROOMY, max_publications=8))
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    for source in ("microphone", "screen_audio", "camera"):
        world.published(ben, source)
    world.do(acts.MuteOthers(ann, None, "microphone"))
    published = world.rooms.room(RoomName("r")).participants[ben].publications.values()
    assert {each.source for each in published if each.muted} == {"microphone", "screen_audio"}


def test_a_locked_room_takes_nobody_new_but_those_who_belong() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    world.do(acts.SetRoom(ann, True, None))
    late = commands.Join(session=SessionKey(9), room=RoomName("r"), name="Cid")
    assert refused(world, late) == "room_locked"
    assert entered(world, "ben") != ben, "who comes again takes its own place"
    entered(world, "dan", "owner")


def test_the_lobby_keeps_people_waiting_until_somebody_decides() -> None:
    world = World()
    ann = entered(world, "ann", "owner")
    world.do(acts.SetRoom(ann, None, True))
    join = commands.Join(session=SessionKey(7), room=RoomName("r"), name="Ben", identity="ben")
    done = world.do(join)
    assert not of(done, effects.Welcome)
    waiting = only(done, effects.WaitingBegun).waiting
    ((to, event),) = told(done, LobbyChanged)
    assert (to, [w.name for w in event.waiting]) == ((ann,), ["Ben"])
    admitted = world.do(acts.Admit(ann, waiting))
    assert only(admitted, effects.Welcome).session == SessionKey(7)
    assert told(admitted, LobbyChanged)[0][1].waiting == ()
    assert refused(world, acts.Admit(ann, waiting)) == "not_found"


def test_denying_replacing_and_leaving_the_lobby() -> None:
    world = World()
    ann = entered(world, "ann", "owner")
    world.do(acts.SetRoom(ann, None, True))

    def waits(session: int, identity: str) -> list[effects.Effect]:
        return world.do(
            commands.Join(session=SessionKey(session), room=RoomName("r"), name="B", identity=identity)
        )

    waits(7, "ben")
    again = waits(8, "ben")
    assert only(again, effects.WaitingEnded) == effects.WaitingEnded(SessionKey(7), "replaced")
    denied = world.do(acts.Deny(ann, only(again, effects.WaitingBegun).waiting))
    assert only(denied, effects.WaitingEnded) == effects.WaitingEnded(SessionKey(8), "denied")
    waits(9, "cid")
    gone = world.do(commands.StopWaiting(RoomName("r"), SessionKey(9)))
    assert told(gone, LobbyChanged)[0][1].waiting == ()
    assert world.do(commands.StopWaiting(RoomName("r"), SessionKey(9))) == []


def test_a_room_stays_while_somebody_waits() -> None:
    world = World()
    ann = entered(world, "ann", "owner")
    world.do(acts.SetRoom(ann, None, True))
    world.do(commands.Join(session=SessionKey(7), room=RoomName("r"), name="Ben"))
    world.do(commands.Leave(ann, "left"))
    assert not of(world.advance(100), effects.RoomClosed)
    world.do(commands.StopWaiting(RoomName("r"), SessionKey(7)))
    assert of(world.advance(100), effects.RoomClosed)


def test_the_spotlight_ends_with_what_it_shows() -> None:
    world = World()
    ann, ben = entered(world, "ann", "owner"), entered(world, "ben")
    camera = world.published(ben)
    world.do(acts.SetSpotlight(ann, ben, camera.id))
    done = world.do(commands.Unpublish(ben, camera.id))
    assert told(done, RoomUpdated)[0][1].room.spotlight is None
    assert refused(world, acts.SetSpotlight(ann, ben, camera.id)) == "not_found"
    world.do(acts.SetSpotlight(ann, ben, None))
    assert told(world.do(commands.Leave(ben, "left")), RoomUpdated)[0][1].room.spotlight is None


def test_attendance_remembers_visits_and_not_the_hidden() -> None:
    world = World()
    entered(world, "ann", "owner")
    world.advance(1)
    ben = entered(world, "ben")
    entered(world, "eve", hidden=True)
    world.advance(90)
    world.do(commands.Leave(ben, "left"))
    visits = world.rooms.room(RoomName("r")).attendance.visits()
    assert [(v.name, v.role, v.reason) for v in visits] == [
        ("ann", "owner", None),
        ("ben", "participant", "left"),
    ]
    assert visits[1].left_at_ms == Instant(0, visits[1].joined_at_ms).wall_ms + 90_000


def test_who_only_sends_hears_of_people_and_not_of_what_they_publish() -> None:
    world = World()
    ann = entered(world, "ann", "owner")
    camera = world.published(ann)
    joined = world.do(
        commands.Join(session=SessionKey(9), room=RoomName("r"), name="cam", identity="cam", role="device")
    )
    welcome = only(joined, effects.Welcome)
    assert [each.publications for each in welcome.others] == [()]
    assert told(world.do(commands.Mute(ann, camera.id, True)), effects.PublicationUpdated) == []
    cam = welcome.participant.id
    dropped = world.do(commands.Disconnect(ann, SessionKey(1)))
    ((to, event),) = told(dropped, effects.ParticipantUpdated)
    assert (to, event.participant.publications) == ((cam,), ())
    admitted = world.do(acts.SetRole(ann, cam, "participant"))
    ((to, added),) = told(admitted, effects.PublicationAdded)
    assert (to, added.publication.id) == ((cam,), camera.id)
    assert only(admitted, effects.SubscriptionOpened).subscription.subscriber == cam
