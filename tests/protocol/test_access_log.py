"""The access log, where it is switched on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from signalling import clients, local_config

from sfu import log
from sfu.config import LogConfig


@pytest.fixture(autouse=True)
def _restore_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    log.configure(LogConfig())
    root.handlers[:] = handlers
    root.setLevel(level)


async def lines(capsys: pytest.CaptureFixture[str], config: LogConfig) -> list[str]:
    """What the access log says of a request."""
    log.configure(config)
    async with clients(local_config(log=config)) as those:
        url = those.server.http_url + "/api/v1/rooms/a%0Ab/messages?text=a-secret"
        async with those.http.get(url, headers={"Authorization": "Bearer another-secret"}) as answer:
            assert answer.status == 403
            await answer.read()
    return [line for line in capsys.readouterr().err.splitlines() if "sfu.access" in line]


async def test_a_request_is_one_line_without_what_is_secret(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = await lines(capsys, LogConfig(access=True, level="error"))
    assert " 127.0.x.x GET /api/v1/rooms/a%0Ab/messages 403 " in line
    assert "secret" not in line


async def test_it_is_json_where_the_log_is(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = await lines(capsys, LogConfig(access=True, json=True, addresses=True))
    assert json.loads(line)["message"].startswith("127.0.0.1 GET /api/v1/rooms/a%0Ab/messages 403 ")


async def test_it_is_off_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert await lines(capsys, LogConfig(level="debug")) == []


async def test_it_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    config = LogConfig(access=True)
    log.configure(config)
    async with clients(local_config(log=config)) as those:
        for _ in range(log.LINES + 5):
            async with those.http.get(those.server.http_url + "/healthz") as answer:
                await answer.read()
    assert capsys.readouterr().err.count("GET /healthz 200 ") == log.LINES + 5
