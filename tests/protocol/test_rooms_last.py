"""What a room is outlives the room and the server, whoever comes back first."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from guarded import SECRET, call, error, member, token
from signalling import Clients, clients, until
from test_chat_live import keeping
from test_class_signalling import ok
from test_ownership import back, role

from sfu.config import AuthConfig, RoomConfig
from sfu.server import tokens


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


async def test_no_link_makes_a_room_that_has_been_another_kind(tmp_path: Path) -> None:
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
        assert settings(another.joined) == ("consultation", True, True), "whoever has which link"
    async with clients(config) as those:
        another = await back(those, ann, template="meeting")
        assert settings(another.joined) == ("consultation", True, True), "nor after a restart"


async def test_a_token_or_an_administrator_makes_a_room_another_kind(tmp_path: Path) -> None:
    config = replace(keeping(tmp_path, room=RoomConfig(empty_s=0)), auth=AuthConfig(keys=(f"k:{SECRET}",)))
    async with clients(config) as those:
        first = await those.join(token=token("ann", role="owner"), template="webinar")
        await ok(first, "leave")
        await _gone(those)
        linked = await those.join(token=token("ann", role="owner"), template="meeting")
        assert settings(linked.joined) == ("webinar", False, False), "a link does not"
        await ok(linked, "set_room", locked=True)
        await ok(linked, "leave")
        await _gone(those)
        claimed = await those.join(
            token=token("ann", role="owner", template="classroom"), template="consultation"
        )
        assert settings(claimed.joined) == ("classroom", False, False), "another kind begins anew"
        await ok(claimed, "leave")
        await _gone(those)
        admin = tokens.mint_admin("k", SECRET, identity="ops", now_s=int(time.time()), ttl_s=60, jti="j")
        body = {"name": "r", "template": "monitoring", "keep_s": 60}
        assert (await call(those, "POST", "/rooms", admin, body))[0] == 201
        assert settings((await member(those, "ann", role="owner")).joined)[0] == "monitoring"


async def test_with_tokens_a_teacher_finds_the_room_as_it_was_left(tmp_path: Path) -> None:
    config = replace(keeping(tmp_path), auth=AuthConfig(keys=(f"k:{SECRET}",)))
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner", template="classroom")
        await ok(ann, "set_room", lobby=True, silenced=True)
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner")
        assert settings(ann.joined) == ("classroom", False, True)
        assert ann.joined["room"]["silenced"] is True
