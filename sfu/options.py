"""How one configuration key is declared."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, doc: str, *, secret: bool = False) -> Any:
    """A dataclass field with its documentation; `secret` values are masked when printed."""
    metadata = {"doc": doc, "secret": secret}
    if isinstance(default, (list, dict)):
        raise TypeError("defaults are immutable: use a tuple")
    return field(default=default, metadata=metadata)
