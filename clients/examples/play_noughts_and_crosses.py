"""Plays noughts and crosses with whoever is in the room, over the shared state. It takes the first free cell.

python clients/examples/play_noughts_and_crosses.py http://localhost:7880 demo

The server knows the rules where examples/noughts_and_crosses.py judges: then nobody can cheat.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from sfu_client import RefusedError, Room
from sfu_client.events import StateChanged

KEY = "noughts-and-crosses"
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
NEW_GAME: dict[str, Any] = {"cells": [""] * 9, "turn": "x", "players": {}, "winner": None}


def moved(game: dict[str, Any], cell: int, identity: str) -> dict[str, Any]:
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


def my_turn(game: dict[str, Any], identity: str) -> bool:
    """Whether `identity` may move: its mark is next, or nobody's is and it has none."""
    player = game["players"].get(game["turn"])
    free = player is None and identity not in game["players"].values()
    return not game["winner"] and (player == identity or free)


async def play(room: Room) -> dict[str, Any]:
    """Move whenever it is our turn, until the game is over: how it ended."""
    changes = room.events()
    while True:
        game = room.state.get(KEY, NEW_GAME)
        if game["winner"]:
            return dict(game)
        if my_turn(game, room.me.identity):
            after = moved(game, game["cells"].index(""), room.me.identity)
            # Somebody else may have been faster: their change is among the events.
            with contextlib.suppress(RefusedError):
                await room.state.set(KEY, after, if_version=room.state.version(KEY))
                continue
        async for event in changes:
            if isinstance(event, StateChanged) and event.key == KEY:
                break


async def main(url: str, name: str) -> None:
    async with Room.connect(url, name, name="Player", auto_subscribe=False) as room:
        game = await play(room)
        mine = game["players"].get(game["winner"]) == room.me.identity
        print("a draw" if game["winner"] == "draw" else "won" if mine else "lost")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
