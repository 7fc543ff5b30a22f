"""The shared state over real WebSockets: the wire, refusals, late and returning clients, a judged game."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from noughts_and_crosses import KEY, NEW_GAME, judge
from play_noughts_and_crosses import moved, play
from signalling import clients, local_config, serving, until
from test_access import error
from test_class_signalling import ok

from sfu.config import LimitsConfig
from sfu_client import RefusedError, Room, events

DEADLINE_S = 20


async def test_changes_reach_everybody_in_order_and_the_late() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        assert ann.joined["state"] == {"version": 0, "entries": {}}
        assert (await ok(ann, "state_set", key="score", value={"ann": 1}))["version"] == 1
        patch = {
            "type": "state_patch",
            "participant": ann.me,
            "key": "score",
            "version": 1,
            "value": {"ann": 1},
        }
        assert await ann.next("state_patch") == await ben.next("state_patch") == patch
        await ok(ben, "state_set", key="turn", value=None, if_version=0)
        refused = await ann.request("state_set", key="score", value={}, if_version=7)
        assert (refused["code"], refused["version"], refused["value"]) == ("conflict", 1, {"ann": 1})
        refused = await ann.request("state_set", key="new", value={}, if_version=7)
        assert (refused["code"], refused["version"], "value" in refused) == ("conflict", 0, False)
        assert (await ok(ben, "state_delete", key="turn", if_version=2))["version"] == 3
        assert (await ann.next("state_patch", key="turn", version=3))["deleted"]
        cid = await those.join(name="Cid")
        assert cid.joined["state"] == {
            "version": 3, "entries": {"score": {"value": {"ann": 1}, "version": 1}},
        }  # fmt: skip


async def test_who_comes_back_gets_the_state_as_it_is_now() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await ok(ann, "state_set", key="a", value=1)
        await ben.drop()
        await ok(ann, "state_set", key="a", value=2)
        back = await those.open()
        resume = {"participant": ben.me, "secret": ben.joined["secret"]}
        joined = await back.join(name="Ben", resume=resume)
        assert joined["resumed"]
        assert joined["state"]["entries"] == {"a": {"value": 2, "version": 2}}


async def test_what_is_refused() -> None:
    limits = LimitsConfig(state_keys=2, state_value_bytes=20, acts_per_s=0.001, acts_burst=9)
    async with clients(local_config(limits=limits)) as those:
        ann = await those.join(template="webinar")
        observer = await those.join(name="Obi", role="observer")
        assert error(await observer.request("state_set", key="a", value=1)) == "not_allowed"
        assert error(await observer.request("state_delete", key="a")) == "not_allowed"
        wrong = (
            {"key": "a"},
            {"key": "", "value": 1},
            {"value": 1},
            {"key": "a", "value": 1, "if_version": -1},
        )
        for members in wrong:
            assert error(await ann.request("state_set", **members)) == "bad_request"
        await ann.socket.send_str('{"type": "state_set", "id": 90, "key": "a", "value": 1e999}')
        assert (await ann.next("error", id=90))["code"] == "bad_request"
        assert error(await ann.request("state_set", key="a", value="x" * 30)) == "too_large"
        assert error(await ann.request("state_delete", key="a")) == "not_found"
        await ok(ann, "state_set", key="a", value=1)
        await ok(ann, "state_set", key="b", value=1)
        assert error(await ann.request("state_set", key="c", value=1)) == "too_large"
        await ok(ann, "set_grants", participant=ann.me, grants={"data": False})
        assert error(await ann.request("state_set", key="a", value=2)) == "not_allowed"
        codes = [error(await ann.request("state_set", key="a", value=2)) for _ in range(3)]
        assert codes[-1] == "rate_limited"


async def test_python_clients_count_together_without_losing_one() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        serving() as server,
        Room.connect(server.http_url, "r", name="a") as a,
        Room.connect(server.http_url, "r", name="b") as b,
    ):

        async def count(room: Room) -> None:
            for _ in range(10):
                await room.state.update("count", lambda before: (before or 0) + 1)

        changes = b.events()
        await asyncio.gather(count(a), count(b))
        async for event in changes:
            if isinstance(event, events.StateChanged) and event.value == 20:
                break
        assert (a.state["count"], b.state["count"], len(b.state)) == (20, 20, 1)
        await a.state.delete("count")
        async for event in changes:
            if isinstance(event, events.StateChanged) and event.deleted:
                break
        assert dict(b.state) == {}


async def proposal(room: Room, value: Any) -> str:
    try:
        await room.state.set(KEY, value)
    except RefusedError as refused:
        return refused.code
    return "ok"


async def test_two_python_clients_play_by_the_servers_rules() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        serving(judge=judge) as server,
        Room.connect(server.http_url, "r", name="a") as a,
        Room.connect(server.http_url, "r", name="b") as b,
    ):
        endings = await asyncio.gather(play(a), play(b))
        assert endings[0] == endings[1]
        # Both take the first free cell: whoever began has 0, 2, 4 and 6, a diagonal.
        assert endings[0]["cells"] == ["x", "o", "x", "o", "x", "o", "x", "", ""]
        assert endings[0]["winner"] == "x"
        assert set(endings[0]["players"].values()) == {a.me.identity, b.me.identity}


async def test_the_servers_rules_refuse_cheats() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        serving(judge=judge) as server,
        Room.connect(server.http_url, "r", name="a") as a,
        Room.connect(server.http_url, "r", name="b") as b,
        Room.connect(server.http_url, "r", name="c") as c,
    ):
        first = moved(NEW_GAME, 4, a.me.identity)
        assert await proposal(a, first | {"winner": "x", "players": {}}) == "ok"
        # What follows from the move is the server's to say.
        assert a.state[KEY] == first
        second = moved(first, 0, b.me.identity)
        assert await proposal(a, second) == "illegal_move"
        for wrong in (first, moved(first, 4, "b"), {"cells": ["o"] * 9}, {"cells": None}, "x", None):
            assert await proposal(b, wrong) == "illegal_move"
        assert await proposal(b, second) == "ok"
        assert await proposal(c, moved(second, 1, "c")) == "illegal_move"
        with pytest.raises(RefusedError, match="illegal_move"):
            await c.state.delete(KEY)
        await c.state.set("free", 1)
        await a.state.delete(KEY)
        await until(lambda: set(c.state) == {"free"})
        game = NEW_GAME
        for cell, room in zip((0, 3, 1, 4, 2), itertools.cycle((c, b)), strict=False):
            game = moved(game, cell, room.me.identity)
            assert await proposal(room, game) == "ok"
        assert c.state[KEY]["winner"] == "x"
        assert await proposal(b, moved(game, 8, b.me.identity)) == "illegal_move"
