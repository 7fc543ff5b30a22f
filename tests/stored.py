"""Rows for tests of the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sfu.store.messages import StoredMessage
from sfu.store.store import Store
from sfu.store.writes import Done, Step


def message(number: int, **members: Any) -> StoredMessage:
    """A message of Ann to everybody in the room `r`."""
    values: dict[str, Any] = {
        "room": "r", "id": number, "rev": number, "sender": "PA_ann", "identity": "ann", "name": "Ann",
        "recipient": None, "to_identity": None, "text": f"message {number}", "mentions": (), "file": None,
        "sent_ms": 1_000 + number, "edited_ms": None, "deleted": False,
    }  # fmt: skip
    return StoredMessage(**{**values, **members})


class FakeWrites:
    """What was submitted, durable at once."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def submit(self, steps: Iterable[Step], done: Done | None = None) -> None:
        self.steps += steps
        if done is not None:
            done(None)


class FakeStore(Store):
    """A store without a database."""

    def __init__(self) -> None:
        self.writes = FakeWrites()  # type: ignore[assignment]
