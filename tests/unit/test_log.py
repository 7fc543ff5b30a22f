import json
import logging

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from sfu import log
from sfu.config import LogConfig


@pytest.fixture(autouse=True)
def _restore_root():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    log.configure(LogConfig())
    root.handlers[:] = handlers


def test_a_line_carries_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogConfig())
    logging.getLogger("sfu.room").info("joined", extra={"room": "r1", "participant": "PA_1"})
    assert capsys.readouterr().err.strip().endswith("sfu.room: joined [room=r1 participant=PA_1]")


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogConfig(json=True))
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("sfu.room").exception("bug", extra={"transport": 7})
    entry = json.loads(capsys.readouterr().err)
    assert entry["level"] == "error"
    assert entry["transport"] == 7
    assert "boom" in entry["traceback"]


def test_bytes_that_are_no_http_leave_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogConfig())
    for error in (BadHttpMessage("no HTTP"), ValueError("a bug")):
        logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
    printed = capsys.readouterr().err
    assert "a bug" in printed
    assert "no HTTP" not in printed


def test_what_strangers_cause_is_not_said_for_each_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogConfig())
    for _ in range(3):
        logging.getLogger("asyncio").error("socket.accept() out of system resource")
        logging.getLogger("asyncio").error("something else")
    printed = capsys.readouterr().err
    assert (printed.count("out of system resource"), printed.count("something else")) == (1, 3)


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogConfig(level="warning"))
    logging.getLogger("sfu.room").info("quiet")
    logging.getLogger("other").info("quiet")
    assert capsys.readouterr().err == ""


def test_addresses_are_shortened_unless_asked_for() -> None:
    log.configure(LogConfig())
    assert log.peer_address("198.51.100.7") == "198.51.x.x"
    assert log.peer_address("2001:db8::1") == "2001:db8:x:x"
    log.configure(LogConfig(addresses=True))
    assert log.peer_address("198.51.100.7") == "198.51.100.7"
