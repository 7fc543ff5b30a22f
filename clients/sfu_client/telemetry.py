"""Telemetry: what this client measures, and what others do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sfu_client.errors import ClientError
from sfu_client.signalling import Message

BATCH = 500
"""Samples in one message, the server's limit."""

Request = Callable[..., Awaitable[Message]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A measured quantity. Below `low` or above `high` is an alarm, until it is `hysteresis` inside."""

    name: str
    title: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    hysteresis: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """`at_ms` is when it was measured, Unix milliseconds, on the clock that times pictures and sound too."""

    series: str
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """`state` is `raised`, `cleared` or `acknowledged`, `side` `low` or `high`."""

    participant_id: str
    series: str
    unit: str
    state: str
    side: str
    limit: float
    value: float
    at_ms: int

    @classmethod
    def parse(cls, message: Message) -> Alarm:
        """Raises `KeyError`, `TypeError` or `ValueError` where it does not parse."""
        return cls(
            participant_id=str(message["participant"]),
            series=str(message["series"]),
            unit=str(message["unit"]),
            state=str(message["state"]),
            side=str(message["side"]),
            limit=float(message["limit"]),
            value=float(message["value"]),
            at_ms=int(message["at_ms"]),
        )


def now_ms() -> int:
    """This moment as samples have it."""
    return time.time_ns() // 1_000_000


class Telemetry:
    """Of one room. What was declared is declared again where the client had to join anew."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._declared: dict[str, Series] = {}

    async def declare(self, *series: Series) -> None:
        """Say what will be sent. Raises `RefusedError`, `UnavailableError`."""
        await self._request("telemetry_declare", series=[asdict(each) for each in series])
        self._declared |= {each.name: each for each in series}

    async def send(self, values: Mapping[str, float], *, at_ms: int | None = None) -> None:
        """Send one value of each of some series, measured now or at `at_ms` (Unix milliseconds).

        Raises `RefusedError`, `UnavailableError`.
        """
        moment = now_ms() if at_ms is None else at_ms
        await self.send_samples(Sample(name, moment, value) for name, value in values.items())

    async def send_samples(self, samples: Iterable[Sample]) -> None:
        """Send samples of any times, for example those of a time without connection.

        Raises `RefusedError`, `UnavailableError`; some of them may have been taken then.
        """
        rows: list[Any] = [[each.series, each.at_ms, each.value] for each in samples]
        for first in range(0, len(rows), BATCH):
            await self._request("telemetry", samples=rows[first : first + BATCH])

    async def rejoined(self) -> None:
        """Called by the room: this client is a new participant, of whom nothing is known."""
        try:
            if self._declared:
                await self.declare(*self._declared.values())
        except ClientError:
            # Away again, or refused: `send` will say so.
            return
