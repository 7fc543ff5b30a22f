"""The ways something can be wrong. Codes are stable; texts are for people and may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SfuError(Exception):
    """Root of every error this package raises on purpose."""


class ParseError(SfuError, ValueError):
    """Bytes or text from a peer that do not parse: dropped, counted by `reason`, never logged one by one.

    `reason` is a short constant (for example `"rtp-truncated"`) fit for a counter's label.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _CodedError(SfuError):
    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details or {}


class RequestError(_CodedError):
    """A request that is refused: the peer gets `code` and `message`, and its session stays.

    `details` are further members of the answer, which the protocol names for some codes.
    """


class ProtocolError(_CodedError):
    """The peer broke the protocol: it gets `code` and `message`, and its session is closed."""


class ConfigError(SfuError):
    """The configuration is wrong; raised at start only, with every fault at once in `faults`."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class StartError(SfuError):
    """Something that the server needs cannot be had at this moment; raised at start only.

    The configuration may be right, so a later start may succeed. `status` is the exit status of sysexits.h.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
