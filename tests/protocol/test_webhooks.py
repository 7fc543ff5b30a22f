"""Webhooks from a real server to a real receiver that has every fault a receiver can have."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from server_process import start
from signalling import Signal, clients, local_config, until

from sfu import clock
from sfu.config import Config, ServerConfig, StorageConfig, WebhooksConfig
from sfu.server import webhooks

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 characters").decode()


class Receiver:
    """Keeps what it takes. `answer` is called with how many posts came before, and gives the status."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], str]] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Callable[[int], int] = lambda before: 204
        self.stalled = asyncio.Event()
        self.stall = False
        self.url = ""
        self.coming: dict[str, str] = {}

    def types(self) -> list[str]:
        return [each["type"] for each in self.taken]

    async def take(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.coming = dict(request.headers)
        status = self.answer(len(self.posts))
        self.posts.append((dict(request.headers), text))
        if self.stall:
            self.stalled.set()
            await asyncio.Event().wait()
        if status < 300:
            self.taken.append(json.loads(text))
        return web.Response(status=status, headers={"Location": self.url} if status == 302 else {})


@contextlib.asynccontextmanager
async def receiver(port: int = 0) -> AsyncIterator[Receiver]:
    there = Receiver()
    app = web.Application()
    app.router.add_post("/hook", there.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    sock = socket.create_server(("127.0.0.1", port), reuse_port=True)
    await web.SockSite(runner, sock).start()
    there.url = f"http://127.0.0.1:{sock.getsockname()[1]}/hook"
    try:
        yield there
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "RETRIES_S", (0.01, 0.02))


def telling(there: Receiver, **values: Any) -> Config:
    return local_config(webhooks=WebhooksConfig(urls=(there.url,), secret=SECRET, **values))


async def test_a_call_is_told_in_order_and_signed() -> None:
    async with receiver() as there:
        async with clients(telling(there)) as those:
            ann = await those.join()
            await ann.request("chat", text="hello")
            await ann.request("raise_hand", raised=True)
            await until(lambda: len(there.taken) >= 4)
            async with those.http.get(those.server.http_url + "/api/v1/stats") as answer:
                counts = (await answer.json())["webhooks"]
            # The receiver has taken the last one; the server may not have its answer yet.
            assert counts in (
                {"delivered": 3, "failed": 0, "refused": 0, "dropped": 0, "waiting": 1},
                {"delivered": 4, "failed": 0, "refused": 0, "dropped": 0, "waiting": 0},
            )
            await ann.request("leave")
            await until(lambda: len(there.taken) >= 5)
        assert there.types() == [
            "room_started", "participant_joined", "message", "hand", "participant_left", "room_ended",
        ]  # fmt: skip
        for headers, text in there.posts:
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{text}".encode()
            expected = hmac.digest(b"a secret of 24 characters", signed, hashlib.sha256)
            assert headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
            assert json.loads(text)["id"] == headers["webhook-id"]
        assert there.taken[2]["data"]["message"]["text"] == "hello"


async def test_what_is_refused_is_posted_again_before_anything_else() -> None:
    async with receiver() as there:
        there.answer = lambda before: {1: 500, 2: 302, 3: 404}.get(before, 200)
        async with clients(telling(there)) as those:
            await those.join()
            await until(lambda: len(there.taken) == 2)
            ids = [headers["webhook-id"] for headers, _ in there.posts]
            assert len(ids) == 5
            assert len(set(ids[1:])) == 1
            assert there.types() == ["room_started", "participant_joined"]


@pytest.mark.parametrize(("status", "posts"), [(400, 1), (422, 1), (404, webhooks.REFUSALS)])
async def test_an_event_that_a_receiver_does_not_want_holds_up_no_other(status: int, posts: int) -> None:
    """What is wrong with the event is said once; what may be wrong with the receiver is tried for a while."""
    async with receiver() as there:
        first: list[str] = []

        def answer(before: int) -> int:
            event = there.coming["webhook-id"]
            if before == 0:
                first.append(event)
            return status if event == first[0] else 200

        there.answer = answer
        async with clients(telling(there)) as those:
            await those.join()
            await until(lambda: there.types() == ["participant_joined"])
            async with those.http.get(those.server.http_url + "/api/v1/stats") as counted:
                counts = (await counted.json())["webhooks"]
            assert (counts["refused"], counts["dropped"]) == (1, 0)
        assert [headers["webhook-id"] for headers, _ in there.posts].count(first[0]) == posts


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_may_pass_is_never_given_up(status: int) -> None:
    async with receiver() as there:
        there.answer = lambda before: status if before < 2 * webhooks.REFUSALS else 200
        async with clients(telling(there)) as those:
            await those.join()
            await until(lambda: there.types() == ["room_started", "participant_joined"])


async def test_one_participants_flood_does_not_push_out_what_others_did() -> None:
    async with receiver() as there:
        there.stall = True
        async with clients(telling(there, max_waiting=6, timeout_s=0.2)) as those:
            ann, eve = await those.join(), await those.join(name="Eve")
            ben = await those.join(name="Ben")
            await there.stalled.wait()
            await ben.request("chat", text="before the flood")
            await ann.request("remove", participant=ben.me)
            for number in range(20):
                await eve.request("chat", text=str(number))
            there.stall = False
            await until(lambda: any(e["data"].get("message", {}).get("text") == "19" for e in there.taken))
            texts = [e["data"]["message"]["text"] for e in there.taken if e["type"] == "message"]
            assert "moderated" in there.types()
            assert texts[0] == "before the flood"
            assert texts[-1] == "19"


async def test_only_the_types_asked_for_are_posted() -> None:
    async with receiver() as there, clients(telling(there, events=("message",))) as those:
        ann = await those.join()
        await ann.request("chat", text="hello")
        await until(lambda: there.taken)
        assert there.types() == ["message"]


async def test_a_receiver_that_stalls_holds_up_nobody() -> None:
    async with receiver() as there:
        there.stall = True
        async with clients(telling(there, timeout_s=0.2)) as those:
            ann = await those.join()
            await there.stalled.wait()
            assert (await ann.request("chat", text="hello"))["type"] == "ok"
            there.stall = False
            await until(lambda: len(there.taken) == 3)
        assert there.types()[:3] == ["room_started", "participant_joined", "message"]


async def test_too_many_drop_the_oldest_but_the_one_under_way() -> None:
    async with receiver() as there:
        there.stall = True
        async with clients(telling(there, max_waiting=2, timeout_s=0.2)) as those:
            ann = await those.join()
            await there.stalled.wait()
            for number in range(5):
                await ann.request("chat", text=str(number))
            there.stall = False
            await until(lambda: len(there.taken) == 2)
            assert there.types() == ["room_started", "message"]
            assert there.taken[1]["data"]["message"]["text"] == "4"


async def test_what_nobody_took_is_dropped_with_age() -> None:
    async with receiver() as there:
        there.answer = lambda before: 500
        async with clients(telling(there, max_age_s=0.1)) as those:
            ann = await those.join()
            await until(lambda: len(there.posts) >= 2)
            await asyncio.sleep(0.1)
            there.answer = lambda before: 200
            await ann.request("chat", text="fresh")
            await until(lambda: "message" in there.types())
        assert "room_started" not in there.types()


async def test_a_wrong_clock_drops_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither under a running server nor at one start."""
    now_ms = clock.wall_ms()
    leap_ms = 730 * 86_400_000
    async with receiver() as there:
        there.answer = lambda before: 500
        server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(tmp_path))
        config = replace(telling(there), server=server, storage=StorageConfig())
        async with clients(config) as those:
            await those.join()
            await until(lambda: there.posts)
            monkeypatch.setattr(clock, "wall_ms", lambda: now_ms + leap_ms)
            count = len(there.posts)
            await until(lambda: len(there.posts) > count + 1)
            monkeypatch.setattr(webhooks, "LAST_S", 0)
        monkeypatch.setattr(clock, "wall_ms", lambda: now_ms + leap_ms)
        there.answer = lambda before: 200
        async with clients(config):
            await until(lambda: len(there.taken) >= 2)
        assert there.types()[:2] == ["room_started", "participant_joined"]


async def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    async with receiver() as there, aiohttp.ClientSession() as http:
        there.answer = lambda before: 503
        settings = (f"webhooks.urls={there.url}", "webhooks.secret=s", "webhooks.events=room_started,message")
        server = await start(tmp_path, *settings)
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        await ann.join()
        for text in ("one", "two"):
            assert (await ann.request("chat", text=text))["type"] == "ok"
        await until(lambda: there.posts)
        # A further message is acknowledged only after a commit that the events before it are in.
        await ann.request("chat", text="three")
        server.process.kill()
        await server.process.wait()
        assert there.types() == []
        there.answer = lambda before: 200
        server = await start(tmp_path, *settings)
        try:
            await until(lambda: len(there.taken) >= 3, 15)
            texts = [each["data"]["message"]["text"] for each in there.taken if each["type"] == "message"]
            assert there.types()[0] == "room_started"
            assert texts[:2] == ["one", "two"]
            assert len({each["id"] for each in there.taken}) == len(there.taken)
        finally:
            await server.stop()


async def test_a_killed_server_says_once_who_is_gone_and_what_has_ended(tmp_path: Path) -> None:
    async with receiver() as there, aiohttp.ClientSession() as http:
        settings = (f"webhooks.urls={there.url}", "server.https_port=-1")
        server = await start(tmp_path, *settings)
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        await ann.join()
        ben = Signal(await http.ws_connect(server.url + "/signal"))
        await ben.join(name="Ben")
        # Answered after a commit that the sessions are in.
        await ben.request("chat", text="hello")
        await until(lambda: "message" in there.types())
        for _ in range(2):
            server.process.kill()
            await server.process.wait()
            server = await start(tmp_path, *settings)
        try:
            cid = Signal(await http.ws_connect(server.url + "/signal"))
            await cid.join(name="Cid")
            # What was under way at the kill may come twice, with its id, and is tried again after seconds.
            await until(lambda: any(each["data"].get("name") == "Cid" for each in there.taken), 30)
        finally:
            await server.stop()
        once = list({each["id"]: each for each in there.taken}.values())
        killed = once[[each["type"] for each in once].index("message") + 1 :]
        told = [(each["type"], each["data"].get("name"), each["data"].get("reason")) for each in killed]
        assert told[:5] == [
            ("participant_left", "Ann", "crashed"),
            ("participant_left", "Ben", "crashed"),
            ("room_ended", None, None),
            ("room_started", None, None),
            ("participant_joined", "Cid", None),
        ]
