"""A bounded queue in which nobody's flood pushes out what others have put in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    source: tuple[bool, Hashable]
    thing: T


class FairQueue(Generic[T]):
    """First in, first out. Where it is full, the source with most in it loses its oldest.

    What is `weighty` gives way after everything else, however much of it a source has.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0
        self._entries: OrderedDict[int, _Entry[T]] = OrderedDict()
        self._sources: dict[tuple[bool, Hashable], OrderedDict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> T:
        """The oldest; it may be under way, so it is never what gives way."""
        return next(iter(self._entries.values())).thing

    def put(self, thing: T, source: Hashable, *, weighty: bool = False) -> T | None:
        """Append it. Returns what is dropped for it, None where there is place."""
        key = weighty, source
        self._entries[self._next] = _Entry(key, thing)
        self._sources.setdefault(key, OrderedDict())[self._next] = None
        self._next += 1
        return self._give_way() if len(self._entries) > self._most else None

    def popleft(self) -> T:
        """Take the oldest out."""
        return self._remove(next(iter(self._entries)))

    def _give_way(self) -> T | None:
        under_way = next(iter(self._entries))
        first = self._entries[under_way].source
        sizes = {key: len(numbers) - (key == first) for key, numbers in self._sources.items()}
        candidates = [key for key, size in sizes.items() if size]
        if not candidates:
            return None
        key = min(candidates, key=lambda each: (each[0], -sizes[each]))
        return self._remove(next(number for number in self._sources[key] if number != under_way))

    def _remove(self, number: int) -> T:
        entry = self._entries.pop(number)
        numbers = self._sources[entry.source]
        del numbers[number]
        if not numbers:
            del self._sources[entry.source]
        return entry.thing
