"""What one participant may make the server keep a day, over the WebSocket and over HTTP."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from guarded import SECRET, guarded, member
from signalling import clients, local_config

from sfu.config import LimitsConfig
from sfu.server import tokens
from sfu.store import messages


def small(**limits: Any) -> LimitsConfig:
    """The shares of a test, which no rate gets in the way of."""
    rates = {"messages_per_s": 10_000, "message_burst": 10_000, "acts_per_s": 1000, "acts_burst": 1000}
    return LimitsConfig(**rates, **limits)


TEXT = "x" * 1000


async def test_chat_has_a_share_of_each_person() -> None:
    async with clients(local_config(limits=small(stored_bytes_per_day=10_000))) as those:
        eve, ann = await those.join(name="Eve"), await those.join(name="Ann")
        answers = [await eve.request("chat", text=TEXT) for _ in range(20)]
        stored = [each for each in answers if each["type"] == "ok"]
        assert 5 <= len(stored) <= 7
        last = answers[-1]
        assert (last["type"], last["code"]) == ("error", "quota_exceeded")
        assert last["retry_after_ms"] > 0
        # So are edits, reactions, questions and polls; what keeps nothing goes on.
        id_ = stored[0]["message"]["id"]
        for kind, members in (
            ("chat_edit", {"message": id_, "text": TEXT}),
            ("ask", {"text": "?" * 500}),
            ("open_poll", {"question": "?" * 500, "options": ["a", "b"]}),
        ):
            assert (await eve.request(kind, **members)).get("code") == "quota_exceeded", kind
        assert (await eve.request("react", reaction="👍"))["type"] == "ok"
        assert (await eve.request("raise_hand", raised=True))["type"] == "ok"
        assert (await ann.request("chat", text="hello"))["type"] == "ok"


async def test_over_http_the_answer_says_when_to_try_again() -> None:
    async with clients(local_config(limits=small(stored_bytes_per_day=2000))) as those:
        eve = await those.join(name="Eve")
        url = f"{those.server.http_url}/api/v1/rooms/r/messages"
        headers = {"Authorization": f"Participant {eve.me}:{eve.joined['secret']}"}
        for status in (201, 507):
            async with those.http.post(url, json={"text": TEXT}, headers=headers) as answer:
                assert answer.status == status
        assert 0 < int(answer.headers["Retry-After"]) <= 86_400


async def test_a_room_has_a_share() -> None:
    limits = small(stored_bytes_per_day=5000, room_stored_bytes_per_day=8000)
    async with clients(local_config(limits=limits)) as those:
        people = [await those.join(name=name) for name in ("Ann", "Ben", "Cat")]
        answers = [await each.request("chat", text=TEXT) for each in people for _ in range(3)]
        assert sum(each["type"] == "ok" for each in answers) == 5
        elsewhere = await those.join(room="other")
        assert (await elsewhere.request("chat", text=TEXT))["type"] == "ok"


async def test_joining_anew_gives_no_new_share() -> None:
    """Without keys the address has one; with keys the identity has."""
    limits = small(address_stored_bytes_per_day=5000)
    async with clients(local_config(limits=limits)) as those:
        kept = 0
        for _ in range(4):
            guest = await those.join(name="Eve")
            answers = [await guest.request("chat", text=TEXT) for _ in range(2)]
            kept += sum(each["type"] == "ok" for each in answers)
        assert kept == 3
    async with clients(replace(guarded(), limits=small(stored_bytes_per_day=5000))) as those:
        kept = 0
        for _ in range(4):
            guest = await member(those, "eve")
            answers = [await guest.request("chat", text=TEXT) for _ in range(2)]
            kept += sum(each["type"] == "ok" for each in answers)
        assert kept == 3


async def test_joins_have_a_share() -> None:
    """Each leaves rows: of who was there, and of the room."""
    async with clients(local_config(limits=small(joins_per_day=3))) as those:
        for number in range(3):
            await those.join(room=f"r{number}")
        signal = await those.open()
        assert (await signal.join("r3"))["code"] == "quota_exceeded"


async def test_moderators_over_http_have_a_share_and_administrators_none() -> None:
    async with clients(replace(guarded(), limits=small(stored_bytes_per_day=4000))) as those:
        await member(those, "ann", role="owner")
        url = those.server.http_url + "/api/v1/rooms/r/messages"

        async def sent(token: str) -> list[int]:
            statuses = []
            for _ in range(6):
                headers = {"Authorization": f"Bearer {token}"}
                async with those.http.post(url, json={"text": "x" * 300}, headers=headers) as answer:
                    statuses.append(answer.status)
            return statuses

        now_s = int(time.time())
        owner = tokens.mint("k", SECRET, identity="eve", room="r", role="owner", now_s=now_s, ttl_s=60)
        assert (await sent(owner))[-1] == 507
        admin = tokens.mint_admin("k", SECRET, identity="it", now_s=now_s, ttl_s=60, jti="a")
        assert await sent(admin) == [201] * 6


async def test_what_was_refused_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    added = messages.added
    monkeypatch.setattr(messages, "added", lambda message: kept.append(message) or added(message))
    async with clients(local_config(limits=small(stored_bytes_per_day=5000))) as those:
        eve = await those.join(name="Eve")
        answers = [await eve.request("chat", text=TEXT) for _ in range(50)]
        assert len(kept) == sum(each["type"] == "ok" for each in answers) == 3
        assert sum(len(each.text) for each in kept) < 5000
