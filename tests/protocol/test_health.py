"""Whether a server is alive, and whether it is ready for users."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guarded import guarded, token
from signalling import LOCAL, Clients, clients

from sfu.config import Config, IceConfig, ServerConfig, StorageConfig
from sfu.server import media, readiness, tokens
from sfu.store import writes


async def ready(those: Clients) -> tuple[int, list[str]]:
    async with those.http.get(those.server.http_url + "/readyz") as answer:
        body = await answer.json()
        assert answer.headers["Cache-Control"] == "no-store"
        assert body["status"] == ("ready" if answer.status == 200 else "not_ready")
        assert all(reason["message"] for reason in body["reasons"])
        return answer.status, [reason["code"] for reason in body["reasons"]]


async def alive(those: Clients) -> Any:
    async with those.http.get(those.server.http_url + "/healthz") as answer:
        return await answer.json()


@pytest.fixture(autouse=True)
def _ask_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PROBE_S", 0.0)


@pytest.mark.parametrize("plane", ["python", "auto"])
async def test_a_server_that_works_is_ready(plane: str, tmp_path: Path) -> None:
    server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(tmp_path))
    config = replace(LOCAL, server=server, storage=StorageConfig(), media=replace(LOCAL.media, plane=plane))
    async with clients(config) as those:
        assert await ready(those) == (200, [])
        await those.join()
        assert await ready(those) == (200, [])
        async with those.server._store.reading() as connection:
            rows = await connection.exec_driver_sql("SELECT count(*) FROM users WHERE identity = ''")
            assert rows.scalar() == 0, "the write leaves nothing"


async def test_what_was_found_out_holds_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PROBE_S", 3600.0)
    async with clients() as those:
        probed = []
        durable = those.server._store.writes.durable

        async def counted(steps: Any) -> None:
            probed.append(1)
            await durable(steps)

        monkeypatch.setattr(those.server._store.writes, "durable", counted)
        await asyncio.gather(*(ready(those) for _ in range(20)))
        assert len(probed) == 1


async def test_without_its_database_it_is_alive_and_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "AWAY_S", 0.0)
    async with clients() as those:
        store = those.server._store
        async with store.engines.write.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE users")
        assert await ready(those) == (503, ["storage_failed"])
        assert await alive(those) == {"status": "ok"}


async def test_a_write_that_takes_too_long_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "WRITE_S", 0.01)
    async with clients() as those:
        async with those.server._store.engines.write.connect():
            assert await ready(those) == (503, ["storage_slow"])
        monkeypatch.setattr(readiness, "WRITE_S", 10)
        assert await ready(those) == (200, [])


async def test_another_server_has_the_database() -> None:
    async with clients() as those:
        those.server._store.lost.set()
        assert await ready(those) == (503, ["database_lost"])


async def test_a_media_port_that_nobody_reads_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "KNOCKS", 3)
    config = replace(LOCAL, media=replace(LOCAL.media, plane="python"))
    async with clients(config) as those:
        port = those.server._conference.media._port
        asyncio.get_running_loop().remove_reader(port._sockets[0].fileno())
        assert await ready(those) == (503, ["media_port_deaf"])
        asyncio.get_running_loop().add_reader(port._sockets[0].fileno(), port._drain, port._sockets[0])
        assert await ready(those) == (200, [])


async def test_policy_that_decides_nothing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients() as those:
        monkeypatch.setattr(type(those.server._conference.media), "policy_age_s", 3.0)
        assert await ready(those) == (503, ["policy_late"])
        assert those.server.alive
        monkeypatch.setattr(type(those.server._conference.media), "policy_age_s", 30.0)
        assert not those.server.alive, "the watchdog hears nothing"


async def test_a_server_that_stops_is_not_ready() -> None:
    async with clients() as those:
        those.server._stopping = True
        assert await ready(those) == (503, ["draining"])


# --- reloading -------------------------------------------------------------------------------------


async def test_a_reload_takes_other_keys_and_leaves_who_is_in(caplog: pytest.LogCaptureFixture) -> None:
    config: Config = guarded()
    async with clients(config) as those:
        ann = await those.join(name="Ann", token=token("ann"))
        keys = ("other:" + "o" * 32,)
        await those.server.reload(replace(config, auth=replace(config.auth, keys=keys)))
        refused = await (await those.open()).join(token=token("ben"))
        assert (refused["type"], refused["code"]) == ("error", "bad_token")
        assert (await ann.request("chat", text="still here"))["type"] == "ok"
        good = tokens.mint("other", "o" * 32, identity="cid", room="r", now_s=int(time.time()), ttl_s=60)
        await those.join(name="Cid", token=good)
        assert those.server.config.auth.keys == keys


async def test_a_reload_revokes_and_tells_other_ice_servers(caplog: pytest.LogCaptureFixture) -> None:
    config: Config = guarded()
    async with clients(config) as those:
        ann = await those.join(name="Ann", token=token("ann", jti="a1"))
        ice = IceConfig(stun_urls=("stun:stun.example.org",))
        await those.server.reload(replace(config, ice=ice, auth=replace(config.auth, revoked=("a1",))))
        assert (await ann.next("closed"))["code"] == "removed"
        ben = await those.join(name="Ben", token=token("ben"))
        assert ben.joined["ice_servers"] == [{"urls": ["stun:stun.example.org"]}]


async def test_what_needs_a_restart_is_named_and_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    async with clients() as those:
        old = those.server.config
        rtc = replace(old.rtc, consent_timeout_s=5.0)
        await those.server.reload(replace(old, rtc=rtc, auth=guarded().auth))
        assert those.server.config == old, "neither is an open server closed halfway"
        assert "after a restart: rtc.consent_timeout_s, auth.keys" in caplog.text
