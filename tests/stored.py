"""Rows for tests of the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sfu.store.classwork import StoredPoll, StoredQuestion, StoredStroke
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


def question(number: int, identity: str, **members: Any) -> StoredQuestion:
    """A question in the room `r`."""
    values: dict[str, Any] = {
        "name": identity.title(),
        "sender": f"PA_{identity}",
        "text": "?",
        "asked_ms": number,
    }
    return StoredQuestion(room="r", id=number, identity=identity, **{**values, **members})


def poll(number: int, identity: str, **members: Any) -> StoredPoll:
    """A poll of two options in the room `r`."""
    values: dict[str, Any] = {"question": "?", "options": ("a", "b"), "multiple": False, "opened_ms": number}
    return StoredPoll(room="r", id=number, identity=identity, **{**values, **members})


def stroke(name: str, identity: str, **members: Any) -> StoredStroke:
    """A line in the room `r`."""
    values: dict[str, Any] = {
        "number": 1,
        "color": "#000000",
        "width": 20,
        "points": (0, 0, 9, 9),
        "at_ms": 1,
    }
    return StoredStroke(room="r", id=name, identity=identity, **{**values, **members})


class FakeWrites:
    """What was submitted, durable at once."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def check(self) -> None:
        """There is always place."""

    def submit(self, steps: Iterable[Step], done: Done | None = None, *, room: str = "") -> None:
        self.steps += steps
        if done is not None:
            done(None)


class FakeStore(Store):
    """A store without a database."""

    def __init__(self) -> None:
        self.writes = FakeWrites()  # type: ignore[assignment]
        self.folder = None  # type: ignore[assignment]
        self.believed = True
