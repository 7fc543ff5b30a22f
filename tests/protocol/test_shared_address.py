"""Many people behind one address: what one of them does wrong shuts out nobody else."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import aiohttp
import pytest
from guarded import SECRET, call, guarded, member, refused, token
from signalling import Signal, clients, local_config

from sfu.config import LimitsConfig
from sfu.server import tokens


async def test_bad_tokens_lock_out_who_brings_them_and_nobody_else_of_the_address() -> None:
    async with clients(guarded(max_failures=3, lockout_s=60)) as those:
        ann, ben = await member(those, "ann"), await member(those, "ben")
        for _ in range(3):
            assert await refused(those, token=token(ttl_s=-60)) == "token_expired", "an old token is no guess"
        for _ in range(3):
            assert await refused(those, token="guess") == "bad_token"
        assert await refused(those, token="guess") == "locked_out"
        assert (await call(those, "GET", "/rooms", "guess"))[0] == 429
        guessed = f"{those.server.http_url}/api/v1/rooms/r/participants"
        secret = {"Authorization": f"Participant {ann.me}:guess"}
        assert (await those.http.get(guessed, headers=secret)).status == 429
        assert (await ann.request("ping"))["type"] == "pong", "who is in stays"
        # Everybody else behind the same address.
        await member(those, "cat")
        administrator = tokens.mint_admin(
            "k", SECRET, identity="root", now_s=int(time.time()), ttl_s=60, jti="root"
        )
        assert (await call(those, "GET", "/rooms", administrator))[0] == 200
        assert (await call(those, "GET", "/rooms/r/participants", ben))[0] == 200
        await ann.drop()
        again = await those.open()
        mine = {"participant": ann.me, "secret": ann.joined["secret"]}
        assert (await again.join(token=token("ann"), resume=mine))["resumed"] is True


async def test_the_rate_of_strangers_is_not_the_rate_of_who_brings_a_token() -> None:
    limits = LimitsConfig(api_burst=2, api_per_s=0.001)
    async with clients(replace(guarded(), limits=limits)) as those:
        ann = await member(those, "ann")
        for status in (200, 200, 429):
            described = await those.http.get(f"{those.server.http_url}/api/v1/openapi.json")
            assert described.status == status
        assert (await call(those, "GET", "/rooms", "guess"))[0] == 429, "a bad token is a stranger's"
        for status in (200, 200, 429):
            assert (await call(those, "GET", "/rooms/r/participants", ann))[0] == status
        assert (await call(those, "GET", "/rooms", token("ben")))[0] == 200, "each has its own"


async def cut_off(who: Signal) -> bool:
    """Whether the server has ended the connection without a word."""
    frame = await who.socket.receive(5)
    return frame.type is not aiohttp.WSMsgType.TEXT


async def test_silent_sessions_give_way_and_joined_ones_do_not_count() -> None:
    limits = LimitsConfig(sessions_per_address=2)
    async with clients(replace(guarded(), limits=limits)) as those:
        inside = [await member(those, name) for name in ("ann", "ben", "cat")]
        silent = [await those.open() for _ in range(2)]
        dan = await member(those, "dan")
        assert await cut_off(silent[0]), "the oldest gives way"
        assert (await silent[1].join(token=token("eve")))["type"] == "joined", "and only that"
        for who in (*inside, dan):
            assert (await who.request("ping"))["type"] == "pong"


async def test_without_tokens_joined_sessions_count_but_give_way_to_nobody() -> None:
    async with clients(local_config(limits=LimitsConfig(sessions_per_address=2))) as those:
        ann, silent = await those.join(), await those.open()
        ben = await those.join()
        assert await cut_off(silent)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
            await those.open()
        for who in (ann, ben):
            assert (await who.request("ping"))["type"] == "pong"


async def test_unfinished_requests_give_way_and_who_has_joined_does_not() -> None:
    limits = LimitsConfig(connections_per_address=3)
    async with clients(replace(guarded(), limits=limits)) as those:
        port = int(those.server.http_url.rpartition(":")[2])
        ann = await member(those, "ann")
        body = "PATCH /api/v1/rooms/r/files/x?offset=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na"
        writers = []
        for said in (body, "GET / HT", "") * 3:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said.encode())
            writers.append(writer)
        ben = await member(those, "ben")
        assert (await call(those, "GET", "/rooms/r/participants", ben))[0] == 200
        assert (await ann.request("ping"))["type"] == "pong"
        for writer in writers:
            writer.close()


async def test_a_proxy_that_is_not_trusted_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async with clients() as those:
        url = f"{those.server.http_url}/api/v1/rooms"
        assert (await those.http.get(url)).status < 500
        assert "trust_proxy" not in caplog.text
        for header in ("X-Forwarded-For", "Forwarded", "x-forwarded-for"):
            assert (await those.http.get(url, headers={header: "192.0.2.1"})).status < 500
    assert caplog.text.count("server.trust_proxy") == 1
