"""What rooms are asked for again and again, as JSON: encoded once, until it changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from sfu.ids import RoomName
from sfu.room.board import Board, Stroke
from sfu.room.class_events import ClassView
from sfu.room.effects import Welcome
from sfu.room.model import ChatMessage
from sfu.room.polls import PollView
from sfu.room.questions import QuestionView
from sfu.room.state import StateView
from sfu.server import class_wire, wire
from sfu.server.fairness import Account, Turns
from sfu.server.frames import Part
from sfu.server.wire import Json

POINT_US = 0.5
"""To encode one point of a stroke, and to deflate it."""
POINTS_AT_ONCE = 4000
"""Points that are encoded before others have their turn."""
VIEWS = 2048
"""Questions and polls whose text is remembered, of all rooms: the largest are some kilobytes."""


@dataclass(slots=True)
class _Texts:
    """Of one room. Each is kept with what it was made of."""

    strokes: dict[str, tuple[Stroke, str]] = field(default_factory=dict)
    board: tuple[int, Part] | None = None
    state: tuple[int, Part] | None = None
    messages: dict[int, tuple[ChatMessage, str]] = field(default_factory=dict)
    chat: tuple[tuple[int, ...], Part] | None = None


class Encoded:
    """One for all rooms of a conference."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._rooms: dict[RoomName, _Texts] = {}
        self.made = 0
        """Characters of all that was encoded here."""

    def forget(self, room: RoomName) -> None:
        """The room is closed."""
        self._rooms.pop(room, None)

    async def board(self, room: RoomName, board: Board, account: Account) -> Part:
        """The strokes as one list. Large ones are encoded piece by piece; what is returned is of now."""
        texts = self._rooms.setdefault(room, _Texts())
        points = 0
        for stroke in board.strokes:
            if points >= POINTS_AT_ONCE:
                await self._turns.take(account, points * POINT_US)
                points = 0
            points += self._encode_stroke(texts, stroke)
        if texts.board is None or texts.board[0] != board.revision:
            # What was drawn meanwhile is little.
            for stroke in board.strokes:
                self._encode_stroke(texts, stroke)
            present = {stroke.id for stroke in board.strokes}
            texts.strokes = {id_: kept for id_, kept in texts.strokes.items() if id_ in present}
            part = wire.listed(texts.strokes[stroke.id][1] for stroke in board.strokes)
            part.encode()
            texts.board = (board.revision, part)
        return texts.board[1]

    def _encode_stroke(self, texts: _Texts, stroke: Stroke) -> int:
        """Returns how many points were encoded, 0 where it is known."""
        known = texts.strokes.get(stroke.id)
        if known is not None and known[0] is stroke:
            return 0
        text = wire.dumps(class_wire.stroke(stroke))
        texts.strokes[stroke.id] = (stroke, text)
        self.made += len(text)
        return len(stroke.points)

    def welcome(self, welcome: Welcome) -> Json:
        """All that `joined` says of the room."""
        return {
            **wire.welcome(welcome),
            "class": self.work(welcome.work),
            "state": self.state(welcome.room, welcome.state),
            "chat": self.chat(welcome.room, welcome.chat.messages),
        }

    def state(self, room: RoomName, view: StateView) -> Part:
        """`joined.state`."""
        texts = self._rooms.setdefault(room, _Texts())
        if texts.state is None or texts.state[0] != view.version:
            texts.state = (view.version, Part(wire.dumps(wire.state(view))))
            self.made += len(texts.state[1].text)
        return texts.state[1]

    def chat(self, room: RoomName, messages: Iterable[ChatMessage]) -> Part:
        """`joined.chat`."""
        texts = self._rooms.setdefault(room, _Texts())
        wanted = tuple(messages)
        revisions = tuple(message.rev for message in wanted)
        if texts.chat is None or texts.chat[0] != revisions:
            kept: dict[int, tuple[ChatMessage, str]] = {}
            for message in wanted:
                known = texts.messages.get(message.id)
                if known is None or known[0] is not message:
                    known = (message, wire.dumps(wire.chat_message(message)))
                    self.made += len(known[1])
                kept[message.id] = known
            texts.messages = kept
            texts.chat = (revisions, wire.listed(text for _, text in kept.values()))
        return texts.chat[1]

    def work(self, view: ClassView) -> Json:
        """`joined.class`."""
        return {
            **class_wire.work(view),
            "questions": wire.listed(map(_question, view.questions)),
            "polls": wire.listed(map(_poll, view.polls)),
        }


@lru_cache(maxsize=VIEWS)
def _question(view: QuestionView) -> str:
    return wire.dumps(class_wire.question(view))


@lru_cache(maxsize=VIEWS)
def _poll(view: PollView) -> str:
    return wire.dumps(class_wire.poll(view))
