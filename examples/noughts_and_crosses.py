"""The rules of noughts and crosses, kept by the server: a judge of the shared state (docs/protocol.md).

The game lies under one key. Whoever moves proposes the board as it shall be; what else a client writes there
is not looked at. The first two who move are the players; who leaves has lost. As an extension it rules every
room of the server (docs/extensions.md):

SFU_EXTENSIONS__MODULES=noughts_and_crosses PYTHONPATH=examples sfu serve
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from sfu.errors import RequestError
from sfu.extensions import Accept, Change, Entry, Event, Hooks, Refuse, Replace, Verdict

KEY = "noughts-and-crosses"
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
NEW_GAME: dict[str, Any] = {"cells": [""] * 9, "turn": "x", "players": {}, "winner": None}


def judge(change: Change, entries: Mapping[str, Entry]) -> Verdict:
    """Accept what is no game, refuse what the rules forbid, and complete a legal move with what follows."""
    if change.key != KEY:
        return Accept()
    game = entries[KEY].value if KEY in entries else NEW_GAME
    playing = change.by.identity in game["players"].values()
    if change.deleted:
        return Accept() if playing or game["winner"] else Refuse("illegal_move", "others are playing")
    if game["winner"]:
        return Refuse("illegal_move", "the game is over")
    mark = game["turn"]
    if game["players"].get(mark, change.by.identity) != change.by.identity:
        return Refuse("illegal_move", "it is the other's turn")
    if mark not in game["players"] and playing:
        return Refuse("illegal_move", "nobody plays against themselves")
    cell = moved(game["cells"], change.value, mark)
    if cell is None:
        return Refuse("illegal_move", f"a move puts one {mark} into one empty cell")
    return Replace(after(game, cell, change.by.identity))


def moved(cells: list[str], proposed: Any, mark: str) -> int | None:
    """The one empty cell that got `mark`; None where anything else was proposed."""
    wanted = proposed.get("cells") if isinstance(proposed, dict) else None
    if not isinstance(wanted, list) or len(wanted) != len(cells):
        return None
    changed = [cell for cell in range(len(cells)) if wanted[cell] != cells[cell]]
    if len(changed) != 1 or cells[changed[0]] != "" or wanted[changed[0]] != mark:
        return None
    return changed[0]


def after(game: Mapping[str, Any], cell: int, identity: str) -> dict[str, Any]:
    """The game after whose turn it is, `identity`, has taken a cell."""
    mark = game["turn"]
    cells = [mark if at == cell else before for at, before in enumerate(game["cells"])]
    won = any(all(cells[at] == mark for at in line) for line in LINES)
    return {
        "cells": cells,
        "turn": "o" if mark == "x" else "x",
        "players": {**game["players"], mark: identity},
        "winner": mark if won else None if "" in cells else "draw",
    }


def extend(hooks: Hooks) -> None:
    async def gone(event: Event) -> None:
        # Where nobody is left the room may have ended, and with it the game.
        with contextlib.suppress(RequestError):
            give_up(hooks, event.room, event.data["identity"])

    hooks.judge_state(judge)
    hooks.on_event(gone, "participant_left")


def give_up(hooks: Hooks, room: str, identity: str) -> None:
    """End the game that `identity` plays, if it does: the other has won."""
    entry = hooks.state(room).get(KEY)
    if entry is None or entry.value["winner"]:
        return
    for mark, player in entry.value["players"].items():
        if player == identity:
            ended = {**entry.value, "winner": "o" if mark == "x" else "x"}
            hooks.set_state(room, KEY, ended, if_version=entry.version, name="Referee")
