"""What others say and do is for those who follow the room; a device that only sends gets none of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sfu.ids import ParticipantId
from sfu.room import effects, visibility
from sfu.room.class_events import HandsChanged, PollChanged, QuestionChanged, SeriesDeclared
from sfu.room.effects import Announce, Effect
from sfu.room.model import ChatNews, Participant, ParticipantView
from sfu.room.permissions import Grants
from sfu.room.state import StatePatched
from sfu.room.telemetry import SeriesView

if TYPE_CHECKING:
    from sfu.room.room import Room

NOTHING_SAID = ChatNews(messages=(), after=None, last=0, more=False)


def seen(view: ParticipantView, grants: Grants) -> ParticipantView:
    """A participant as somebody with these rights sees it: what one may not follow has no publications."""
    return view if grants.follows else replace(view, publications=())


def updated(participant: Participant, to: list[Participant]) -> list[Effect]:
    """Tell `to` how a participant is now, each what it may see."""
    whole = participant.view()
    bare = replace(whole, publications=())
    groups: dict[bool, list[ParticipantId]] = {True: [], False: []}
    for each in to:
        groups[each is participant or each.grants.follows].append(each.id)
    return [
        Announce(tuple(told), effects.ParticipantUpdated(whole if follows else bare))
        for follows, told in groups.items()
        if told
    ]


def watches(viewer: Participant, other: Participant) -> bool:
    """Whether it gets what the other measures: in the same breakout room, or moderating."""
    together = viewer.grants.subscribe and viewer.breakout == other.breakout
    return viewer is other or viewer.grants.may_moderate or together


def measured(room: Room, viewer: Participant) -> tuple[SeriesView, ...]:
    """The last minute of what it watches. Of what is far away only the alarms, as everybody hears of them."""
    views: list[SeriesView] = []
    for each in room.telemetry.views():
        if watches(viewer, room.participants[each.participant]):
            views.append(each)
        elif each.alarm is not None and viewer.grants.follows:
            views.append(replace(each, samples=()))
    return tuple(views)


def met(room: Room, participant: Participant) -> list[Effect]:
    """It has come into a breakout room: what is measured there is declared to it, and the other way round."""
    done: list[Effect] = []
    for other in room.participants.values():
        if other is participant or other.breakout != participant.breakout:
            continue
        for viewer, measurer in ((participant, other), (other, participant)):
            if (series := room.telemetry.declared(measurer.id)) and watches(viewer, measurer):
                done.append(Announce((viewer.id,), SeriesDeclared(measurer.id, series)))
    return done


def caught_up(room: Room, participant: Participant) -> list[Effect]:
    """What it has to know that may follow the room from now on. The chat is there to be asked for."""
    events: list[effects.Event] = [HandsChanged(room.hands.view())]
    for other in visibility.known_to(participant, room.participants.values()):
        if other is not participant:
            events += [effects.PublicationAdded(each) for each in other.publications.values()]
    events += [QuestionChanged(each) for each in room.questions.views(participant.identity)]
    events += [PollChanged(room.polls[poll].view(participant.identity)) for poll in room.polls.ids()]
    for key, entry in room.state.entries.items():
        events.append(StatePatched(participant.id, key, entry, entry.version))
    return [*(Announce((participant.id,), event) for event in events), *met(room, participant)]
