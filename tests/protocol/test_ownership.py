"""Development mode: who owns a room, and who somebody is that comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from signalling import Clients, Signal, clients, local_config
from test_chat_live import keeping, say

from sfu.config import LimitsConfig, RoomConfig, ServerConfig
from sfu.server import passes


def role(who: Signal) -> str:
    return str(who.joined["participant"]["role"])


async def back(those: Clients, who: Signal, **members: Any) -> Signal:
    """Joins anew with the pass of an earlier membership."""
    return await those.join(**{"pass": who.joined["pass"], **members})


async def test_a_student_does_not_inherit_the_room() -> None:
    async with clients() as those:
        ann, _ben = await those.join(template="classroom"), await those.join(name="Ben")
        await ann.request("leave")
        assert role(await those.join(name="Cid")) == "participant"


async def test_the_owner_who_comes_back_owns_again() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        sent = await say(ann, "mine")
        await ann.drop()
        again = await back(those, ann)
        assert role(again) == "owner"
        assert again.joined["participant"]["identity"] == ann.joined["participant"]["identity"]
        assert (await ben.next("participant_left"))["reason"] == "replaced"
        assert (await again.request("chat_edit", message=sent["id"], text="still mine"))["type"] == "ok"
        await again.request("leave")
        assert role(await back(those, again)) == "owner"


async def test_a_pass_is_for_its_room_and_a_bad_one_makes_a_stranger() -> None:
    async with clients() as those:
        ann = await those.join()
        other = await those.join("elsewhere", name="Ben")
        assert role(await those.join(**{"pass": other.joined["pass"]})) == "participant"
        for wrong in ("nonsense", ann.joined["pass"][:-2] + "xx", ""):
            stranger = await those.join(**{"pass": wrong})
            assert role(stranger) == "participant"
            assert stranger.joined["participant"]["identity"] != ann.joined["participant"]["identity"]


async def test_who_was_made_owner_or_not_any_more_stays_so() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await ann.request("set_role", participant=ben.me, role="owner")
        await ben.request("set_role", participant=ann.me, role="participant")
        assert role(await back(those, ann)) == "participant"
        assert role(await back(those, ben)) == "owner"


async def test_a_new_room_belongs_to_whoever_makes_it() -> None:
    async with clients(local_config(room=RoomConfig(empty_s=0))) as those:
        ann = await those.join()
        await ann.request("leave")
        ben = await those.join(name="Ben")
        assert role(ben) == "owner", "the room of before has ended"
        again = await back(those, ann)
        assert role(again) == "participant", "and with it that it was hers"
        assert again.joined["participant"]["identity"] == ann.joined["participant"]["identity"]


@pytest.mark.parametrize(("return_s", "first"), [(passes.RETURN_S, "participant"), (0, "owner")])
async def test_after_a_restart_the_first_to_return_is_not_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, return_s: int, first: str
) -> None:
    monkeypatch.setattr(passes, "RETURN_S", return_s)
    async with clients(keeping(tmp_path)) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
    async with clients(keeping(tmp_path)) as those:
        assert role(await back(those, ben)) == first
        assert role(await those.join(name="Cid")) == "participant"
        assert role(await back(those, ann)) == "owner"


async def test_after_a_restart_only_who_owned_the_room_at_the_end_owns_it_again(tmp_path: Path) -> None:
    """A pass of the morning, whose room ended long before the server did, makes nobody an owner."""
    config = replace(keeping(tmp_path), room=RoomConfig(empty_s=0))
    async with clients(config) as those:
        eve = await those.join(name="Eve")
        await eve.request("leave")
        tia = await those.join(name="Tia")
        assert (role(eve), role(tia)) == ("owner", "owner")
    async with clients(config) as those:
        assert role(await back(those, eve)) == "participant", "not by being first either"
        assert role(await back(those, tia)) == "owner"


async def test_an_owner_is_too_late_when_the_lesson_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "RETURN_S", 0)
    monkeypatch.setattr(passes, "OWNER_RETURN_S", 0)
    async with clients(keeping(tmp_path)) as those:
        eve = await those.join(name="Eve")
    async with clients(keeping(tmp_path)) as those:
        assert role(await those.join(name="Tia")) == "owner"
        assert role(await back(those, eve)) == "participant"


async def test_one_address_does_not_take_the_rooms_of_all() -> None:
    """It has its share, which shrinks with the places that are left; an empty room of its own gives way."""
    proxied = ServerConfig(host="127.0.0.1", port=0, https_port=-1, trust_proxy=True)
    config = local_config(
        server=proxied, room=RoomConfig(max_rooms=8, empty_s=60), limits=LimitsConfig(rooms_per_address=4)
    )
    async with clients(config) as those:

        async def opened(host: str, room: str) -> str:
            who = await those.open(headers={"X-Forwarded-For": host})
            answer = await who.join(room)
            return str(answer.get("code", answer["type"]))

        first = [await opened("192.0.2.1", f"a{number}") for number in range(5)]
        assert first == ["joined"] * 4 + ["too_many_rooms"]
        assert await opened("192.0.2.1", "a0") == "joined", "it may still be a guest"
        second = [await opened("192.0.2.2", f"b{number}") for number in range(3)]
        assert second == ["joined", "joined", "too_many_rooms"], "two are left, of which one is for others"
        assert await opened("192.0.2.3", "c0") == "joined"
        assert await opened("192.0.2.4", "d0") == "joined"
        assert await opened("192.0.2.5", "e0") == "too_many_rooms"


async def test_an_empty_room_of_ones_own_gives_way() -> None:
    config = local_config(limits=LimitsConfig(rooms_per_address=2), room=RoomConfig(empty_s=60))
    async with clients(config) as those:
        ann, _ = await those.join("one"), await those.join("two")
        full = await (await those.open()).join("three")
        assert full["code"] == "too_many_rooms"
        await ann.request("leave")
        assert (await (await those.open()).join("three"))["type"] == "joined"
