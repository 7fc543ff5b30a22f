"""A device's token publishes and sends data. What others say and do is not for it, whatever it asks."""

from __future__ import annotations

import time
from typing import Any

import pytest
from guarded import call, error, guarded, member, token
from signalling import Clients, Signal, clients

PULSE = {"name": "pulse", "title": "Pulse", "unit": "1/min", "high": 100}


def stroke(name: str) -> dict[str, Any]:
    return {"stroke": name, "color": "#102030", "width": 20, "points": [[1, 2]]}


async def measure(who: Signal, value: float) -> None:
    await who.request("telemetry_declare", series=[PULSE])
    await who.request("telemetry", samples=[["pulse", int(time.time() * 1000), value]])


async def lesson(those: Clients) -> tuple[Signal, Signal]:
    """A class in which something was said and done, and a device that has come after it."""
    ann = await member(those, "ann", role="owner", template="classroom")
    ben = await member(those, "ben", data=True)
    await ben.request("chat", text="a secret")
    await ben.request("ask", text="why?")
    await ben.request("raise_hand", raised=True)
    await ann.request("open_poll", question="?", options=["a", "b"])
    await ben.request("draw", **stroke("s1"))
    await ben.request("state_set", key="score", value="a secret")
    await measure(ben, 150)
    return ann, ben


async def test_a_device_finds_who_is_there_and_nothing_they_said_or_did() -> None:
    async with clients(guarded()) as those:
        await lesson(those)
        joined = (await member(those, "cam", role="device")).joined
        assert [each["name"] for each in joined["participants"]] == ["ann", "ben"]
        assert (joined["chat"], joined["chat_last"], joined["chat_more"], joined["chat_seen"]) == (
            [],
            0,
            False,
            {},
        )
        assert joined["state"] == {"version": 0, "entries": {}}
        assert joined["class"] == {
            "hands": {"queue": [], "answered": {}},
            "questions": [],
            "polls": [],
            "lobby": None,
            "strokes": 0,
            "telemetry": [],
        }


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("chat_history", {}),
        ("chat_search", {"text": "secret"}),
        ("chat_read", {"message": 1}),
        ("chat_typing", {}),
        ("chat_react", {"message": 1, "emoji": "👍"}),
        ("board", {}),
        ("raise_hand", {"raised": True}),
        ("react", {"reaction": "👍"}),
        ("vote_question", {"question": 1}),
        ("vote_poll", {"poll": 1, "choices": [0]}),
        ("subscribe", {"publications": ["TR_any"]}),
    ],
)
async def test_a_device_reads_nothing_and_answers_nothing(kind: str, members: dict[str, Any]) -> None:
    async with clients(guarded()) as those:
        _, ben = await lesson(those)
        cam = await member(those, "cam", role="device")
        assert error(await cam.request(kind, **members)) == "not_allowed"
        if kind != "subscribe":
            allowed = await ben.request(kind, **members)
            assert allowed["type"] != "error", allowed


async def test_who_only_watches_answers_nothing_either() -> None:
    async with clients(guarded()) as those:
        await lesson(those)
        eve = await member(those, "eve", role="observer", hidden=False)
        assert [each["text"] for each in eve.joined["chat"]] == ["a secret"]
        for kind, members in (("react", {"reaction": "👍"}), ("vote_poll", {"poll": 1, "choices": [0]})):
            assert error(await eve.request(kind, **members)) == "not_allowed"


async def test_a_device_is_told_nothing_of_what_happens_but_its_own() -> None:
    async with clients(guarded()) as those:
        ann, ben = await lesson(those)
        cam = await member(those, "cam", role="device")
        said = await ben.request("chat", text="another secret")
        await ben.request("chat", text="to the camera", to=cam.me)
        await ben.request("chat_edit", message=said["message"]["id"], text="changed")
        await ben.request("ask", text="what?")
        await ben.request("vote_poll", poll=1, choices=[0])
        await ben.request("react", reaction="👍")
        await ben.request("draw", **stroke("s2"))
        await ben.request("state_set", key="score", value=2)
        await measure(ben, 50)
        await ann.request("broadcast", text="to the class")
        await ann.request("set_room", locked=True)
        await measure(cam, 130)
        await ann.request("telemetry_thresholds", participant=cam.me, series="pulse", high=200)
        assert error(await cam.request("state_set", key="score", value=0, if_version=0)) == "conflict"
        conflict = await cam.request("state_set", key="score", value=0, if_version=0)
        assert "value" not in conflict
        await cam.request("state_set", key="mine", value=1)
        assert {each["type"] for each in cam.seen} == {
            "room_updated",
            "alarm",
            "telemetry_series",
            "state_patch",
        }
        for each in cam.seen:
            about = each.get("participant") or each.get("alarm", {}).get("participant")
            assert about in {cam.me, None}, each


async def test_over_http_a_device_reads_who_is_there_and_nothing_else() -> None:
    async with clients(guarded()) as those:
        _, ben = await lesson(those)
        _, begun = await call(those, "POST", "/rooms/r/files", ben, {"name": "a.txt", "bytes": 4})
        headers = {"Authorization": f"Participant {ben.me}:{ben.joined['secret']}"}
        url = f"{those.server.http_url}/api/v1/rooms/r/files/{begun['id']}?offset=0"
        assert (await those.http.patch(url, data=b"text", headers=headers)).status == 200
        given = token("cam", role="device")
        cam = await those.join(token=given)
        for who in (cam, given):
            assert (await call(those, "GET", "/rooms/r/participants", who))[0] == 200
            for path in (
                "messages",
                f"files/{begun['id']}/info",
                f"files/{begun['id']}",
                "files",
                "telemetry",
            ):
                assert (await call(those, "GET", f"/rooms/r/{path}", who))[0] == 403, path
        assert (await call(those, "GET", f"/rooms/r/files/{begun['id']}/info", ben))[0] == 200


async def test_who_may_follow_later_is_told_what_there_is() -> None:
    async with clients(guarded()) as those:
        ann, ben = await lesson(those)
        cam = await member(those, "cam", role="device")
        await ann.request("set_role", participant=cam.me, role="participant")
        await cam.next("participant_updated")
        assert (await cam.next("hands"))["hands"]["queue"][0]["participant"] == ben.me
        assert (await cam.next("question"))["question"]["text"] == "why?"
        assert (await cam.next("poll"))["poll"]["question"] == "?"
        assert (await cam.next("state_patch"))["value"] == "a secret"
        assert (await cam.next("telemetry_series"))["participant"] == ben.me
        assert [each["text"] for each in (await cam.request("chat_history"))["messages"]] == ["a secret"]
        await ben.request("chat", text="and now")
        assert (await cam.next("chat"))["message"]["text"] == "and now"


async def test_another_breakout_rooms_samples_are_not_for_who_joins_or_comes_back() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        ben, cid = await member(those, "ben"), await member(those, "cid")
        await ann.request("open_breakouts", names=["A", "B"])
        await ann.request("assign_breakout", participants=[ben.me], breakout=1)
        await measure(ben, 50)
        await cid.drop()
        again = await those.open()
        resume = {"participant": cid.me, "secret": cid.joined["secret"]}
        joined = await again.join(token=token("cid"), resume=resume)
        assert joined["class"]["telemetry"] == []
        await measure(ben, 150)
        await again.next("alarm")
        await again.drop()
        last = await those.open()
        (far,) = (await last.join(token=token("cid"), resume=resume))["class"]["telemetry"]
        assert (far["samples"], far["alarm"]["value"]) == ([], 150)
        await ann.request("assign_breakout", participants=[cid.me], breakout=1)
        await last.next("telemetry_series")
        await measure(ben, 50)
        await last.next("telemetry")
