"""Checks of what a client wrote. Each takes a message and a member's name, and raises `bad_request`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sfu.errors import RequestError
from sfu.room import names

Message = Mapping[str, Any]
T = TypeVar("T", bound=str)

LARGEST_ID = 2**53 - 1
"""The largest integer every JSON implementation keeps."""


def parse_object(text: str) -> dict[str, Any]:
    """One JSON object. Raises `RequestError` `bad_request` for anything else, NaN and the like included."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad("not JSON") from None
    if not isinstance(value, dict):
        raise bad("not a JSON object")
    return value


def bad(what: str) -> RequestError:
    """The error for a message of the wrong form."""
    return RequestError("bad_request", what)


def text(message: Message, name: str, *, longest: int, shortest: int = 0, default: str | None = None) -> str:
    """A text of `shortest` to `longest` characters that can be encoded; required without `default`."""
    value = message.get(name, default)
    if not isinstance(value, str):
        raise bad(f"{name} must be a text")
    if not shortest <= len(value) <= longest:
        raise bad(f"{name} must have {shortest} to {longest} characters")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise bad(f"{name} has a lone surrogate")
    return value


def person(message: Message, name: str, *, longest: int) -> str:
    """What somebody wants to be called, as others are shown it. Empty: it has no name, and is a guest.

    A name of which nothing can be seen is refused: it would be taken for none, or for somebody else's.
    """
    given = text(message, name, longest=longest, default="")
    cleaned = names.clean(given)
    if not cleaned and given.strip():
        raise bad(f"{name} has nothing that can be seen")
    return label({name: cleaned}, name, longest=longest)


def label(message: Message, name: str, *, longest: int, shortest: int = 0, default: str | None = None) -> str:
    """A text on one line, fit to be shown: no control characters, no blanks around it."""
    value = text(message, name, longest=longest, default=default).strip()
    if len(value) < shortest:
        raise bad(f"{name} must have {shortest} to {longest} characters")
    if not value.isprintable():
        raise bad(f"{name} has characters that cannot be shown")
    if value and not names.visible(value):
        raise bad(f"{name} has nothing that can be seen")
    return value


def shown(message: Message, name: str, *, longest: int, shortest: int = 1, default: str | None = None) -> str:
    """A text that people read, as it is: any lines, but not blank. Empty only where `shortest` is 0."""
    value = text(message, name, longest=longest, shortest=shortest, default=default)
    if value and not names.visible(value):
        raise bad(f"{name} has nothing that can be seen")
    return storable(value, name)


def storable(value: str, name: str) -> str:
    """The text as it is. PostgreSQL keeps every character but one, so nobody's database is asked to."""
    if "\0" in value:
        raise bad(f"{name} has a NUL character")
    return value


def integer(message: Message, name: str, *, lowest: int, highest: int) -> int:
    """A whole number in a range."""
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise bad(f"{name} must be a whole number from {lowest} to {highest}")
    return value


def optional_integer(message: Message, name: str, *, lowest: int, highest: int) -> int | None:
    """Like `integer`, None where it is missing or null."""
    return None if message.get(name) is None else integer(message, name, lowest=lowest, highest=highest)


def boolean(message: Message, name: str, default: bool | None = None) -> bool:
    """True or false; required without `default`."""
    value = message.get(name, default)
    if not isinstance(value, bool):
        raise bad(f"{name} must be true or false")
    return value


def optional_boolean(message: Message, name: str) -> bool | None:
    """True or false, None where it is missing or null."""
    return None if message.get(name) is None else boolean(message, name)


def choice(message: Message, name: str, allowed: Sequence[T]) -> T:
    """One of the texts in `allowed`."""
    value = message.get(name)
    for candidate in allowed:
        if value == candidate:
            return candidate
    raise bad(f"{name} must be one of {', '.join(allowed)}")


def objects(message: Message, name: str, *, most: int) -> list[Message]:
    """A list of at most `most` JSON objects."""
    value = message.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise bad(f"{name} must be a list of objects")
    if len(value) > most:
        raise bad(f"{name} has more than {most} entries")
    return value


def texts(message: Message, name: str, *, most: int, longest: int) -> tuple[str, ...]:
    """A list of 1 to `most` texts of 1 to `longest` characters."""
    value = message.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise bad(f"{name} must be a list of 1 to {most} texts")
    return tuple(seen({name: item}, name, longest=longest) for item in value)


def seen(message: Message, name: str, *, longest: int) -> str:
    """A text in which there is something to see."""
    value = text(message, name, shortest=1, longest=longest)
    if not names.visible(value):
        raise bad(f"{name} has nothing that can be seen")
    return value


def optional_object(message: Message, name: str) -> Message | None:
    """A JSON object, or None where it is missing or null."""
    value = message.get(name)
    if value is not None and not isinstance(value, dict):
        raise bad(f"{name} must be an object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)
