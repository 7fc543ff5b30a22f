"""Development mode: who owns a room, and who somebody is that comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from signalling import Clients, Signal, clients, local_config
from test_chat_live import keeping, say

from sfu.config import RoomConfig
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
        assert role(await back(those, ann)) == "owner", "and was hers"


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
