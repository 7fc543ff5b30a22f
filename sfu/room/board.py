"""The whiteboard: vector strokes as bounded data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sfu.errors import RequestError

MAX_STROKES = 4000
MAX_POINTS = 60_000
"""On one board: half a megabyte as JSON, far below what a session may have queued."""
MAX_STROKE_POINTS = 2000
SIZE = 10_000
"""Coordinates are 0 to this in both directions, on a board of 16:9."""

Point = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """`id` is its author's choice, unique on the board; `width` in units of `SIZE`.

    `number` is its place in the order of drawing, which the board gives it.
    """

    id: str
    author: str
    color: str
    width: int
    points: tuple[Point, ...]
    number: int = 0


class Board:
    """Strokes in the order of drawing; `author` is an identity."""

    def __init__(self, strokes: Iterable[Stroke] = ()) -> None:
        self._strokes = {stroke.id: stroke for stroke in strokes}
        self._points = sum(len(stroke.points) for stroke in self._strokes.values())
        self.revision = 0
        """Grows with each change."""
        self._next = 1 + max((stroke.number for stroke in self._strokes.values()), default=0)

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        return tuple(self._strokes.values())

    def draw(self, stroke: Stroke) -> Stroke:
        """Add a stroke, or go on with one's own of that id; returns the whole of it.

        Raises `RequestError` `not_allowed` for another's, `too_large` when the board or the stroke is full.
        """
        before = self._strokes.get(stroke.id)
        if before is not None and before.author != stroke.author:
            raise RequestError("not_allowed", "somebody else's stroke")
        length = len(stroke.points) + (len(before.points) if before else 0)
        if length > MAX_STROKE_POINTS:
            raise RequestError("too_large", f"a stroke has at most {MAX_STROKE_POINTS} points")
        full = self._points + len(stroke.points) > MAX_POINTS
        if full or (before is None and len(self._strokes) >= MAX_STROKES):
            raise RequestError("too_large", "the board is full")
        if before is None:
            whole = replace(stroke, number=self._next)
            self._next += 1
        else:
            whole = replace(before, points=before.points + stroke.points)
        self._strokes[stroke.id] = whole
        self.revision += 1
        self._points += len(stroke.points)
        return whole

    def author(self, stroke: str) -> str:
        """The identity of who drew a stroke. Raises `RequestError` `not_found`."""
        found = self._strokes.get(stroke)
        if found is None:
            raise RequestError("not_found", "no such stroke")
        return found.author

    def erase(self, stroke: str, author: str | None) -> None:
        """Take a stroke away, one's own only where `author` is given. Raises `RequestError`."""
        if self.author(stroke) != author and author is not None:
            raise RequestError("not_allowed", "somebody else's stroke")
        self._points -= len(self._strokes.pop(stroke).points)
        self.revision += 1

    def clear(self) -> None:
        self._strokes.clear()
        self.revision += 1
        self._points = 0
