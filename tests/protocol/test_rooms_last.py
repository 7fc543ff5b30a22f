"""What a room is outlives the room and the server, whoever comes back first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from signalling import Clients, clients, until
from test_access import SECRET, error, member
from test_chat_live import keeping
from test_class_signalling import ok
from test_ownership import back, role

from sfu.config import AuthConfig, RoomConfig


def settings(joined: dict[str, Any]) -> tuple[str, bool, bool]:
    room = joined["room"]
    return room["template"], room["locked"], room["lobby"]


async def test_a_classroom_is_one_again_when_a_student_returns_first(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann = await those.join(template="classroom")
        ben = await those.join(name="Ben")
        await ok(ann, "set_room", lobby=True)
    async with clients(keeping(tmp_path)) as those:
        returning = await those.open()
        waiting = await returning.join(name="Ben", template="meeting", **{"pass": ben.joined["pass"]})
        assert waiting["type"] == "waiting", "the lobby is there, and nobody in it opens the room"
        again = await back(those, ann)
        assert (role(again), settings(again.joined)) == ("owner", ("classroom", False, True))
        await ok(again, "set_room", lobby=False, locked=True)
        await ok(again, "admit")
        admitted = (await returning.next("joined"))["participant"]
        assert admitted["grants"]["publish"] == ["camera", "microphone"], "students share when allowed"
    async with clients(keeping(tmp_path)) as those:
        refused = await (await those.open()).join(name="Ben", **{"pass": ben.joined["pass"]})
        assert error(refused) == "room_locked"
        assert settings((await back(those, ann)).joined) == ("classroom", True, False)


async def _gone(those: Clients) -> None:
    await until(lambda: not those.server._conference.core.summaries())


async def test_who_may_make_the_room_may_make_it_another_kind(tmp_path: Path) -> None:
    config = keeping(tmp_path, room=RoomConfig(empty_s=0))
    async with clients(config) as those:
        ann = await those.join(template="consultation")
        await ok(ann, "set_room", locked=True)
        await ok(ann, "leave")
        await _gone(those)
        again = await back(those, ann)
        assert settings(again.joined) == ("consultation", True, True), "as it was, without a wish"
        await ok(again, "leave")
        await _gone(those)
        another = await back(those, ann, template="classroom")
        assert settings(another.joined) == ("classroom", False, False), "another kind begins anew"


async def test_with_tokens_a_teacher_finds_the_room_as_it_was_left(tmp_path: Path) -> None:
    config = replace(keeping(tmp_path), auth=AuthConfig(keys=(f"k:{SECRET}",)))
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner", template="classroom")
        await ok(ann, "set_room", lobby=True, silenced=True)
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner")
        assert settings(ann.joined) == ("classroom", False, True)
        assert ann.joined["room"]["silenced"] is True
