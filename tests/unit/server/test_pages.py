"""The web app's files over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sfu.server import pages

Client = TestClient[web.Request, web.Application]


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    root = tmp_path / "static"
    (root / "sdk").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html>")
    (root / "sdk" / "room.js").write_text("export {}")
    (root / "notes.txt").write_text("not served")
    (tmp_path / "secret.js").write_text("secret")
    app = web.Application()
    app.router.add_routes(pages.Pages(root).routes())
    app.on_response_prepare.append(pages.add_security_headers)
    async with TestClient(TestServer(app)) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/", "/r/demo", "/r/two%20words"])
async def test_the_page_is_served_for_every_room(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 200
    assert answer.content_type == "text/html"
    assert "connect-src 'self' ws: wss:" in answer.headers["Content-Security-Policy"]
    assert "camera=(self)" in answer.headers["Permissions-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_modules_have_their_type_and_are_asked_for_again(client: Client) -> None:
    answer = await client.get("/static/sdk/room.js")
    assert answer.content_type == "text/javascript"
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await client.get("/static/sdk/room.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/none.js",
        "/static/notes.txt",
        "/static/sdk",
        "/static/..%2fsecret.js",
        "/static/%2fetc%2fpasswd",
        "/static/%00.css",
        "/static/" + "a" * 300 + ".css",
        "/static/" + "a/" * 2000 + "x.css",
        "/static/sdk/room.js/x.js",
        "/static/%ff%fe.js",
    ],
)
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404
