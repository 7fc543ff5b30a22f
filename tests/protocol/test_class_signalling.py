"""A class over real WebSockets: what is asked, told, refused, and what late joiners find."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from guarded import call
from signalling import Clients, Signal, clients, local_config
from test_access import error, guarded, member, token

from sfu.config import LimitsConfig


async def ok(signal: Signal, kind: str, **members: Any) -> dict[str, Any]:
    answer = await signal.request(kind, **members)
    assert answer["type"] == "ok", answer
    return answer


async def a_class(those: Clients) -> tuple[Signal, Signal, Signal]:
    """A teacher and two students."""
    ann = await those.join(template="classroom")
    return ann, await those.join(name="Ben"), await those.join(name="Cid")


async def test_hands_questions_and_polls_reach_everybody_and_the_late() -> None:
    async with clients() as those:
        ann, ben, cid = await a_class(those)
        await ok(ben, "raise_hand", raised=True)
        await ok(cid, "raise_hand", raised=True)
        for _ in range(2):
            hands = (await ann.next("hands"))["hands"]
        assert [hand["participant"] for hand in hands["queue"]] == [ben.me, cid.me]
        await ok(ann, "call_on", participant=ben.me)
        hands = (
            await cid.next(
                "hands",
                hands={
                    **hands,
                    "queue": hands["queue"][1:],
                    "answered": {ben.joined["participant"]["identity"]: 1},
                },
            )
        )["hands"]
        await ok(ben, "ask", text="Will this be in the exam?")
        asked = (await ann.next("question"))["question"]
        assert (asked["name"], asked["votes"], asked["answered"]) == ("Ben", 1, False)
        await ok(cid, "vote_question", question=asked["id"])
        await ok(ann, "answer_question", question=asked["id"], answer="Yes")
        await ok(ann, "open_poll", question="Ready?", options=["Yes", "No"])
        poll = (await ben.next("poll"))["poll"]
        assert "waiting" not in poll
        await ok(ben, "vote_poll", poll=poll["id"], choices=[0])
        await ann.next("poll")
        seen = (await ann.next("poll"))["poll"]
        assert (seen["counts"], seen["voters"], seen["waiting"]) == ([1, 0], 1, [cid.me])
        await ok(ann, "close_poll", poll=poll["id"])
        assert error(await cid.request("vote_poll", poll=poll["id"], choices=[1])) == "bad_state"
        dan = await those.join(name="Dan")
        work = dan.joined["class"]
        assert [hand["participant"] for hand in work["hands"]["queue"]] == [cid.me]
        assert [(q["votes"], q["answered"], q["answer"], q["voted"]) for q in work["questions"]] == [
            (2, True, "Yes", False)
        ]
        assert [(p["counts"], p["open"], p["voted"]) for p in work["polls"]] == [([1, 0], False, [])]
        assert work["lobby"] is None


async def test_reactions_spotlight_and_lock() -> None:
    async with clients() as those:
        ann, ben, _ = await a_class(those)
        await ok(ben, "react", reaction="👏")
        assert await ann.next("reaction") == {"type": "reaction", "participant": ben.me, "reaction": "👏"}
        assert error(await ben.request("react", reaction="<b>")) == "bad_request"
        await ok(ann, "spotlight", participant=ben.me)
        room = (await ben.next("room_updated"))["room"]
        assert room["spotlight"] == {"participant": ben.me, "publication": None}
        await ok(ann, "set_room", locked=True)
        assert error(await (await those.open()).join(name="Eve")) == "room_locked"


async def test_the_lobby_lets_in_and_turns_away() -> None:
    async with clients() as those:
        ann = await those.join(template="consultation")
        assert ann.joined["room"]["lobby"] is True
        ben = await those.open()
        waiting = await ben.join(name="Ben")
        assert waiting["type"] == "waiting"
        assert error(await ben.request("chat", text="hello?")) == "bad_state"
        assert (await ben.request("ping", t=1))["t"] == 1
        (entry,) = (await ann.next("lobby"))["waiting"]
        assert (entry["name"], entry["id"]) == ("Ben", waiting["waiting"])
        await ok(ann, "admit", waiting=entry["id"])
        joined = await ben.next("joined")
        assert joined["participant"]["name"] == "Ben"
        assert (await ann.next("participant_joined"))["participant"]["name"] == "Ben"
        assert (await ben.request("chat", text="hello"))["type"] == "ok"
        eve = await those.open()
        denied = await eve.join(name="Eve")
        await ok(ann, "deny", waiting=denied["waiting"])
        closed, status = await eve.ended()
        assert (closed["code"], closed["reconnect"], status) == ("denied", False, 1000)
        dan = await those.open()
        await dan.join(name="Dan")
        assert (await dan.request("leave"))["type"] == "ok"
        assert (await dan.ended())[0]["code"] == "left"
        await ann.next("lobby", waiting=[])


async def test_breakout_rooms_are_apart_and_hear_the_teacher() -> None:
    async with clients() as those:
        ann, ben, cid = await a_class(those)
        await ok(ann, "open_breakouts", names=["Red", "Blue"])
        room = (await ben.next("room_updated"))["room"]
        assert room["breakouts"] == [{"id": 1, "name": "Red"}, {"id": 2, "name": "Blue"}]
        await ok(ann, "assign_breakout", participants=[ben.me], breakout=1)
        assert (await cid.next("participant_updated"))["participant"]["breakout"] == 1
        await ok(ann, "broadcast", text="Two minutes left")
        assert (await ben.next("broadcast"))["text"] == "Two minutes left"
        await ok(ann, "close_breakouts")
        told = await ben.next("participant_updated")
        while told["participant"]["breakout"] is not None:
            told = await ben.next("participant_updated")
        assert (await ben.next("room_updated"))["room"]["breakouts"] == []


async def test_the_board_is_drawn_on_erased_and_kept_for_the_late() -> None:
    async with clients() as those:
        ann, ben, cid = await a_class(those)
        line = {"stroke": "b1", "color": "#ff0000", "width": 30, "points": [[0, 0], [10_000, 10_000]]}
        await ok(ben, "draw", **line)
        drawn = await ann.next("drawn")
        assert (drawn["participant"], drawn["stroke"]["points"]) == (ben.me, line["points"])
        assert error(await cid.request("draw", **line)) == "not_allowed"
        assert error(await cid.request("erase", stroke="b1")) == "not_allowed"
        dan = await those.join(name="Dan")
        assert dan.joined["class"]["strokes"] == 1
        board = await dan.request("board")
        assert [stroke["id"] for stroke in board["strokes"]] == ["b1"]
        await ok(ben, "erase", stroke="b1")
        assert (await dan.next("erased"))["stroke"] == "b1"
        await ok(ann, "clear_board")
        assert (await dan.next("erased"))["stroke"] is None


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("set_role", {"participant": "PA_x", "role": "king"}),
        ("set_grants", {"participant": "PA_x", "grants": {}}),
        ("set_grants", {"participant": "PA_x", "grants": {"publish": ["kamera"]}}),
        ("mute_all", {"source": "radio"}),
        ("set_room", {"locked": 1}),
        ("spotlight", {"participant": 1}),
        ("open_breakouts", {"names": []}),
        ("open_breakouts", {"names": ["a"] * 51}),
        ("assign_breakout", {"participants": [], "breakout": 1}),
        ("assign_breakout", {"participants": ["PA_x"], "breakout": 51}),
        ("broadcast", {"text": ""}),
        ("raise_hand", {}),
        ("ask", {"text": "x" * 501}),
        ("vote_question", {"question": "1"}),
        ("open_poll", {"question": "?", "options": ["a"]}),
        ("open_poll", {"question": "?", "options": ["a"] * 11}),
        ("vote_poll", {"poll": 1, "choices": [0] * 11}),
        ("vote_poll", {"poll": 1, "choices": [-1]}),
        ("react", {"reaction": ""}),
        ("draw", {"stroke": "s", "color": "red", "width": 1, "points": [[1, 1]]}),
        ("draw", {"stroke": "s", "color": "#ff0000", "width": 0, "points": [[1, 1]]}),
        ("draw", {"stroke": "s", "color": "#ff0000", "width": 1, "points": [[1]]}),
        ("draw", {"stroke": "s", "color": "#ff0000", "width": 1, "points": [[1, 10_001]]}),
        ("draw", {"stroke": "s", "color": "#ff0000", "width": 1, "points": [[1, 1]] * 2001}),
    ],
)
async def test_acts_of_the_wrong_form_are_refused(kind: str, members: dict[str, Any]) -> None:
    async with clients() as those:
        ann = await those.join()
        assert error(await ann.request(kind, **members)) == "bad_request"


@pytest.mark.parametrize("blank", [" ", " \n\t", "\u200b\u2060", "\u3164", "\u2800", "\u0301"])
async def test_a_text_in_which_nothing_is_seen_is_refused(blank: str) -> None:
    async with clients() as those:
        ann = await those.join()
        sent = (await ann.request("chat", text="\U0001fae8 "))["message"]
        assert sent["text"] == "\U0001fae8 ", "what is seen is kept as it is"
        asked = await ann.request("ask", text="Why?")
        assert asked["type"] == "ok"
        for kind, members in (
            ("chat", {"text": blank}),
            ("chat_edit", {"message": sent["id"], "text": blank}),
            ("chat_react", {"message": sent["id"], "emoji": blank}),
            ("ask", {"text": blank}),
            ("answer_question", {"question": 1, "answer": blank}),
            ("open_poll", {"question": blank, "options": ["a", "b"]}),
            ("open_poll", {"question": "?", "options": ["a", blank]}),
            ("broadcast", {"text": blank}),
        ):
            assert error(await ann.request(kind, **members)) == "bad_request", kind
        for path, body in (("messages", {"text": blank}), ("broadcast", {"text": blank})):
            status, told = await call(those, "POST", f"/rooms/r/{path}", ann, body)
            assert (status, told["error"]["code"]) == (400, "bad_request"), path


async def test_acts_have_a_rate_of_their_own() -> None:
    async with clients(local_config(limits=LimitsConfig(acts_per_s=0.01, acts_burst=2))) as those:
        ann = await those.join()
        codes = [(await ann.request("react", reaction="👍")).get("code") for _ in range(4)]
        assert codes == [None, None, "rate_limited", "rate_limited"]
        assert (await ann.request("ping"))["type"] == "pong"


# --- attendance --------------------------------------------------------------------------------


async def test_attendance_is_for_moderators() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        ben = await member(those, "ben")
        await member(those, "=cmd()")
        await member(those, "eve", hidden=True)
        url = f"{those.server.http_url}/api/v1/rooms/r/attendance.csv"

        async def asked(authorization: str, at: str = url) -> int:
            return (await those.http.get(at, headers={"Authorization": authorization})).status

        def secret(signal: Signal) -> str:
            return f"Participant {signal.me}:{signal.joined['secret']}"

        assert (await those.http.get(url)).status == 401
        assert await asked(f"Bearer {token('ben')}") == 403
        assert await asked(secret(ben)) == 403
        assert await asked(f"Participant {ann.me}:guess") == 401
        assert await asked(f"Bearer {token('ann', role='owner', room='other')}") == 403
        assert await asked(secret(ann), url.replace("/r/", "/other/")) == 401
        assert await asked(f"Bearer {token('ann', role='owner')}") == 200
        answer = await those.http.get(url, headers={"Authorization": secret(ann)})
        assert answer.content_type == "text/csv"
        rows = list(csv.DictReader(io.StringIO((await answer.text()).removeprefix("\ufeff"))))
        assert [(row["name"], row["role"]) for row in rows] == [
            ("ann", "owner"),
            ("ben", "participant"),
            ("'=cmd()", "participant"),
        ]
        await ann.request("set_grants", participant=ben.me, grants={"moderate": True})
        assert await asked(secret(ben)) == 200, "rights of this moment"


# --- statistics over HTTP ----------------------------------------------------------------------


async def test_room_statistics_are_for_moderators() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        ben = await member(those, "ben")
        url = f"{those.server.http_url}/api/v1/rooms/r/stats"

        async def asked(authorization: str, at: str = url) -> int:
            return (await those.http.get(at, headers={"Authorization": authorization})).status

        assert (await those.http.get(url)).status == 401
        assert await asked(f"Bearer {token('ben')}") == 403
        assert await asked(f"Bearer {token('ann', role='owner', room='other')}") == 403
        owner = f"Bearer {token('ann', role='owner')}"
        assert await asked(owner, url.replace("/r/", "/elsewhere/")) in {403, 404}
        answer = await (await those.http.get(url, headers={"Authorization": owner})).json()
        assert [(each["participant"], each["name"]) for each in answer["participants"]] == [
            (ann.me, "ann"),
            (ben.me, "ben"),
        ]
