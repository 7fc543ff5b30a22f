"""Requests to moderate a room and to work in it. Each is an act that lacks only who does it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sfu.ids import ParticipantId, PublicationId
from sfu.room import acts
from sfu.room.acts import Act
from sfu.room.board import MAX_STROKE_POINTS, SIZE, Point
from sfu.room.breakout import MAX_BREAKOUTS
from sfu.room.effects import Announce, Effect
from sfu.room.model import BreakoutId
from sfu.room.permissions import ROLES, SOURCES, Source, parse_changes
from sfu.room.state import StatePatched
from sfu.server import validation as v
from sfu.server.validation import Message

MAX_ID = 64
MAX_TARGETS = 1000
MAX_NAME = 64
MAX_TEXT = 500
MAX_ANSWER = 2000
MAX_OPTIONS = 10
MAX_OPTION = 200
MAX_BOARD_WIDTH = 500
MAX_KEY = 128

_COLOR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class InRoom:
    """`by` makes the act of whoever asked for it."""

    by: Callable[[ParticipantId], Act]


def _set_role(message: Message) -> InRoom:
    role = v.choice(message, "role", ROLES)
    return InRoom(partial(acts.SetRole, target=_participant(message), role=role))


def _set_grants(message: Message) -> InRoom:
    given = v.optional_object(message, "grants")
    if not given:
        raise v.bad("grants must be an object with rights")
    try:
        changes = parse_changes(given)
    except (ValueError, TypeError) as error:
        raise v.bad(f"grants: {str(error)[:MAX_NAME]}") from None
    return InRoom(partial(acts.SetGrants, target=_participant(message), changes=changes))


def _mute_participant(message: Message) -> InRoom:
    return InRoom(partial(acts.MuteOthers, target=_participant(message), source=_source(message)))


def _mute_all(message: Message) -> InRoom:
    return InRoom(partial(acts.MuteOthers, target=None, source=_source(message)))


def _remove(message: Message) -> InRoom:
    return InRoom(partial(acts.Remove, target=_participant(message)))


def _set_room(message: Message) -> InRoom:
    locked, lobby = v.optional_boolean(message, "locked"), v.optional_boolean(message, "lobby")
    silenced = v.optional_boolean(message, "silenced")
    return InRoom(partial(acts.SetRoom, locked=locked, lobby=lobby, silenced=silenced))


def _spotlight(message: Message) -> InRoom:
    target = _participant(message) if message.get("participant") is not None else None
    publication = None
    if target is not None and message.get("publication") is not None:
        publication = PublicationId(v.text(message, "publication", longest=MAX_ID))
    return InRoom(partial(acts.SetSpotlight, target=target, publication=publication))


def _admit(message: Message) -> InRoom:
    waiting = v.text(message, "waiting", longest=MAX_ID) if message.get("waiting") is not None else None
    return InRoom(partial(acts.Admit, waiting=waiting))


def _deny(message: Message) -> InRoom:
    return InRoom(partial(acts.Deny, waiting=v.text(message, "waiting", longest=MAX_ID)))


def _open_breakouts(message: Message) -> InRoom:
    names = tuple(
        v.label({"names": name}, "names", shortest=1, longest=MAX_NAME)
        for name in v.texts(message, "names", most=MAX_BREAKOUTS, longest=MAX_NAME)
    )
    return InRoom(partial(acts.OpenBreakouts, names=names))


def _assign_breakout(message: Message) -> InRoom:
    targets = tuple(
        ParticipantId(each) for each in v.texts(message, "participants", most=MAX_TARGETS, longest=MAX_ID)
    )
    number = v.optional_integer(message, "breakout", lowest=1, highest=MAX_BREAKOUTS)
    breakout = None if number is None else BreakoutId(number)
    return InRoom(partial(acts.AssignBreakout, targets=targets, breakout=breakout))


def _close_breakouts(message: Message) -> InRoom:
    return InRoom(acts.CloseBreakouts)


def _broadcast(message: Message) -> InRoom:
    return InRoom(partial(acts.Broadcast, text=v.shown(message, "text", longest=MAX_TEXT)))


def _raise_hand(message: Message) -> InRoom:
    return InRoom(partial(acts.RaiseHand, raised=v.boolean(message, "raised")))


def _lower_hand(message: Message) -> InRoom:
    target = _participant(message) if message.get("participant") is not None else None
    return InRoom(partial(acts.LowerHand, target=target))


def _call_on(message: Message) -> InRoom:
    return InRoom(partial(acts.CallOn, target=_participant(message)))


def _ask(message: Message) -> InRoom:
    return InRoom(partial(acts.AskQuestion, text=v.shown(message, "text", longest=MAX_TEXT)))


def _vote_question(message: Message) -> InRoom:
    voted = v.boolean(message, "voted", True)
    return InRoom(partial(acts.VoteQuestion, question=_number(message, "question"), voted=voted))


def _answer_question(message: Message) -> InRoom:
    return InRoom(
        partial(
            acts.AnswerQuestion,
            question=_number(message, "question"),
            answered=v.boolean(message, "answered", True),
            answer=v.shown(message, "answer", shortest=0, longest=MAX_ANSWER, default=""),
        )
    )


def _remove_question(message: Message) -> InRoom:
    return InRoom(partial(acts.RemoveQuestion, question=_number(message, "question")))


def _open_poll(message: Message) -> InRoom:
    options = v.texts(message, "options", most=MAX_OPTIONS, longest=MAX_OPTION)
    if len(options) < 2:
        raise v.bad("options must be at least two")
    for option in options:
        v.storable(option, "options")
    question = v.shown(message, "question", longest=MAX_TEXT)
    multiple = v.boolean(message, "multiple", False)
    return InRoom(partial(acts.OpenPoll, question=question, options=options, multiple=multiple))


def _vote_poll(message: Message) -> InRoom:
    given = message.get("choices")
    if not isinstance(given, list) or len(given) > MAX_OPTIONS:
        raise v.bad(f"choices must be a list of at most {MAX_OPTIONS} numbers")
    choices = tuple(v.integer({"choices": each}, "choices", lowest=0, highest=MAX_OPTIONS) for each in given)
    return InRoom(partial(acts.VotePoll, poll=_number(message, "poll"), choices=choices))


def _close_poll(message: Message) -> InRoom:
    return InRoom(partial(acts.ClosePoll, poll=_number(message, "poll")))


def _remove_poll(message: Message) -> InRoom:
    return InRoom(partial(acts.RemovePoll, poll=_number(message, "poll")))


def _react(message: Message) -> InRoom:
    return InRoom(partial(acts.React, reaction=v.text(message, "reaction", shortest=1, longest=16)))


def _draw(message: Message) -> InRoom:
    color = v.text(message, "color", longest=7)
    if not _COLOR.fullmatch(color):
        raise v.bad("color must be like #1a2b3c")
    return InRoom(
        partial(
            acts.Draw,
            stroke=_stroke(message),
            color=color,
            width=v.integer(message, "width", lowest=1, highest=MAX_BOARD_WIDTH),
            points=_points(message),
        )
    )


def _points(message: Message) -> tuple[Point, ...]:
    given = message.get("points")
    if not isinstance(given, list) or not 0 < len(given) <= MAX_STROKE_POINTS:
        raise v.bad(f"points must be a list of 1 to {MAX_STROKE_POINTS} points")
    points: list[Point] = []
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2:
            raise v.bad("a point is [x, y]")
        x, y = (v.integer({"points": each}, "points", lowest=0, highest=SIZE) for each in pair)
        points.append((x, y))
    return tuple(points)


def _erase(message: Message) -> InRoom:
    return InRoom(partial(acts.Erase, stroke=_stroke(message)))


def _clear_board(message: Message) -> InRoom:
    return InRoom(acts.ClearBoard)


def _state_set(message: Message) -> InRoom:
    if "value" not in message:
        raise v.bad("value is missing")
    return _change_state(message, value=message["value"])


def _state_delete(message: Message) -> InRoom:
    return _change_state(message, deleted=True)


def _change_state(message: Message, **wanted: Any) -> InRoom:
    key = v.label(message, "key", shortest=1, longest=MAX_KEY)
    if_version = v.optional_integer(message, "if_version", lowest=0, highest=v.LARGEST_ID)
    return InRoom(partial(acts.ChangeState, key=key, if_version=if_version, **wanted))


def answer(done: Iterable[Effect]) -> dict[str, Any]:
    """What answers an act that was done; a change of the shared state tells its version."""
    for effect in done:
        if isinstance(effect, Announce) and isinstance(effect.event, StatePatched):
            return {"type": "ok", "version": effect.event.version}
    return {"type": "ok"}


def _set_recording(message: Message) -> InRoom:
    return InRoom(partial(acts.SetRecording, on=v.boolean(message, "on")))


def _participant(message: Message) -> ParticipantId:
    return ParticipantId(v.text(message, "participant", shortest=1, longest=MAX_ID))


def _source(message: Message) -> Source:
    return v.choice(message, "source", SOURCES) if message.get("source") is not None else "microphone"


def _stroke(message: Message) -> str:
    return v.label(message, "stroke", shortest=1, longest=MAX_ID)


def _number(message: Message, name: str) -> int:
    return v.integer(message, name, lowest=0, highest=v.LARGEST_ID)


PARSERS: Mapping[str, Callable[[Message], InRoom]] = {
    "set_role": _set_role,
    "set_grants": _set_grants,
    "mute_participant": _mute_participant,
    "mute_all": _mute_all,
    "remove": _remove,
    "set_room": _set_room,
    "spotlight": _spotlight,
    "admit": _admit,
    "deny": _deny,
    "open_breakouts": _open_breakouts,
    "assign_breakout": _assign_breakout,
    "close_breakouts": _close_breakouts,
    "broadcast": _broadcast,
    "raise_hand": _raise_hand,
    "lower_hand": _lower_hand,
    "call_on": _call_on,
    "ask": _ask,
    "vote_question": _vote_question,
    "answer_question": _answer_question,
    "remove_question": _remove_question,
    "open_poll": _open_poll,
    "vote_poll": _vote_poll,
    "close_poll": _close_poll,
    "remove_poll": _remove_poll,
    "react": _react,
    "draw": _draw,
    "erase": _erase,
    "clear_board": _clear_board,
    "state_set": _state_set,
    "state_delete": _state_delete,
    "set_recording": _set_recording,
}
