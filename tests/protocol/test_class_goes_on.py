"""What stands in a class while it is open is there again after the server's sudden end, and only then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from guarded import SECRET, member, token
from server_process import start
from signalling import Clients, Signal, clients, until
from test_chat_live import keeping
from test_class_signalling import ok
from test_ownership import back
from test_webhooks import receiver

from sfu.config import AuthConfig, RoomConfig
from sfu.errors import RequestError
from sfu.server import lasting
from sfu.store import people
from sfu.store.store import open_store
from sfu.store.writes import Writes

NAMES = ["One", "Two"]


def hands(who: Signal) -> list[str]:
    """Who has its hand up, in order, as somebody finds it."""
    return [hand["participant"] for hand in who.joined["class"]["hands"]["queue"]]


async def hands_told(who: Signal, *queue: str) -> None:
    while [hand["participant"] for hand in (await who.next("hands"))["hands"]["queue"]] != list(queue):
        pass


def breakouts(who: Signal) -> tuple[list[str], int | None]:
    """Which there are, and where one is."""
    return [each["name"] for each in who.joined["room"]["breakouts"]], who.joined["participant"]["breakout"]


async def _a_lesson(ann: Signal, ben: Signal, cid: Signal) -> None:
    await ok(ann, "set_recording", on=True)
    await ok(ann, "open_breakouts", names=NAMES)
    await ok(ann, "assign_breakout", participants=[ben.me, cid.me], breakout=2)
    await ok(ann, "assign_breakout", participants=[cid.me], breakout=1)
    await ok(cid, "raise_hand", raised=True)
    await ok(ben, "raise_hand", raised=True)
    await ok(ann, "raise_hand", raised=True)
    await ok(ann, "call_on", participant=ben.me)
    await ok(ann, "lower_hand", participant=ann.me)
    await ok(ben, "raise_hand", raised=True)


async def test_kill_9_ends_neither_hands_nor_breakout_rooms(tmp_path: Path) -> None:
    async with receiver() as there, aiohttp.ClientSession() as http:
        settings = (f"auth.keys=k:{SECRET}", f"webhooks.urls={there.url}", "server.https_port=-1")
        server = await start(tmp_path, *settings)

        async def joined(identity: str, role: str = "participant") -> Signal:
            who = Signal(await http.ws_connect(server.url + "/signal"))
            assert (await who.join(token=token(identity, role=role)))["type"] == "joined"
            return who

        await _a_lesson(await joined("ann", "owner"), await joined("ben"), await joined("cid"))
        await until(lambda: "recording" in there.types())
        server.process.kill()
        await server.process.wait()
        server = await start(tmp_path, *settings)
        try:
            ben = await joined("ben")
            assert (hands(ben), breakouts(ben)) == ([ben.me], (NAMES, 2))
            ann = await joined("ann", "owner")
            assert (hands(ann), breakouts(ann)) == ([ben.me], (NAMES, None)), "no hand without its owner"
            assert ann.joined["class"]["hands"]["answered"] == {"ben": 1}
            assert ann.joined["room"]["recording"] == []
            cid = await joined("cid")
            assert (hands(cid), breakouts(cid)) == ([cid.me, ben.me], (NAMES, 1))
            await hands_told(ann, cid.me, ben.me)
            await until(lambda: there.types().count("participant_joined") >= 6, 30)
        finally:
            await server.stop()
    _told_of_the_end(there.taken)
    async with open_store(f"sqlite:///{tmp_path}/sfu.db", tmp_path) as store, store.reading() as connection:
        lines = await people.audit_log(connection, room="r", limit=100)
    records = [(each["identity"], each["detail"]) for each in lines if each["action"] == "recording"]
    assert records == [("ann", {"on": False, "reason": "crashed"}), ("ann", {"on": True})]


def _told_of_the_end(taken: list[dict[str, Any]]) -> None:
    once = list({each["id"]: each for each in taken}.values())
    recordings = [each["data"] for each in once if each["type"] == "recording"]
    assert [(each["identity"], each["on"], each.get("reason")) for each in recordings] == [
        ("ann", True, None),
        ("ann", False, "crashed"),
    ]
    assert recordings[0]["participant"] == recordings[1]["participant"]
    crashed = [each["data"].get("reason") for each in once].index("crashed")
    assert once[crashed]["type"] == "recording", "before who recorded is gone"
    raised = [each["data"]["identity"] for each in once[crashed:] if each["type"] == "hand"]
    assert raised == ["ben", "cid"], "and their hands are up again"


async def _stood(those: Clients) -> list[Signal]:
    """A lesson without tokens."""
    ann, ben = await those.join(), await those.join(name="Ben")
    await ok(ben, "raise_hand", raised=True)
    await ok(ann, "open_breakouts", names=NAMES)
    await ok(ann, "assign_breakout", participants=[ben.me], breakout=1)
    return [ann, ben]


async def test_a_pass_says_whose_hand_it_is_and_a_stranger_has_none(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await _stood(those)
    async with clients(keeping(tmp_path)) as those:
        stranger = await those.join(name="Ben")
        assert (hands(stranger), breakouts(stranger)) == ([], (NAMES, None))
        again = await back(those, ben)
        assert (hands(again), breakouts(again)) == ([again.me], (NAMES, 1))
        await hands_told(stranger, again.me)
        await ok(await back(those, ann), "close_breakouts")
        await ok(again, "raise_hand", raised=False)
    async with clients(keeping(tmp_path)) as those:
        again = await back(those, ben)
        assert (hands(again), breakouts(again)) == ([], ([], None)), "as it was left"


@pytest.mark.parametrize(("name", "value"), [("RETURN_US", 0), ("STALE_MS", 0)])
async def test_an_old_lesson_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    async with clients(keeping(tmp_path)) as those:
        _ann, ben = await _stood(those)
    with monkeypatch.context() as patch:
        patch.setattr(lasting, name, value)
        async with clients(keeping(tmp_path)) as those:
            again = await back(those, ben)
            assert (hands(again), breakouts(again)) == ([], ([], None))
            await ok(again, "raise_hand", raised=True)
            await ok(again, "raise_hand", raised=False)
    async with clients(keeping(tmp_path)) as those:
        again = await back(those, ben)
        assert (hands(again), breakouts(again)) == ([], ([], None)), "nor later"


async def test_what_stands_ends_with_the_room(tmp_path: Path) -> None:
    config = keeping(tmp_path, room=RoomConfig(empty_s=0, grace_s=0))
    async with clients(config) as those:
        ann, ben = await _stood(those)
        for who in (ann, ben):
            await ok(who, "leave")
        await until(lambda: not those.server._conference.core.summaries())
        again = await back(those, ben)
        assert (hands(again), breakouts(again)) == ([], ([], None))


async def test_a_hand_that_waits_goes_down_in_a_room_that_nobody_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await _stood(those)
    monkeypatch.setattr("sfu.room.room.RETURN_US", 1_000)
    async with clients(keeping(tmp_path)) as those:
        await back(those, ann)
        room = those.server._conference.core.room
        await until(lambda: not len(room(ann.joined["room"]["name"]).hands))
        assert hands(await back(those, ben)) == []


async def test_hands_are_raised_though_nothing_can_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(keeping(tmp_path), auth=AuthConfig(keys=(f"k:{SECRET}",)))
    async with clients(config) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben")

        def full(self: Writes) -> None:
            raise RequestError("overloaded", "of the test")

        async def fails(self: Writes, batch: list[Any]) -> Exception:
            return RequestError("storage_failed", "of the test")

        for name, broken in (("check", full), ("_try", fails)):
            with monkeypatch.context() as patch:
                patch.setattr(Writes, name, broken)
                await ok(ben, "raise_hand", raised=True)
                await ok(ann, "open_breakouts", names=NAMES)
                await ok(ann, "call_on", participant=ben.me)
                await ok(ann, "close_breakouts")
        await hands_told(ann, ben.me)
