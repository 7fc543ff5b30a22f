"""Rooms as JSON: encoded once until they change, and then only what has changed."""

from __future__ import annotations

import json
from typing import Any

from sfu.config import LimitsConfig
from sfu.ids import ParticipantId, RoomName
from sfu.room.board import Board, Stroke
from sfu.room.model import ChatMessage
from sfu.room.state import Entry, StateView
from sfu.server.encoded import Encoded
from sfu.server.fairness import Account, Turns

ROOM = RoomName("r")


def stroke(name: str, count: int = 3) -> Stroke:
    points = tuple((n, n) for n in range(count))
    return Stroke(id=name, author="ann", color="#000000", width=1, points=points)


async def drawn(encoded: Encoded, board: Board, who: Account | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (await encoded.board(ROOM, board, who or Account(LimitsConfig(), 0))).text
    )
    return found


async def test_a_board_is_encoded_once_and_then_only_what_was_drawn() -> None:
    encoded, board = Encoded(Turns()), Board()
    for number in range(50):
        board.draw(stroke(f"s{number}", 100))
    assert [each["id"] for each in await drawn(encoded, board)] == [f"s{n}" for n in range(50)]
    whole = encoded.made
    part = await encoded.board(ROOM, board, Account(LimitsConfig(), 0))
    assert await encoded.board(ROOM, board, Account(LimitsConfig(), 0)) is part
    assert encoded.made == whole
    board.draw(stroke("s7", 1))
    found = await drawn(encoded, board)
    assert [len(each["points"]) for each in found[6:9]] == [100, 101, 100]
    assert found[7]["points"][:2] == [[0, 0], [1, 1]]
    assert encoded.made - whole < whole / 40
    board.erase("s7", None)
    assert len(await drawn(encoded, board)) == 49
    board.clear()
    assert await drawn(encoded, board) == []


async def test_a_large_board_is_encoded_in_several_turns() -> None:
    turns, board, who = Turns(), Board(), Account(LimitsConfig(), 0)
    for number in range(30):
        board.draw(stroke(f"s{number}", 2000))
    encoded = Encoded(turns)
    assert len(await drawn(encoded, board, who)) == 30
    paid = who.charged_us
    assert paid >= 0.8 * 60_000 * 0.3
    await drawn(encoded, board, who)
    assert who.charged_us == paid


def test_a_closed_room_leaves_nothing_to_the_next_of_its_name() -> None:
    encoded = Encoded(Turns())
    before = encoded.state(ROOM, StateView(1, {"a": Entry("old", 1)}))
    assert json.loads(before.text)["entries"]["a"]["value"] == "old"
    assert encoded.state(ROOM, StateView(1, {})) is before
    encoded.forget(ROOM)
    assert json.loads(encoded.state(ROOM, StateView(1, {"a": Entry("new", 1)})).text)["entries"] == {
        "a": {"value": "new", "version": 1}
    }


def said(number: int, rev: int = 0, text: str = "x") -> ChatMessage:
    return ChatMessage(
        id=number, rev=rev or number, sender=ParticipantId("PA"), identity="ann", name="Ann", text=text,
        to=None, to_identity=None, mentions=(), sent_at_ms=1,
    )  # fmt: skip


def test_of_a_chat_only_new_messages_are_encoded() -> None:
    encoded = Encoded(Turns())
    log = [said(n, text="x" * 1000) for n in range(1, 21)]
    first = encoded.chat(ROOM, log)
    whole = encoded.made
    assert encoded.chat(ROOM, log) is first
    changed = [*log[1:2], *log[3:], said(3, 21, "changed"), said(22)]
    told = json.loads(encoded.chat(ROOM, changed).text)
    assert [each["id"] for each in told] == [2, *range(4, 21), 3, 22]
    assert told[-2]["text"] == "changed"
    assert encoded.made - whole < 1000
