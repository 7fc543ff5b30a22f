import datetime
import json
import logging
import time

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


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "America/St_Johns"])
def test_times_have_an_offset(
    zone: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for as_json in (True, False):
            log.configure(LogConfig(json=as_json))
            logging.getLogger("sfu.room").info("joined")
            line = capsys.readouterr().err
            told = datetime.datetime.fromisoformat(json.loads(line)["time"] if as_json else line.split()[0])
            assert told.tzinfo is not None
            assert abs(told.timestamp() - time.time()) < 60
            assert not as_json or told.utcoffset() == datetime.timedelta()
    finally:
        monkeypatch.undo()
        time.tzset()


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


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that records have, seconds; a test moves it on."""
    now = [1_000_000.0]
    make = logging.LogRecord.__init__

    def made(self: logging.LogRecord, *args: object, **options: object) -> None:
        make(self, *args, **options)
        self.created = now[0]

    monkeypatch.setattr(logging.LogRecord, "__init__", made)
    return now


def flood(count: int) -> None:
    for number in range(count):
        logging.getLogger("aiohttp.server").error("from a stranger: %d", number)


def test_what_strangers_cause_is_bounded_and_counted(
    capsys: pytest.CaptureFixture[str], wall: list[float]
) -> None:
    log.configure(LogConfig())
    flood(log.LINES + 7000)
    logging.getLogger("sfu.room").info("somebody else's line")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == log.LINES + 1
    assert said[-1].endswith("somebody else's line")
    # Whoever says something next, when a minute has gone, tells how many there were.
    wall[0] += 61
    logging.getLogger("sfu.room").info("quiet again")
    said = capsys.readouterr().err.splitlines()
    assert said[1].endswith(f"7000 more lines like this were held back: from a stranger: {log.LINES + 6999}")
    # There is place again, as much as the time has made.
    flood(1000)
    assert len(capsys.readouterr().err.splitlines()) == 61


def test_a_day_of_one_stranger_is_some_megabytes(
    capsys: pytest.CaptureFixture[str], wall: list[float]
) -> None:
    log.configure(LogConfig())
    written = 0
    for _ in range(1440):
        wall[0] += 60
        for _ in range(100):
            try:
                raise ValueError("a bug that a stranger has found")
            except ValueError:
                logging.getLogger("aiohttp.server").exception("Error handling request from %s", "192.0.2.1")
        written += len(capsys.readouterr().err)
    assert written < 2_000_000


def test_another_place_and_another_kind_of_failure_have_their_own_share(
    capsys: pytest.CaptureFixture[str], wall: list[float]
) -> None:
    """The text is no distinction: a stranger may be able to choose it."""
    log.configure(LogConfig())
    errors = [ValueError(number) for number in range(50)] + [KeyError("rare")]
    for error in errors:
        logging.getLogger("asyncio").error(f"failed with {error}", exc_info=error)
    said = capsys.readouterr().err
    assert said.count("ValueError: ") == log.TRACEBACKS
    assert said.count("KeyError: ") == 1


def test_what_was_held_back_is_told_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogConfig())
    flood(log.LINES + 3)
    logging.getLogger().handlers[0].close()
    assert "3 more lines like this were held back" in capsys.readouterr().err


@pytest.mark.parametrize("json_lines", [False, True])
def test_a_record_has_a_bounded_length(capsys: pytest.CaptureFixture[str], json_lines: bool) -> None:
    log.configure(LogConfig(json=json_lines))
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError:
        logging.getLogger("sfu.room").exception("y" * 1_000_000)
    said = capsys.readouterr().err
    assert len(said) < 2 * log.MOST_CHARACTERS + 500
    assert not json_lines or json.loads(said)["level"] == "error"


def test_the_web_server_tells_no_whole_address_and_no_unknown_subprotocol(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure(LogConfig())
    logging.getLogger("aiohttp.websocket").warning("%s: Client protocols %r", "192.0.2.1", ["a"])
    logging.getLogger("aiohttp.server").error("from %s", "192.0.2.1", exc_info=ValueError("a bug"))
    said = capsys.readouterr().err
    assert "from 192.0.x.x" in said
    assert "Client protocols" not in said


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
