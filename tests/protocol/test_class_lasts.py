"""A class outlives its room, a restart of the server and its sudden end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from server_process import start
from signalling import Clients, Signal, clients
from test_access import SECRET, member, token
from test_chat_live import keeping

from sfu.config import AuthConfig, RoomConfig
from sfu.errors import RequestError
from sfu.store.writes import Writes

POINTS = [[0, 0], [100, 200]]


def guarded(folder: Path, **sections: Any) -> Any:
    return replace(keeping(folder, **sections), auth=AuthConfig(keys=(f"k:{SECRET}",)))


async def ok(who: Signal, kind: str, **members: Any) -> None:
    answer = await who.request(kind, **members)
    assert answer["type"] == "ok", answer


async def _a_lesson(ann: Signal, ben: Signal) -> None:
    await ok(ben, "ask", text="Why?")
    await ok(ann, "vote_question", question=1)
    await ok(ann, "ask", text="And how?")
    await ok(ann, "answer_question", question=2, answer="Like this")
    await ok(ann, "ask", text="Gone")
    await ok(ann, "remove_question", question=3)
    await ok(ann, "open_poll", question="Pizza?", options=["yes", "no"])
    await ok(ben, "vote_poll", poll=1, choices=[0])
    await ok(ben, "vote_poll", poll=1, choices=[1])
    await ok(ann, "open_poll", question="Both?", options=["a", "b"], multiple=True)
    await ok(ann, "vote_poll", poll=2, choices=[0, 1])
    await ok(ann, "close_poll", poll=2)
    await ok(ann, "call_on", participant=ben.me)
    for stroke in ("s1", "s2", "s3"):
        await ok(ben, "draw", stroke=stroke, color="#1a2b3c", width=40, points=POINTS)
    await ok(ben, "draw", stroke="s1", color="#1a2b3c", width=40, points=[[300, 400]])
    await ok(ann, "erase", stroke="s2")


async def _finds_it_again(ann: Signal, ben: Signal) -> None:
    why, how = ben.joined["class"]["questions"]
    assert why["identity"] == "ben", "whose it is, in whatever membership"
    assert (why["text"], why["votes"], why["voted"], why["answered"]) == ("Why?", 2, True, False)
    assert (how["text"], how["votes"], how["voted"], how["answer"]) == ("And how?", 1, False, "Like this")
    pizza, both = ben.joined["class"]["polls"]
    assert (pizza["counts"], pizza["voters"], pizza["voted"], pizza["open"]) == ([0, 1], 1, [1], True)
    assert (both["counts"], both["voted"], both["open"], both["multiple"]) == ([1, 1], [], False, True)
    assert ben.joined["class"]["hands"] == {"queue": [], "answered": {"ben": 1}}
    assert ben.joined["class"]["strokes"] == 2
    first, third = (await ben.request("board"))["strokes"]
    assert (first["id"], first["author"], first["points"]) == ("s1", "ben", [*POINTS, [300, 400]])
    assert third == {"id": "s3", "author": "ben", "color": "#1a2b3c", "width": 40, "points": POINTS}
    await ok(ben, "ask", text="More")
    assert (await ann.next("question"))["question"]["id"] == 3
    await ok(ben, "erase", stroke="s1")
    await ok(ben, "remove_question", question=3)


async def test_a_class_survives_the_rooms_end_and_a_restart(tmp_path: Path) -> None:
    config = guarded(tmp_path, room=RoomConfig(empty_s=0.05))
    async with clients(config) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben")
        await _a_lesson(ann, ben)
        await _everybody_leaves(those, ann, ben)
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben")
        await _finds_it_again(ann, ben)
        await ok(ann, "clear_board")
        await ok(ann, "draw", stroke="s1", color="#000000", width=10, points=POINTS)
    async with clients(config) as those:
        ben = await member(those, "ben")
        assert len(ben.joined["class"]["questions"]) == 2
        (only,) = (await ben.request("board"))["strokes"]
        assert (only["author"], only["color"]) == ("ann", "#000000")


async def _everybody_leaves(those: Clients, *who: Signal) -> None:
    for each in who:
        await ok(each, "leave")
    headers = {"Authorization": f"Bearer {token('ann')}"}
    while True:
        async with those.http.get(f"{those.server.http_url}/api/v1/rooms", headers=headers) as answer:
            if not (await answer.json())["rooms"]:
                return


async def test_kill_9_loses_no_vote_that_was_acknowledged(tmp_path: Path) -> None:
    settings = (f"auth.keys=k:{SECRET}", "limits.acts_burst=1000", "limits.message_burst=1000")
    async with aiohttp.ClientSession() as http:
        server = await start(tmp_path, *settings)
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        await ann.join(token=token(role="owner"))
        await ok(ann, "open_poll", question="?", options=["a", "b"])
        for number in range(50):
            await ok(ann, "vote_poll", poll=1, choices=[number % 2])
            await ok(ann, "ask", text=str(number))
        server.process.kill()
        await server.process.wait()
        server = await start(tmp_path, *settings)
        try:
            ann = Signal(await http.ws_connect(server.url + "/signal"))
            work = (await ann.join(token=token(role="owner")))["class"]
            assert [question["text"] for question in work["questions"]] == [str(n) for n in range(50)]
            assert work["polls"][0]["voted"] == [1]
        finally:
            await server.stop()


async def test_an_act_that_cannot_be_stored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(guarded(tmp_path)) as those:
        ann = await member(those, "ann", role="owner")

        def full(self: Writes) -> None:
            raise RequestError("overloaded", "of the test")

        async def fails(self: Writes, batch: list[Any]) -> Exception:
            return RequestError("storage_failed", "of the test")

        with monkeypatch.context() as patch:
            patch.setattr(Writes, "check", full)
            assert (await ann.request("ask", text="?"))["code"] == "overloaded"
            await ok(ann, "draw", stroke="s1", color="#1a2b3c", width=40, points=POINTS)
            await ok(ann, "raise_hand", raised=True)
        with monkeypatch.context() as patch:
            patch.setattr(Writes, "_try", fails)
            assert (await ann.request("ask", text="?"))["code"] == "storage_failed"
        await ok(ann, "ask", text="later")
