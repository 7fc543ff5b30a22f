"""Chat over real WebSockets, with the server stopped, started anew and killed in between."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from postgres import postgres
from server_process import ServerProcess, start
from signalling import Clients, Signal, clients, local_config

from sfu.config import Config, LimitsConfig, RoomConfig, StorageConfig
from sfu.errors import RequestError
from sfu.room import chat as room_chat
from sfu.server import session, storage
from sfu.store import people
from sfu.store.store import open_store
from sfu.store.writes import Writes

FAST = LimitsConfig(messages_per_s=100_000, message_burst=100_000)


def keeping(folder: Path, **sections: Any) -> Config:
    """A server that keeps its chat in `folder`."""
    return local_config(storage=StorageConfig(url=f"sqlite:///{folder}/sfu.db"), limits=FAST, **sections)


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in messages]


async def say(who: Signal, text: str, **members: Any) -> dict[str, Any]:
    answer = await who.request("chat", text=text, **members)
    assert answer["type"] == "ok", answer
    message: dict[str, Any] = answer["message"]
    return message


async def history(who: Signal, **members: Any) -> tuple[list[str], bool]:
    answer = await who.request("chat_history", **members)
    assert answer["type"] == "chat_history", answer
    return texts(answer["messages"]), answer["more"]


async def test_history_survives_a_restart_and_numbers_go_on(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann = await those.join()
        for number in range(1, 6):
            assert (await say(ann, str(number)))["id"] == number
        await ann.request("chat_edit", message=2, text="two")
        await ann.request("chat_delete", message=3)
        await ann.request("chat_react", message=4, emoji="👍")
        other = await those.join("elsewhere")
        assert (await say(other, "not yours"))["id"] == 1
    async with clients(keeping(tmp_path)) as those:
        ben = await those.join(name="Ben")
        assert texts(ben.joined["chat"]) == ["1", "two", "", "4", "5"]
        assert (ben.joined["chat_last"], ben.joined["chat_more"]) == (8, False)
        two, three, four = ben.joined["chat"][1:4]
        assert (two["rev"], two["edited_at_ms"] >= two["sent_at_ms"]) == (6, True)
        assert (three["rev"], three["deleted"]) == (7, True)
        assert [len(who) for who in four["reactions"].values()] == [1]
        assert (await say(ben, "six"))["id"] == 9


async def test_pages_go_back_to_the_first_message(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path, room=RoomConfig(chat_history=3))) as those:
        ann = await those.join()
        for number in range(1, 11):
            await say(ann, str(number))
        ben = await those.join(name="Ben")
        assert (texts(ben.joined["chat"]), ben.joined["chat_more"]) == (["8", "9", "10"], True)
        assert await history(ben, before=8, limit=4) == (["4", "5", "6", "7"], True)
        assert await history(ben, before=4, limit=4) == (["1", "2", "3"], False)
        assert await history(ben, after=7, limit=2) == (["8", "9"], True)
        assert await history(ben, after=8) == (["9", "10"], False)
        assert (await history(ben))[0] == [str(number) for number in range(1, 11)]


async def test_old_messages_are_changed_too(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path, room=RoomConfig(chat_history=1))) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        for number in range(1, 4):
            await say(ann, str(number))
        assert (await ann.request("chat_edit", message=1, text="one"))["message"]["rev"] == 4
        assert (await ben.next("chat_updated"))["message"]["text"] == "one"
        assert (await ben.request("chat_edit", message=2, text="x"))["code"] == "not_allowed"
        assert (await ben.request("chat_react", message=99, emoji="👍"))["code"] == "not_found"
        assert (await history(ben))[0] == ["one", "2", "3"]


async def test_who_was_away_gets_what_was_missed_once(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await say(ann, "before")
        seen = (await ben.next("chat"))["message"]["rev"]
        await ben.drop()
        await say(ann, "missed", to=None)
        await say(ann, "for ben", to=ben.me)
        await ann.request("chat_edit", message=1, text="changed")
        resume = {"participant": ben.me, "secret": ben.joined["secret"]}
        back = await those.open()
        joined = await back.join(name="Ben", resume=resume, chat_after=seen)
        assert joined["resumed"]
        assert texts(joined["chat"]) == ["changed", "missed", "for ben"]
        assert (joined["chat_after"], joined["chat_last"]) == (seen, 4)
        await say(ann, "after")
        assert (await back.next("chat"))["message"]["text"] == "after"
        assert [m for m in back.seen if m["type"].startswith("chat")] == []


async def test_joining_amid_a_stream_of_messages_misses_none_and_doubles_none(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann = await those.join()
        await ann.send({"type": "ping", "id": 10_000})
        joining = asyncio.gather(*(_joins_and_reads(those, 200) for _ in range(5)))
        for number in range(1, 201):
            await ann.send({"type": "chat", "text": str(number), "id": 10_000 + number})
            if number % 20 == 0:
                await asyncio.sleep(0)
        for got in await asyncio.wait_for(joining, 30):
            assert got == list(range(1, 201))


async def _joins_and_reads(those: Clients, last: int) -> list[int]:
    who = await those.join(name="Late")
    got = [message["id"] for message in who.joined["chat"]]
    while not got or got[-1] < last:
        got.append((await who.next("chat"))["message"]["id"])
    return got


async def test_direct_messages_stay_between_two(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben, cat = [await those.join(name=name) for name in ("Ann", "Ben", "Cat")]
        sent = await say(ann, "psst", to=ben.me)
        assert (await ben.next("chat"))["message"] == sent
        await say(ann, "all")
        assert (await cat.next("chat"))["message"]["text"] == "all"
        assert (await history(ben))[0] == ["psst", "all"]
        assert (await history(cat))[0] == ["all"]
        for kind, members in (
            ("chat_edit", {"text": "x"}),
            ("chat_delete", {}),
            ("chat_react", {"emoji": "👍"}),
        ):
            assert (await cat.request(kind, message=sent["id"], **members))["code"] == "not_found"
        found = await cat.request("chat_search", text="psst")
        assert found == {"type": "chat_search", "messages": [], "id": found["id"]}


async def test_search_typing_and_mentions(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        identity = ben.joined["participant"]["identity"]
        await say(ann, "the homework")
        assert (await say(ann, f"@{identity}: Homework?"))["mentions"] == [identity]
        found = await ben.request("chat_search", text="HOMEWORK", limit=1)
        assert [message["id"] for message in found["messages"]] == [2]
        found = await ben.request("chat_search", text="homework", before=2)
        assert [message["id"] for message in found["messages"]] == [1]
        await ann.request("chat_typing")
        assert await ben.next("chat_typing") == {"type": "chat_typing", "participant": ann.me, "to": None}


async def test_answers_and_announcements_are_in_order() -> None:
    async with clients(local_config(limits=FAST)) as those:
        people = [await those.join(name=str(number)) for number in range(4)]
        for number in range(50):
            for who in people:
                await who.send({"type": "chat", "text": str(number), "id": 1_000 + number})
        for who in people:
            ids: list[int] = []
            while len(ids) < 200:
                message = await who.receive()
                if message["type"] in {"ok", "chat"}:
                    ids.append(message["message"]["id"])
            assert ids == list(range(1, 201))


async def test_what_cannot_be_stored_is_refused_and_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await say(ann, "kept")
        with monkeypatch.context() as patch:
            failing = RequestError("storage_failed", "of the test")

            async def fails(self: Writes, batch: list[Any]) -> Exception:
                return failing

            patch.setattr(Writes, "_try", fails)
            assert (await ann.request("chat", text="lost"))["code"] == "storage_failed"
        assert (await say(ann, "later"))["id"] == 3
        assert [(await ben.next("chat"))["message"]["text"] for _ in range(2)] == ["kept", "later"]


async def test_a_client_that_asks_too_fast_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_UNANSWERED", 2)
    async with clients(local_config(limits=FAST)) as those:
        ann = await those.join()
        for number in range(20):
            await ann.send({"type": "chat_history", "id": 1_000 + number})
            await ann.send({"type": "chat", "text": str(number), "id": 2_000 + number})
        answered = {(await ann.receive())["id"] for _ in range(40)}
        assert answered == {*range(1_000, 1_020), *range(2_000, 2_020)}


async def _killed_while_writing(server: ServerProcess, ann: Signal, after: int) -> dict[int, str]:
    """Kill the server when more than `after` messages are acknowledged; returns all that were."""
    acknowledged: dict[int, str] = {}

    async def write() -> None:
        for number in range(1, 5_000):
            await ann.send({"type": "chat", "text": f"message {number}", "id": number})
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    with contextlib.suppress(ConnectionError):
        while True:
            answer = await ann.receive()
            if answer["type"] == "ok":
                acknowledged[answer["message"]["id"]] = answer["message"]["text"]
            if len(acknowledged) == after + 1:
                server.process.kill()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert await server.process.wait() == -signal.SIGKILL
    return acknowledged


@pytest.mark.parametrize("after", [0, 37])
async def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, after: int) -> None:
    await _kill_9_loses_nothing(tmp_path, after)


@pytest.mark.postgres
async def test_kill_9_loses_nothing_acknowledged_on_postgresql(tmp_path: Path) -> None:
    with postgres() as url:
        await _kill_9_loses_nothing(tmp_path, 37, f"storage.url={url}")


async def _kill_9_loses_nothing(tmp_path: Path, after: int, *settings: str) -> None:
    """The process dies amid a stream of messages; each one that was acknowledged is there afterwards."""
    limits = (
        *settings,
        "limits.messages_per_s=100000",
        "limits.message_burst=100000",
        "room.chat_history=5000",
    )
    async with aiohttp.ClientSession() as http:
        server = await start(tmp_path, *limits)
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        await ann.join()
        acknowledged = await _killed_while_writing(server, ann, after)
        assert len(acknowledged) > after
        server = await start(tmp_path, *limits)
        try:
            ben = Signal(await http.ws_connect(server.url + "/signal"))
            joined = await ben.join(name="Ben")
            there = {message["id"]: message["text"] for message in joined["chat"]}
            assert acknowledged.items() <= there.items()
            assert sorted(there) == list(range(1, len(there) + 1))
            assert (await say(ben, "on"))["id"] == len(there) + 1
        finally:
            await server.stop()


async def test_sessions_are_recorded_with_their_end(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await ann.request("leave")
        ids = [ann.me, ben.me]
    async with open_store(f"sqlite:///{tmp_path}/sfu.db", tmp_path) as store, store.reading() as connection:
        rows = {row["id"]: row for row in await people.attendance(connection, "r", limit=10)}
    assert [rows[each]["reason"] for each in ids] == ["left", "shutdown"]
    assert all(row["left_ms"] >= row["joined_ms"] for row in rows.values())


async def test_a_message_to_somebody_away_waits(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben, cat = [await those.join(name=name) for name in ("Ann", "Ben", "Cat")]
        identity = ben.joined["participant"]["identity"]
        assert (await say(ann, "by name", to=identity))["to"] == ben.me
        await ben.request("leave")
        sent = await say(ann, "for later", to=identity)
        assert (sent["to"], sent["to_identity"]) == (identity, identity)
        assert (await ann.request("chat", text="?", to="nobody"))["code"] == "not_found"
        assert (await history(cat))[0] == []
    async with clients(keeping(tmp_path)) as those:
        back = await those.join(name="Ben", **{"pass": ben.joined["pass"]})
        assert texts(back.joined["chat"]) == ["by name", "for later"]
        assert back.joined["chat"][1]["to"] == identity
        assert texts((await those.join(name="Cat", **{"pass": cat.joined["pass"]})).joined["chat"]) == []


async def test_others_see_what_was_read_in_a_small_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await say(ann, "read me")
        await ben.request("chat_read", message=1)
        identity = ben.joined["participant"]["identity"]
        assert await ann.next("chat_seen") == {"type": "chat_seen", "identity": identity, "message": 1}
        cat = await those.join(name="Cat")
        assert cat.joined["chat_seen"] == {identity: 1}
        monkeypatch.setattr(room_chat, "SEEN_BY_PEOPLE", 2)
        await say(ann, "a large room")
        await ben.request("chat_read", message=2)
        assert (await ann.request("ping"))["type"] == "pong"
        assert [m for m in ann.seen if m["type"] == "chat_seen"] == []
        assert (await those.join(name="Dan")).joined["chat_seen"] == {}


async def test_retention_reaches_rooms_that_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A day is a millisecond here, and it is looked after all the time.
    monkeypatch.setattr(storage, "DAY_MS", 1)
    monkeypatch.setattr(storage, "CLEARED_EVERY_S", 0.01)
    kept = StorageConfig(url=f"sqlite:///{tmp_path}/sfu.db", retention_days=1)
    async with clients(local_config(storage=kept, limits=FAST)) as those:
        owner = await those.join(name="Owner")
        await owner.request("ask", text="old?")
        sent = await say(owner, "old")
        assert (await owner.next("question_removed"))["question"] == 1
        for _ in range(500):
            late = await those.join(name="Late")
            await late.request("leave")
            if late.joined["chat"] == []:
                break
        assert late.joined["chat"] == []
        # Rooms forget it before the database, in which it is found, and may be changed, until it is gone.
        for _ in range(500):
            changed = await owner.request("chat_edit", message=sent["id"], text="x")
            if changed["type"] == "error":
                break
        assert changed["code"] == "not_found"
