"""Logging: standard `logging` to standard error, one line or one JSON object a record.

A record's `room`, `participant` and `transport` come through `extra=`. Tokens, SDP, ICE passwords
and message text are never logged; addresses are shortened by `peer_address` unless asked for.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from sfu import clock
from sfu.config import LogConfig

EVERY_US = 60_000_000
LINES, LINES_PER_S = 300, 1.0
"""What one place of the code may say at once, and a second from then on: a large room that joins at once is
told of whole, and who makes the server say something all day fills some ten megabytes."""
TRACEBACKS, TRACEBACKS_PER_S = 10, 1 / 60
"""The same for what comes with a traceback, which is ten times as long."""
TOLD_EVERY_S = 60.0
"""How often it is told how many lines were held back."""
MOST_CHARACTERS = 16_384
"""Of one message, and of one traceback."""
ACCESS = "sfu.access"
"""The logger of the access log, which is whole or of no use: whoever switches it on has a place for it."""
CONTEXT = ("room", "participant", "transport")

_addresses_in_full = False


@dataclass(slots=True)
class _Place:
    """A place of the code that logs. `held` lines were held back since `told_s`, the last of them `last`."""

    tokens: float
    at_s: float
    told_s: float
    held: int = 0
    last: logging.LogRecord | None = None


class _Bounded(logging.StreamHandler[TextIO]):
    """Writes what each place of the code says at a bounded rate, and then how many lines it held back.

    Strangers cause lines, and what they cause must not fill a disk. The place counts, not the text, which
    may be theirs; with the kind of exception, so that a common one does not hide a rare one.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._places: dict[tuple[str, int, int, type | None], _Place] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == ACCESS:
            super().emit(record)
            return
        kind = record.exc_info[0] if record.exc_info else None
        most, per_s = (TRACEBACKS, TRACEBACKS_PER_S) if kind else (LINES, LINES_PER_S)
        key = (record.pathname, record.lineno, record.levelno, kind)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(most, record.created, record.created)
        place.tokens = min(most, place.tokens + max(0.0, record.created - place.at_s) * per_s)
        place.at_s = record.created
        if place.tokens >= 1:
            place.tokens -= 1
            super().emit(record)
        else:
            place.held += 1
            place.last = record
        self._tell(record.created)

    def close(self) -> None:
        self._tell(math.inf)
        super().close()

    def _tell(self, now_s: float) -> None:
        for place in self._places.values():
            if place.last is None or abs(now_s - place.told_s) < TOLD_EVERY_S:
                continue
            last, held = place.last, place.held
            place.last, place.held, place.told_s = None, 0, now_s
            said = last.getMessage().partition("\n")[0][:200]
            text = f"{held} more lines like this were held back: {said}"
            super().emit(
                logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, text, (), None)
            )


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} (cut)"


def _time(record: logging.LogRecord, zone: datetime.tzinfo | None) -> str:
    """With its offset from UTC, in `zone` or that of the machine. Spec: RFC 3339."""
    at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).astimezone(zone)
    return at.isoformat(timespec="milliseconds")


class _Formatter(logging.Formatter):
    """With messages and tracebacks of a bounded length: what an exception says may be a stranger's."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _cut(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        text = super().formatException(ei)
        # Its end says what went wrong.
        return text if len(text) <= MOST_CHARACTERS else f"(cut) {text[-MOST_CHARACTERS:]}"


class _Line(_Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name
        return _time(record, None)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        context = " ".join(f"{name}={record.__dict__[name]}" for name in CONTEXT if name in record.__dict__)
        return f"{text} [{context}]" if context else text


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record, datetime.UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        entry.update({name: record.__dict__[name] for name in CONTEXT if name in record.__dict__})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _not_a_peers(record: logging.LogRecord) -> bool:
    """Whether a record of the web server is of something else than what a stranger sent.

    Bytes that are no HTTP, bodies that are not what they say, subprotocols that nobody speaks are answered;
    who went away is not. What is left does not tell anybody's whole address.
    """
    if record.name not in {"aiohttp.server", "aiohttp.websocket"}:
        return True
    kind = record.exc_info[0] if record.exc_info else None
    if kind is None:
        return record.name != "aiohttp.websocket"
    if isinstance(record.args, tuple) and record.args:
        record.args = (peer_address(str(record.args[0])), *record.args[1:])
    bad = kind.__module__ == "aiohttp.http_exceptions" or kind.__name__ == "RequestPayloadError"
    return not bad and not issubclass(kind, ConnectionError)


class Seldom:
    """Logs each message once a minute at most, whatever its details are: for what strangers can cause.

    Messages are the program's own, so that there are few of them.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said_us: dict[str, int] = {}

    def warning(self, message: str, *details: object) -> None:
        now_us = clock.now_us()
        if now_us - self._said_us.get(message, -EVERY_US) >= EVERY_US:
            self._said_us[message] = now_us
            self._logger.warning(message, *details)


def configure(config: LogConfig) -> None:
    """Send the `sfu` loggers to standard error as `config` says. Libraries speak from WARNING up."""
    global _addresses_in_full
    _addresses_in_full = config.addresses
    handler = _Bounded(sys.stderr)
    handler.setFormatter(
        _Json() if config.json else _Line("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    handler.addFilter(_not_a_peers)
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("sfu", "sfu_client"):
        logging.getLogger(name).setLevel(config.level.upper())
    # Whoever wants few lines of the server may want all of these.
    logging.getLogger(ACCESS).setLevel(logging.INFO)


def peer_address(host: str) -> str:
    """`host` as it may be logged: the network part only, unless the configuration asks for all of it.

    >>> peer_address("198.51.100.7")
    '198.51.x.x'
    """
    if _addresses_in_full:
        return host
    separator = ":" if ":" in host else "."
    return separator.join([*host.split(separator)[:2], "x", "x"])
