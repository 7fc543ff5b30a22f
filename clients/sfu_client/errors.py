"""What can go wrong, as exceptions. `code` is stable (docs/protocol.md lists them); texts are for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PERMANENT_CODES = frozenset({"bad_token", "token_expired", "wrong_room", "not_allowed"})
"""Refusals of a join that no amount of retrying changes: the token must be replaced first."""


class ClientError(Exception):
    """Root of every error this package raises on purpose."""


class UnavailableError(ClientError):
    """The server cannot be reached, or the connection to it was lost; trying again may help."""


class RefusedError(ClientError):
    """The server answered a request with an error; `details` are what it says besides (docs/protocol.md)."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = dict(details or {})

    @property
    def permanent(self) -> bool:
        """Whether a join refused like this will be refused again, whenever it is tried."""
        return self.code in PERMANENT_CODES


class ClosedError(ClientError):
    """The room is closed for this client for good: it left, was removed or replaced, or may not return."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
