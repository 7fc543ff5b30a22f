"""The shared state of a room: a small document of keys with JSON values, for games and tools.

Every change takes the document's next number as its version, so a version is never seen twice, not even after
a key was deleted: who compares versions before writing overwrites nothing unseen.

A `Judge` decides about every change before it is made. It is the place for the rules of a game that clients
shall not be trusted with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room.model import ParticipantView, StateLimits

Value = Any
"""What JSON can say. Never change one in place: it is shared with whoever looks at the document."""

MAX_DEPTH = 32
"""Lists and objects in each other: far below where encoders and browsers give up."""

LARGEST_INTEGER = 2**53 - 1
"""What every JSON implementation keeps; a longer one is another in a browser, or Infinity."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and the number of the change that made it."""

    value: Value
    version: int


@dataclass(frozen=True, slots=True)
class StateView:
    """The whole document; `version` is the number of its last change, 0 at first."""

    version: int
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class StatePatched:
    """A key has changed; `entry` is None where it was deleted."""

    participant: ParticipantId
    key: str
    entry: Entry | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody wants: `key` shall have `value`, or where `deleted` is true shall be no more."""

    room: RoomName
    by: ParticipantView
    key: str
    value: Value
    deleted: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class Accept:
    """The change is made as it was asked for."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing changes; who asked gets an error with this `code` (lower case, stable) and text."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Replace:
    """The key gets this value instead, also where it was to be deleted."""

    value: Value


Verdict = Accept | Refuse | Replace

Judge = Callable[[Change, Mapping[str, Entry]], Verdict]
"""Given the change and the document as it is, it decides at once: it must neither block nor change either.

It is asked after rights, rate and `if_version` were found good. One that raises refuses the change with
`judge_failed`, and the room goes on.
"""


def accept_all(change: Change, entries: Mapping[str, Entry]) -> Verdict:
    """The judge of rooms without rules."""
    return Accept()


class StateDocument:
    """Keys in the order of their making."""

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        self._sizes: dict[str, int] = {}
        self._version = 0

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The document as it is; it changes with every change."""
        return self._entries

    def view(self) -> StateView:
        """The document as it is now, and stays."""
        return StateView(self._version, dict(self._entries))

    def expect(self, key: str, if_version: int | None, *, tell: bool = True) -> None:
        """Raises `RequestError` `conflict` where `key` is not at `if_version` (0: not there; None: any).

        It says what is there, where `tell` allows that.
        """
        entry = self._entries.get(key)
        version = entry.version if entry else 0
        if if_version is not None and if_version != version:
            present = {"value": entry.value} if entry and tell else {}
            raise RequestError("conflict", f"{key} is at version {version}", {"version": version, **present})

    def set(self, key: str, value: Value) -> Entry:
        """Raises `RequestError` `too_large` where the value or the document would be, `bad_request` for
        what JSON cannot say."""
        size = len(key.encode()) + encoded_bytes(value)
        if size > self._limits.value_bytes:
            raise RequestError(
                "too_large", f"a key and its value have at most {self._limits.value_bytes} bytes"
            )
        if key not in self._entries and len(self._entries) >= self._limits.keys:
            raise RequestError("too_large", f"the state has at most {self._limits.keys} keys")
        if sum(self._sizes.values()) - self._sizes.get(key, 0) + size > self._limits.total_bytes:
            raise RequestError("too_large", f"the state has at most {self._limits.total_bytes} bytes")
        self._version += 1
        self._sizes[key] = size
        self._entries[key] = Entry(value, self._version)
        return self._entries[key]

    def delete(self, key: str) -> int:
        """The number of the change. Raises `RequestError` `not_found`."""
        if key not in self._entries:
            raise RequestError("not_found", f"no key {key}")
        del self._entries[key], self._sizes[key]
        self._version += 1
        return self._version


def encoded_bytes(value: Value) -> int:
    """Bytes of `value` as compact JSON.

    Raises `RequestError` `bad_request` for what would not pass: infinities, lone surrogates, nesting that
    is deeper than `MAX_DEPTH`, integers past `LARGEST_INTEGER`, and whatever is no JSON at all.
    """
    _check(value)
    try:
        return len(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    except (ValueError, TypeError):
        raise RequestError("bad_request", "the value is not JSON") from None


def _check(value: Value) -> None:
    """Level by level: recursion would end where the nesting is deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if any(isinstance(each, int) and abs(each) > LARGEST_INTEGER for each in level):
            raise RequestError("bad_request", "a browser cannot keep integers past 2**53 - 1")
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RequestError("bad_request", f"the value nests deeper than {MAX_DEPTH}")
