"""The room and its class as participants see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.ids import ParticipantId
from sfu.room import following, visibility
from sfu.room.class_events import ClassView, RoomView
from sfu.room.effects import Welcome
from sfu.room.hands import HandsView
from sfu.room.model import Participant, ParticipantView
from sfu.room.state import StateView

if TYPE_CHECKING:
    from sfu.room.room import Room


def room_view(room: Room) -> RoomView:
    """The room itself, the same for everybody."""
    return RoomView(
        name=room.name,
        template=room.template.name,
        locked=room.locked,
        lobby=room.lobby.on,
        silenced=room.silence.on,
        spotlight=room.spotlight,
        breakouts=room.breakouts.groups,
        recording=tuple(room.recording),
    )


def class_view(room: Room, participant: Participant) -> ClassView:
    """The class as one participant finds it; empty for who does not follow it."""
    if not participant.grants.follows:
        nothing = HandsView((), {})
        measured = following.measured(room, participant)
        return ClassView(hands=nothing, questions=(), polls=(), waiting=None, strokes=0, telemetry=measured)
    moderates = participant.grants.may_moderate
    polls = (room.polls[poll] for poll in room.polls.ids())
    return ClassView(
        hands=room.hands.view(),
        questions=room.questions.views(participant.identity),
        polls=tuple(
            poll.view(participant.identity, waiting_for(room, poll.id) if moderates else None)
            for poll in polls
        ),
        waiting=room.lobby.views(participant.grants) if moderates else None,
        strokes=len(room.board.strokes),
        telemetry=following.measured(room, participant),
    )


def waiting_for(room: Room, poll: int) -> tuple[ParticipantId, ...]:
    """Who has not answered a poll of those who are here and are asked: neither who moderates nor devices."""
    ballots = room.polls[poll].ballots
    return tuple(
        participant.id
        for participant in visibility.known_to_all(room.participants.values())
        if participant.identity not in ballots
        and participant.role in {"participant", "presenter"}
        and participant.grants.may_chat
        and not participant.grants.moderate
    )


def others(room: Room, participant: Participant) -> tuple[ParticipantView, ...]:
    """Everybody else whom the participant may see."""
    return tuple(
        following.seen(other.view(), participant.grants)
        for other in visibility.known_to(participant, room.participants.values())
        if other is not participant
    )


def welcome(room: Room, participant: Participant, chat_after: int | None, *, resumed: bool) -> Welcome:
    """The room as one participant finds it."""
    assert participant.session is not None
    follows = participant.grants.follows
    return Welcome(
        session=participant.session,
        room=room.name,
        view=room_view(room),
        work=class_view(room, participant),
        state=room.state.view() if follows else StateView(0, {}),
        participant=participant.view(),
        others=others(room, participant),
        secret=participant.secret,
        resumed=resumed,
        chat=room.chat.log.news(participant.identity, chat_after) if follows else following.NOTHING_SAID,
        chat_read=participant.chat_read,
        chat_seen=room.chat.seen(participant) if follows else {},
    )
