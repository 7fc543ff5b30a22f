"""What was withdrawn stays so across a restart: revoked tokens, and those of people who were removed."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guarded import SECRET, call, error, guarded, member, refused, token
from signalling import clients, local_config

from sfu.config import StorageConfig
from sfu.server import tokens


def keeping(folder: Path, **auth: Any) -> Any:
    return replace(guarded(**auth), storage=StorageConfig(url=f"sqlite:///{folder}/sfu.db"))


def admin() -> str:
    return tokens.mint_admin("k", SECRET, identity="root", now_s=int(time.time()), ttl_s=60, jti="root")


def newer(identity: str) -> str:
    """A token that is made later than now, by two seconds of a clock that is ahead."""
    return token(identity, now_s=int(time.time()) + 2)


async def test_a_revoked_token_opens_nothing_after_a_restart(tmp_path: Path) -> None:
    config = keeping(tmp_path)
    by_http, by_moderator = token("cam", jti="cam-1"), token("ben", jti="ben-1")
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner")
        await those.join(token=by_http)
        ben = await those.join(token=by_moderator)
        assert (await call(those, "DELETE", "/tokens/cam-1", admin()))[0] == 200
        assert (await ann.request("revoke", participant=ben.me))["type"] == "ok"
    async with clients(config) as those:
        for given in (by_http, by_moderator):
            assert await refused(those, token=given) == "token_revoked"
            assert (await call(those, "GET", "/rooms", given))[0] == 401
        await member(those, "dan")


@pytest.mark.parametrize("door", ["websocket", "http"])
async def test_who_was_removed_does_not_come_back_with_the_same_token(tmp_path: Path, door: str) -> None:
    config = keeping(tmp_path)
    given = token("eve", moderate=True)
    async with clients(config) as those:
        ann = await member(those, "ann", role="owner")
        eve = await those.join(token=given)
        if door == "http":
            assert (await call(those, "DELETE", f"/rooms/r/participants/{eve.me}", ann))[0] == 200
        else:
            assert (await ann.request("remove", participant=eve.me))["type"] == "ok"
        assert (await eve.ended())[0]["code"] == "removed"
        mine = {"participant": eve.me, "secret": eve.joined["secret"]}
        assert await refused(those, token=given) == "removed"
        assert await refused(those, token=given, resume=mine) == "removed"
        status, answer = await call(those, "POST", "/rooms/r/mute", given, {"source": "microphone"})
        assert (status, answer["error"]["code"]) == (403, "removed"), "it moderates no more"
        elsewhere = await those.open()
        assert (await elsewhere.join("q", token=token("eve", room="q")))["type"] == "joined"
    async with clients(config) as those:
        assert await refused(those, token=given) == "removed"
        await those.join(token=newer("eve"))
        assert await refused(those, token=given) == "removed", "a newer one does not mend an older"


async def test_a_moderator_lets_somebody_come_back(tmp_path: Path) -> None:
    config = keeping(tmp_path)
    given = token("eve")
    async with clients(config) as those:
        ann, eve = await member(those, "ann", role="owner"), await those.join(token=given)
        await ann.request("remove", participant=eve.me)
        status, found = await call(those, "GET", "/rooms/r/removed", ann)
        assert (status, [each["identity"] for each in found["removed"]]) == (200, ["eve"])
        ben = await member(those, "ben")
        assert (await call(those, "POST", "/rooms/r/readmit", ben, {"identity": "eve"}))[0] == 403
        assert (await call(those, "POST", "/rooms/r/readmit", ann, {"identity": "ben"}))[0] == 404
        assert (await call(those, "POST", "/rooms/r/readmit", ann, {"identity": "eve"}))[0] == 200
        await those.join(token=given)
    async with clients(config) as those:
        await those.join(token=given)


async def test_who_may_not_see_hidden_people_does_not_learn_whom_of_them_was_removed(tmp_path: Path) -> None:
    config = keeping(tmp_path)
    watcher = token("eve", hidden=True)
    async with clients(config) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben", moderate=True)
        eve, cat = await those.join(token=watcher), await member(those, "cat")
        for each in (eve, cat):
            assert (await ann.request("remove", participant=each.me))["type"] == "ok"
    async with clients(config) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben", moderate=True)
        for who, expected in ((ann, ["cat", "eve"]), (ben, ["cat"])):
            found = (await call(those, "GET", "/rooms/r/removed", who))[1]["removed"]
            assert [each["identity"] for each in found] == expected
        for identity in ("eve", "nobody"):
            status, told = await call(those, "POST", "/rooms/r/readmit", ben, {"identity": identity})
            assert (status, told["error"]["code"]) == (404, "not_found")
        assert await refused(those, token=watcher) == "removed"
        assert (await call(those, "POST", "/rooms/r/readmit", ann, {"identity": "eve"}))[0] == 200
        await those.join(token=watcher)


async def test_a_pass_does_not_bring_back_who_was_removed(tmp_path: Path) -> None:
    config = local_config(storage=StorageConfig(url=f"sqlite:///{tmp_path}/sfu.db"))
    async with clients(config) as those:
        ann, eve = await those.join(), await those.join(name="Eve")
        await ann.request("set_role", participant=eve.me, role="owner")
        await ann.request("set_role", participant=eve.me, role="participant")
        assert (await ann.request("remove", participant=eve.me))["type"] == "ok"
        stranger = await those.join(**{"pass": eve.joined["pass"]})
        assert stranger.joined["participant"]["identity"] != eve.joined["participant"]["identity"]
    async with clients(config) as those:
        await those.join(**{"pass": ann.joined["pass"]})
        stranger = await those.join(**{"pass": eve.joined["pass"]})
        assert stranger.joined["participant"]["identity"] != eve.joined["participant"]["identity"]


def drop(path: Path, *names: str) -> None:
    """Break a database."""
    database = sqlite3.connect(path, timeout=60)
    for name in names:
        database.execute(f"DROP TABLE {name}")
    database.close()


async def test_what_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    async with clients(keeping(tmp_path)) as those:
        ann = await member(those, "ann", role="owner")
        given = [token(name, jti=f"{name}-1") for name in ("ben", "cat", "dan", "eve")]
        people = [await those.join(token=each) for each in given]
        # In a thread: the server finishes what it writes meanwhile.
        await asyncio.to_thread(drop, tmp_path / "sfu.db", "revoked_tokens", "removals")
        ben, cat, dan, eve = (f"/rooms/r/participants/{who.me}" for who in people)
        assert (await call(those, "DELETE", "/tokens/other", admin()))[0] == 503
        assert (await call(those, "DELETE", ben, ann))[0] == 503
        assert (await call(those, "DELETE", f"{cat}?revoke=true", ann))[0] == 503
        assert error(await ann.request("remove", participant=dan.rpartition("/")[2])) == "storage_failed"
        assert error(await ann.request("revoke", participant=eve.rpartition("/")[2])) == "storage_failed"
        for who in people:
            assert (await who.ended())[0]["code"] == "removed", "while the server runs it holds"
        for each in given:
            assert await refused(those, token=each) in {"removed", "token_revoked"}


async def test_a_revocation_that_the_file_does_not_take_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "none" / "revoked"
    async with clients(keeping(tmp_path, revoked_file=str(file))) as those:
        assert (await call(those, "DELETE", "/tokens/cam-1", admin()))[0] == 503
        file.parent.mkdir()
        assert (await call(those, "DELETE", "/tokens/cam-1", admin()))[0] == 200
        assert file.read_text() == "cam-1\n"
