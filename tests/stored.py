"""Rows for tests of the store."""

from __future__ import annotations

from typing import Any

from sfu.store.messages import StoredMessage


def message(number: int, **members: Any) -> StoredMessage:
    """A message of Ann to everybody in the room `r`."""
    values: dict[str, Any] = {
        "room": "r", "id": number, "rev": number, "sender": "PA_ann", "identity": "ann", "name": "Ann",
        "recipient": None, "to_identity": None, "text": f"message {number}", "mentions": (), "file": None,
        "sent_ms": 1_000 + number, "edited_ms": None, "deleted": False,
    }  # fmt: skip
    return StoredMessage(**{**values, **members})
