"""Logging: standard `logging` to standard error, one line or one JSON object a record.

A record's `room`, `participant` and `transport` come through `extra=`. Tokens, SDP, ICE passwords
and message text are never logged; addresses are shortened by `peer_address` unless asked for.
"""

from __future__ import annotations

import json
import logging
import sys

from sfu import clock
from sfu.config import LogConfig

EVERY_S = 60.0
EVERY_US = 60_000_000
CONTEXT = ("room", "participant", "transport")

_addresses_in_full = False


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        context = " ".join(f"{name}={record.__dict__[name]}" for name in CONTEXT if name in record.__dict__)
        return f"{text} [{context}]" if context else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update({name: record.__dict__[name] for name in CONTEXT if name in record.__dict__})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _not_a_peers(record: logging.LogRecord) -> bool:
    """Whether a record of the web server is of something else than what a stranger sent.

    Bytes that are no HTTP, and bodies that are not what they say, are answered 400; who went away is not.
    """
    kind = record.exc_info[0] if record.exc_info else None
    if kind is None or record.name != "aiohttp.server":
        return True
    bad = kind.__module__ == "aiohttp.http_exceptions" or kind.__name__ == "RequestPayloadError"
    return not bad and not issubclass(kind, ConnectionError)


class _NowAndThen:
    """Lets a record pass that says that no descriptor is left once a minute: strangers cause it."""

    def __init__(self) -> None:
        self._passed_s = -EVERY_S

    def __call__(self, record: logging.LogRecord) -> bool:
        if record.name != "asyncio" or "out of system resource" not in record.getMessage():
            return True
        if record.created - self._passed_s < EVERY_S:
            return False
        self._passed_s = record.created
        return True


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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Json() if config.json else _Line("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    handler.addFilter(_not_a_peers)
    handler.addFilter(_NowAndThen())
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("sfu", "sfu_client"):
        logging.getLogger(name).setLevel(config.level.upper())


def peer_address(host: str) -> str:
    """`host` as it may be logged: the network part only, unless the configuration asks for all of it.

    >>> peer_address("198.51.100.7")
    '198.51.x.x'
    """
    if _addresses_in_full:
        return host
    separator = ":" if ":" in host else "."
    return separator.join([*host.split(separator)[:2], "x", "x"])
