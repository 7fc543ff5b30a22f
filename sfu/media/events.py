"""Events that wait for policy's next poll, bounded whatever peers do meanwhile.

A viewer may ask for a keyframe, and a publisher begin anew, as often as it likes, and every event costs
policy time that others need. Policy acts on what is so, not on how often it was said: of what can happen
again, only the last time waits. A transport's reports differ, so there may be some of them: nobody's take the
place of another's.
"""

from __future__ import annotations

from collections.abc import Hashable

from sfu.ids import TransportKey
from sfu.media.plane import (
    Arrivals,
    CurrentLayerChanged,
    EncodingStarted,
    EncodingStopped,
    PlaneCounters,
    PlaneEvent,
    RembReceived,
    TransportFeedback,
)

MOST_REPORTS = 8
"""Of one transport at one poll: those of 0.4 s, should policy be held up for so long."""


class EventQueue:
    """See the module's text."""

    def __init__(self, counters: PlaneCounters) -> None:
        """`counters` are told of reports that are too many."""
        self._counters = counters
        self._waiting: dict[Hashable, PlaneEvent] = {}
        self._reports: dict[TransportKey, int] = {}

    def tell(self, event: PlaneEvent) -> None:
        """Put it last, in place of one that says the same."""
        waiting = self._waiting
        key: Hashable
        match event:
            case EncodingStarted() | EncodingStopped():
                key = type(event), event.publication, event.rid
            case CurrentLayerChanged():
                key = type(event), event.subscription
            case RembReceived():
                key = type(event), event.transport, event.subscriptions
            case TransportFeedback() | Arrivals():
                key = type(event), event.transport, self._reports.get(event.transport, 0)
            case _:
                key = event
        if waiting.pop(key, None) is None and isinstance(event, RembReceived | TransportFeedback | Arrivals):
            reports = self._reports.get(event.transport, 0)
            if reports == MOST_REPORTS:
                self._counters.drop("event-queue-full")
                return
            self._reports[event.transport] = reports + 1
        waiting[key] = event

    def take(self) -> list[PlaneEvent]:
        """All of them, in the order in which each was last told."""
        events = list(self._waiting.values())
        self._waiting.clear()
        self._reports.clear()
        return events
