"""What who moderates may do to the others and to the room. Every function checks the right itself."""

from __future__ import annotations

from dataclasses import fields

from sfu.errors import RequestError
from sfu.room import acts, effects, following, rank, visibility
from sfu.room.class_events import Broadcasted, LobbyChanged, Spotlight
from sfu.room.class_records import BreakoutPlaced, BreakoutsClosed, BreakoutsOpened
from sfu.room.effects import Announce, Effect
from sfu.room.model import Instant, Participant
from sfu.room.permissions import Grants, Role, counts_as
from sfu.room.room import Room
from sfu.room.standing import keep


def moderate(room: Room, member: Participant, act: acts.Moderation, now: Instant) -> list[Effect]:
    """Raises `RequestError`: `not_allowed`, `not_found`, `bad_request`, `bad_state`, `room_full`."""
    if not member.grants.may_moderate:
        raise RequestError("not_allowed", "no right to moderate")
    match act:
        case acts.SetRole():
            return _set_role(room, member, act)
        case acts.SetGrants():
            return _set_grants(room, member, act)
        case acts.MuteOthers():
            return _mute(room, member, act)
        case acts.Remove():
            target = rank.target(member, room.participants, act.target)
            return room.leave(target, "removed", now)
        case acts.SetRoom():
            return _set_room(room, act)
        case acts.SetSpotlight():
            return _set_spotlight(room, member, act)
        case acts.Admit():
            done: list[Effect] = []
            for waiting in room.lobby.ids(member.grants) if act.waiting is None else (act.waiting,):
                done += room.admit(room.lobby.find(waiting, member.grants).id, now)
            return done
        case acts.Deny():
            denied = room.lobby.find(act.waiting, member.grants)
            rank.check(member.role, room.role_of(denied.join))
            room.lobby.take(denied.id)
            ended = effects.WaitingEnded(denied.join.session, "denied")
            return [ended, *room.tell_lobby(hidden=denied.hidden)]
        case acts.OpenBreakouts():
            room.breakouts.open(act.names)
            return [*keep(room, BreakoutsOpened(room.breakouts.groups)), *room.tell_room()]
        case acts.AssignBreakout():
            return _assign(room, member, act)
        case acts.CloseBreakouts():
            return _call_back(room)
        case acts.Broadcast():
            return room.tell(Broadcasted(member.id, member.name, act.text))


def _set_role(room: Room, member: Participant, act: acts.SetRole) -> list[Effect]:
    target = rank.target(member, room.participants, act.target)
    if act.role == "owner" and member.role != "owner":
        raise RequestError("not_allowed", "only an owner makes owners")
    grants = room.silence.applied(target.id, act.role, room.changed.of_role(act.role, target.grants))
    _check_within(member, target.grants, grants)
    room.changed.set_role(target.identity, act.role)
    return _enforce(room, target, act.role, grants)


def _set_grants(room: Room, member: Participant, act: acts.SetGrants) -> list[Effect]:
    if act.changes.join is not None or act.changes.hidden is not None:
        raise RequestError("bad_request", "join and hidden do not change while somebody is here")
    target = rank.target(member, room.participants, act.target)
    grants = act.changes.applied(target.grants)
    _check_within(member, target.grants, grants)
    room.changed.set_grants(target.identity, act.changes)
    return _enforce(room, target, target.role, grants)


def _check_within(member: Participant, before: Grants, after: Grants) -> None:
    """Nobody gives a right of power that it does not have; who moderates may let others speak."""
    for each in fields(after):
        if each.name in {"moderate", "record", "see_hidden"}:
            given = getattr(after, each.name) and not getattr(before, each.name)
            if given and not getattr(member.grants, each.name):
                raise RequestError("not_allowed", f"no right to {each.name}, so none to give")


def _enforce(room: Room, target: Participant, role: Role, grants: Grants) -> list[Effect]:
    """Make it so at once: what is not allowed any more ends, what is allowed anew begins."""
    before = target.grants
    if (target.role, before) == (role, grants):
        return []
    if "owner" in {target.role, role}:
        room.owners[target.identity] = role == "owner"
    target.role, target.grants = role, grants
    room.attendance.changed(target.id, role)
    done: list[Effect] = []
    for publication in list(target.publications.values()):
        if not grants.may_publish(publication.source, publication.kind):
            done += room.withdraw(target, publication.id)
    if not grants.subscribe:
        done += room.unsubscribe(target, tuple(target.subscriptions))
    if not grants.record:
        done += room.stop_recording(target)
    done.append(effects.Granted(target.id, grants))
    done += room.tell_of(target)
    if grants.follows and not before.follows:
        done += following.caught_up(room, target)
    if grants.subscribe and not before.subscribe:
        done += room.subscribe_by_itself(target)
    if grants.see_hidden != before.see_hidden:
        for hidden in visibility.beside(room.participants.values(), hidden=True):
            event: effects.Event = effects.ParticipantJoined(hidden.view())
            if not grants.see_hidden:
                event = effects.ParticipantLeft(hidden.id, "left")
            if hidden is not target:
                done.append(Announce((target.id,), event))
    lobby_changed = room.lobby.ids(grants) != room.lobby.ids(before)
    if grants.may_moderate and (lobby_changed or not before.may_moderate):
        done.append(Announce((target.id,), LobbyChanged(room.lobby.views(grants))))
    return done


def _mute(room: Room, member: Participant, act: acts.MuteOthers) -> list[Effect]:
    """Who is muted may unmute again; who shall not needs the right to publish withdrawn."""
    if act.target is not None:
        targets = [rank.target(member, room.participants, act.target)]
    else:
        others = (p for p in room.participants.values() if p is not member and not p.grants.may_moderate)
        targets = [each for each in others if rank.reaches(member.role, each.role)]
    done: list[Effect] = []
    for target in targets:
        for publication in list(target.publications.values()):
            if counts_as(act.source, publication.source, publication.kind):
                done += room.set_muted(target, publication.id, True, tell=(target.id, *room.watchers(target)))
    return done


def _set_room(room: Room, act: acts.SetRoom) -> list[Effect]:
    before = room.settings()
    if act.locked is not None:
        room.locked = act.locked
    if act.lobby is not None:
        room.lobby.on = act.lobby
    done = [] if act.silenced is None else _silence(room, on=act.silenced)
    if room.settings() == before:
        return []
    return [effects.ClassToStore(room.name, room.settings()), *room.tell_room(), *done]


def _silence(room: Room, *, on: bool) -> list[Effect]:
    """Take the sound of every student, or give it back to those from whom it was taken."""
    if room.silence.on == on:
        return []
    room.silence.on = on
    done: list[Effect] = []
    for target in list(room.participants.values()):
        grants = room.silence.applied(target.id, target.role, target.grants)
        if not on:
            for source in room.silence.taken.get(target.id, ()):
                grants = grants.with_source(source)
        done += _enforce(room, target, target.role, grants)
    if not on:
        room.silence.taken.clear()
    return done


def _set_spotlight(room: Room, member: Participant, act: acts.SetSpotlight) -> list[Effect]:
    spotlight = None
    if act.target is not None:
        target = visibility.found(member, room.participants, act.target)
        if target.grants.hidden:
            raise RequestError("not_found", f"no participant {act.target}")
        if act.publication is not None and act.publication not in target.publications:
            raise RequestError("not_found", f"no publication {act.publication} of {act.target}")
        spotlight = Spotlight(target.id, act.publication)
    if room.spotlight == spotlight:
        return []
    room.spotlight = spotlight
    return room.tell_room()


def _assign(room: Room, member: Participant, act: acts.AssignBreakout) -> list[Effect]:
    room.breakouts.check(act.breakout)
    wanted = dict.fromkeys(act.targets)
    targets = [rank.target(member, room.participants, target) for target in wanted]
    elsewhere = [each for each in targets if each.breakout != act.breakout]
    moved = tuple(each.identity for each in visibility.known_to_all(elsewhere))
    done = keep(room, BreakoutPlaced(moved, act.breakout)) if moved else []
    for target in targets:
        done += room.move(target, act.breakout)
    return done


def _call_back(room: Room) -> list[Effect]:
    done = keep(room, BreakoutsClosed()) if room.breakouts.groups else []
    for participant in list(room.participants.values()):
        done += room.move(participant, None)
    room.breakouts.close()
    return done + room.tell_room()
