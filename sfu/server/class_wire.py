"""The room, its class and what happens there as the JSON objects of docs/protocol.md."""

from __future__ import annotations

from typing import Any

from sfu.room import class_events as events
from sfu.room import names
from sfu.room.board import Stroke
from sfu.room.class_events import ClassEvent, ClassView, RoomView
from sfu.room.hands import HandsView
from sfu.room.lobby import WaitingView
from sfu.room.polls import PollView
from sfu.room.questions import QuestionView
from sfu.server import telemetry_wire

Json = dict[str, Any]


def room(value: RoomView) -> Json:
    spotlight = value.spotlight
    return {
        "name": value.name,
        "template": value.template,
        "locked": value.locked,
        "lobby": value.lobby,
        "silenced": value.silenced,
        "spotlight": spotlight
        and {"participant": spotlight.participant, "publication": spotlight.publication},
        "breakouts": [{"id": each.id, "name": each.name} for each in value.breakouts],
        "recording": list(value.recording),
    }


def hands(value: HandsView) -> Json:
    return {
        "queue": [
            {"participant": each.participant, "raised_at_ms": each.raised_at_ms} for each in value.queue
        ],
        "answered": dict(value.answered),
    }


def question(value: QuestionView) -> Json:
    voted = {} if value.voted is None else {"voted": value.voted}
    return {
        "id": value.id,
        "participant": value.participant,
        "identity": value.identity,
        "name": value.name,
        "text": value.text,
        "asked_at_ms": value.asked_at_ms,
        "votes": value.votes,
        "answered": value.answered,
        "answer": value.answer,
        **voted,
    }


def poll(value: PollView) -> Json:
    waiting = {} if value.waiting is None else {"waiting": list(value.waiting)}
    voted = {} if value.voted is None else {"voted": list(value.voted)}
    return {
        "id": value.id,
        "question": value.question,
        "options": list(value.options),
        "multiple": value.multiple,
        "open": value.open,
        "opened_at_ms": value.opened_at_ms,
        "counts": list(value.counts),
        "voters": value.voters,
        **waiting,
        **voted,
    }


def lobby(value: tuple[WaitingView, ...]) -> list[Json]:
    return [
        {
            "id": each.id,
            "identity": each.identity,
            "name": each.name,
            "name_key": names.key(each.name),
            "since_ms": each.since_ms,
        }
        for each in value
    ]


def stroke(value: Stroke) -> Json:
    return {
        "id": value.id,
        "author": value.author,
        "color": value.color,
        "width": value.width,
        "points": value.points,
    }


def work(value: ClassView) -> Json:
    """`joined.class` without its questions and polls."""
    return {
        "hands": hands(value.hands),
        "lobby": None if value.waiting is None else lobby(value.waiting),
        "strokes": value.strokes,
        "telemetry": telemetry_wire.snapshot(value.telemetry),
    }


def event(value: ClassEvent) -> Json:
    """The message that tells of `value`."""
    match value:
        case events.RoomUpdated():
            return {"type": "room_updated", "room": room(value.room)}
        case events.LobbyChanged():
            return {"type": "lobby", "waiting": lobby(value.waiting)}
        case events.HandsChanged():
            return {"type": "hands", "hands": hands(value.hands)}
        case events.QuestionChanged():
            return {"type": "question", "question": question(value.question)}
        case events.QuestionRemoved():
            return {"type": "question_removed", "question": value.question}
        case events.PollChanged():
            return {"type": "poll", "poll": poll(value.poll)}
        case events.PollRemoved():
            return {"type": "poll_removed", "poll": value.poll}
        case events.Reacted():
            return {"type": "reaction", "participant": value.participant, "reaction": value.reaction}
        case events.Drawn():
            return {"type": "drawn", "participant": value.participant, "stroke": stroke(value.stroke)}
        case events.Erased():
            return {"type": "erased", "stroke": value.stroke}
        case events.RecordingChanged():
            return {"type": "recording", "participant": value.participant, "on": value.on}
        case events.SeriesDeclared() | events.SamplesTaken() | events.AlarmChanged():
            return telemetry_wire.event(value)
        case events.Broadcasted():
            return {
                "type": "broadcast",
                "participant": value.participant,
                "name": value.name,
                "text": value.text,
            }
