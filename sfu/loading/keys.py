"""Every configuration key, as loaders and documentation see it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from sfu.config import Config
from sfu.forms import Form
from sfu.options import in_range, range_text


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is `section.field`. `range` is `least`, `above` and `most` of a number, `form` checks a text."""

    name: str
    type: Any
    default: Any
    doc: str
    secret: bool
    guards: bool
    reloads: bool
    range: tuple[float | None, float | None, float | None]
    form: Form | None

    @property
    def meaning(self) -> str:
        """What it means, and the range of a number."""
        words = range_text(*self.range)
        return f"{self.doc} ({words})" if words else self.doc

    def fault(self, value: Any) -> str:
        """What is wrong with a value of the right type, empty if nothing is. Does not quote secrets."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return "" if in_range(value, *self.range) else f"must be {range_text(*self.range)}"
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str) and (wrong := self._wrong(each)):
                return wrong
        return ""

    def _wrong(self, value: str) -> str:
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            return "has a control character (a line break, perhaps)"
        expected = self.form(value) if self.form is not None else ""
        if not expected:
            return ""
        return f"expected {expected}" if self.secret else f"{value!r}: expected {expected}"


def keys() -> Iterator[Key]:
    """All of them, in the order of the dataclasses."""
    for section in fields(Config):
        cls = section_class(section.name)
        hints = get_type_hints(cls)
        for f in fields(cls):
            yield Key(name=f"{section.name}.{f.name}", type=hints[f.name], default=f.default, **f.metadata)


def section_class(name: str) -> Any:
    """The dataclass of one table."""
    return get_type_hints(Config)[name]


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean ...?` for a name that is not known, empty where none resembles it."""
    bare = _bare(name)
    same = [each for each in known if _bare(each) == bare]
    # A key without its section, as in SFU_KEYS.
    field = bare.removeprefix("SFU")
    ends = [each for each in known if _bare(each.replace("__", ".").rpartition(".")[2]) == field]
    close = difflib.get_close_matches(name.upper(), [each.upper() for each in known], n=1, cutoff=0.6)
    found = same or ends or [each for each in known if each.upper() in close]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _bare(name: str) -> str:
    return name.upper().replace("_", "").replace(".", "")
