"""What the client's requests do where an answer is lost or the server turns them away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sfu_client import files
from sfu_client.files import Files


class Server:
    """Answers the n-th request to begin an upload with `answers[n]`; None: the connection is cut."""

    def __init__(self, *answers: web.Response | None) -> None:
        self.keys: list[str] = []
        self._answers = list(answers)

    async def begin(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        answer = self._answers.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer

    async def append(self, request: web.Request) -> web.Response:
        file = {"id": "F", "name": "a", "type": "text/plain", "bytes": 1, "identity": "ann"}
        return web.json_response({"offset": 1, "file": file})


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def upload(server: Server, http: aiohttp.ClientSession, path: Path) -> None:
    app = web.Application()
    app.router.add_post("/api/v1/rooms/r/files", server.begin)
    app.router.add_patch("/api/v1/rooms/r/files/F", server.append)

    class Door:
        def http(self) -> tuple[aiohttp.ClientSession, str, dict[str, Any]]:
            return http, str(running.make_url("")).rstrip("/"), {"headers": {}}

    async def chat(*_: Any, **__: Any) -> Any: ...

    async with TestServer(app) as running:
        await Files("r", Door(), chat).upload(path)


def begun() -> web.Response:
    return web.json_response({"id": "F", "chunk_bytes": 100})


def refused(code: str, status: int, **headers: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": "no"}}, status=status, headers=headers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_text("x")
    return path


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            found.append(seconds)

    monkeypatch.setattr(files.asyncio, "sleep", sleep)
    return found


async def test_an_upload_is_begun_again_with_its_key(
    http: aiohttp.ClientSession, file: Path, pauses: list[float]
) -> None:
    server = Server(None, begun(), begun())
    await upload(server, http, file)
    assert len(server.keys) == 2
    assert len(set(server.keys)) == 1
    await upload(server, http, file)
    assert len(set(server.keys)) == 2, "another upload has another key"


async def test_the_servers_time_is_kept(http: aiohttp.ClientSession, file: Path, pauses: list[float]) -> None:
    answers = (refused("rate_limited", 429, **{"Retry-After": "7"}), refused("overloaded", 503), begun())
    await upload(Server(*answers), http, file)
    assert pauses == [7.0, files.RETRIES_S[1]]


async def test_an_odd_time_is_cut(http: aiohttp.ClientSession, file: Path, pauses: list[float]) -> None:
    for odd in ("999999", "tomorrow"):
        await upload(Server(refused("rate_limited", 429, **{"Retry-After": odd}), begun()), http, file)
    assert pauses == [files.LONGEST_S, files.RETRIES_S[0]]
