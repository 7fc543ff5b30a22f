"""How one configuration key is declared: its default, its meaning and the values that it takes."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Any

from sfu.forms import Form


def option(
    default: Any,
    doc: str,
    *,
    secret: bool = False,
    guards: bool = False,
    reloads: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    form: Form | None = None,
) -> Any:
    """A dataclass field with its documentation.

    Numbers have a range, from `least` or `above` to `most`; texts, and those in a list, a `form`. `secret`
    values are masked when printed. `guards` marks a text whose absence lets somebody in or something out: an
    empty one on the command line or in the environment (a variable that was not set) is an error. `reloads`
    marks what a running server takes over when it is told to read its configuration again.
    """
    if isinstance(default, (list, dict)):
        raise TypeError("defaults are immutable: use a tuple")
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if number and ((least is None) == (above is None) or most is None):
        raise TypeError(f"a number needs its range, from least or above to most: {doc}")
    if isinstance(default, (str, tuple)) and form is None:
        raise TypeError(f"a text needs its form: {doc}")
    metadata = {
        "doc": doc,
        "secret": secret,
        "guards": guards,
        "reloads": reloads,
        "range": (least, above, most),
        "form": form,
    }
    return field(default=default, metadata=metadata)


def range_text(least: float | None, above: float | None, most: float | None) -> str:
    """The range of a number in words, empty for what is none.

    >>> range_text(None, 0, 3600)
    'above 0, at most 3600'
    """
    if most is None:
        return ""
    return f"above {above}, at most {most}" if least is None else f"{least} to {most}"


def in_range(value: float, least: float | None, above: float | None, most: float | None) -> bool:
    """Whether a number is in its range; what is no number (NaN) is in none."""
    if not math.isfinite(value):
        return False
    return (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
    )
