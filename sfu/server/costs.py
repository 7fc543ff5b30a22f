"""What each request costs: CPU time of one core, in microseconds, of which its person has an allowance.

These are prices, not measurements: what `bench/fairness.py` measured, rounded up, so that the same request
costs the same on every machine and at every hour. A request that is missing here does not start the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

READ_US = 0.02
"""For each byte that comes: it is inflated, decoded and parsed."""
SAID_US = 0.03
"""For each character that is encoded and deflated."""
SENT_US = 0.005
"""For each byte that is sent, whoever has encoded it."""
ROW_US = 4.0
"""For each row that a query reads."""
LOOKED_US = 0.5
"""For each row that a query only looks at: a search, a sum."""
TOLD_US = 10.0
"""For each participant that is told: a frame is queued, and the kernel called."""
SEEN_US = 30.0
"""For each participant that an answer describes."""
UNKNOWN_US = 50.0
"""A message that is refused before anybody knows what it asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one kind of request. What is answered, told and read from the database is paid besides, when it is.

    `each_us` is for each thing that the message lists (`listed`), `person_us` for each participant of the
    room. `always` are requests that are done also while the account is empty: they answer what the server
    itself has asked for, or they end something.
    """

    us: float
    each_us: float = 0.0
    person_us: float = 0.0
    always: bool = False

    def of(self, things: int, people: int) -> float:
        return self.us + self.each_us * things + self.person_us * people


def listed(message: Mapping[str, Any]) -> int:
    """How many things a message names: elements of its lists and objects, and the m-lines of its SDP."""
    count = sum(len(value) for value in message.values() if isinstance(value, (list, dict)))
    sdp = message.get("sdp")
    return count + (sdp.count("\nm=") if isinstance(sdp, str) else 0)


SMALL = Cost(us=200)
KEPT = Cost(us=400)
"""Written to the database as well."""
TOLD_LATER = Cost(us=400, person_us=TOLD_US)
"""Everybody is told when it is durable."""

REQUESTS: Mapping[str, Cost] = {
    # With the connection, what the database is told and asked, and the end of it all.
    "join": Cost(us=15_000, person_us=SEEN_US),
    "leave": Cost(us=200, always=True),
    "ping": Cost(us=50, always=True),
    # The list of media and the m-lines of the SDP: each counts twice.
    "offer": Cost(us=2000, each_us=100),
    "answer": Cost(us=300, each_us=100, always=True),
    "candidate": Cost(us=50, always=True),
    "restart_ice": Cost(us=1000),
    "mute": SMALL,
    "unpublish": Cost(us=300, always=True),
    "subscribe": Cost(us=200, each_us=20),
    "unsubscribe": Cost(us=200, each_us=20),
    "data_topics": Cost(us=100, each_us=5),
    "stats": Cost(us=300, person_us=SEEN_US),
    "board": Cost(us=300),
    "revoke": KEPT,
    "chat": TOLD_LATER,
    "chat_edit": TOLD_LATER,
    "chat_delete": TOLD_LATER,
    "chat_react": TOLD_LATER,
    "chat_read": KEPT,
    "chat_typing": SMALL,
    "chat_history": Cost(us=1000),
    "chat_search": Cost(us=1000),
    "set_role": KEPT,
    "set_grants": KEPT,
    "mute_participant": SMALL,
    "mute_all": Cost(us=200, person_us=TOLD_US),
    "remove": KEPT,
    "set_room": KEPT,
    "spotlight": SMALL,
    "admit": Cost(us=4000, person_us=SEEN_US),
    "deny": SMALL,
    "open_breakouts": Cost(us=500, each_us=10),
    "assign_breakout": Cost(us=400, each_us=20),
    "close_breakouts": Cost(us=400, person_us=SEEN_US),
    "broadcast": SMALL,
    "set_recording": KEPT,
    "raise_hand": KEPT,
    "lower_hand": KEPT,
    "call_on": KEPT,
    "ask": KEPT,
    "vote_question": KEPT,
    "answer_question": KEPT,
    "remove_question": KEPT,
    "open_poll": Cost(us=400, each_us=5),
    "vote_poll": Cost(us=400, each_us=5),
    "close_poll": KEPT,
    "remove_poll": KEPT,
    "react": SMALL,
    "draw": Cost(us=200, each_us=2),
    "erase": SMALL,
    "clear_board": SMALL,
    "state_set": SMALL,
    "state_delete": SMALL,
    "telemetry_declare": Cost(us=200, each_us=30),
    "telemetry": Cost(us=100, each_us=10),
    "telemetry_thresholds": KEPT,
    "alarm_acknowledge": SMALL,
}


def check(kinds: Iterable[str]) -> None:
    """Raises `AssertionError` where a kind of request has no cost, or a cost no request."""
    different = set(kinds) ^ REQUESTS.keys()
    assert not different, f"requests and costs differ: {sorted(different)}"
