"""Telemetry: what this client measures, and what others do."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice

from sfu_client.errors import ClientError, RefusedError
from sfu_client.signalling import Message

BATCH = 500
"""Samples in one message, the server's limit."""
KEPT = 100_000
"""Samples that wait for the server; past that the oldest are dropped."""
RETRY_S = 1.0
"""Where the server does not say when there is place for more."""

Request = Callable[..., Awaitable[Message]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A measured quantity. Below `low` or above `high` is an alarm, until it is `hysteresis` inside again.

    No value for `silent_s` seconds (1 to 86,400) is one too; None: silence is none.
    """

    name: str
    title: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    hysteresis: float = 0.0
    silent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """`at_ms` is when it was measured, Unix milliseconds, on the clock that times pictures and sound too."""

    series: str
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """`state` is `raised`, `acknowledged`, `cleared` or `ended` (its device is gone: `reason`).

    `side` is `low`, `high` or `silent`, whose `limit` is seconds; `value` is None where none has come yet.
    """

    participant_id: str
    series: str
    unit: str
    state: str
    side: str
    limit: float
    value: float | None
    at_ms: int
    reason: str = ""

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
            value=None if message["value"] is None else float(message["value"]),
            at_ms=int(message["at_ms"]),
            reason=str(message.get("reason") or ""),
        )


def now_ms() -> int:
    """This moment as samples have it."""
    return time.time_ns() // 1_000_000


class Telemetry:
    """Of one room. What was declared is declared again where the client had to join anew.

    Samples are kept until the server has them: over its rate they wait, and what a lost connection left goes
    first when the client is back. What it has already is not stored twice.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._declared: dict[str, Series] = {}
        self._kept: deque[tuple[str, int, float]] = deque(maxlen=KEPT)
        self._turn = asyncio.Lock()

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

        Waits where they are more than the server takes. Raises `UnavailableError`, and sends them when the
        client is back; `RefusedError`, and gives up those of one message, at most 500.
        """
        self._kept.extend((each.series, each.at_ms, each.value) for each in samples)
        await self._send_kept()

    async def set_thresholds(
        self, participant_id: str, series: str, *, low: float | None, high: float | None
    ) -> None:
        """Say where the alarms of another's series are, None: nowhere. Needs the right `moderate`.

        It stays when its device declares again, or comes back. Raises `RefusedError`, `UnavailableError`.
        """
        target = {"participant": participant_id, "series": series}
        await self._request("telemetry_thresholds", **target, low=low, high=high)

    async def acknowledge(self, participant_id: str, series: str) -> None:
        """Say that an alarm was seen. Needs the right `moderate`. Raises as `set_thresholds` does."""
        await self._request("alarm_acknowledge", participant=participant_id, series=series)

    @property
    def waiting(self) -> int:
        """Samples that the server has not confirmed."""
        return len(self._kept)

    async def _send_kept(self) -> None:
        async with self._turn:
            while self._kept:
                rows = list(islice(self._kept, BATCH))
                try:
                    await self._request("telemetry", samples=rows)
                except RefusedError as error:
                    if error.code == "rate_limited":
                        await asyncio.sleep(_retry_s(error))
                        continue
                    self._drop(rows)
                    raise
                self._drop(rows)

    def _drop(self, rows: list[tuple[str, int, float]]) -> None:
        """Of the oldest: some may have been pushed out meanwhile."""
        for row in rows:
            if self._kept and self._kept[0] is row:
                self._kept.popleft()

    async def back(self, *, resumed: bool) -> None:
        """Called by the room: there is a connection again. A new participant has declared nothing."""
        try:
            if self._declared and not resumed:
                await self.declare(*self._declared.values())
            await self._send_kept()
        except ClientError:
            # Away again, or refused: `send` will say so.
            return


def _retry_s(error: RefusedError) -> float:
    after_ms = error.details.get("retry_after_ms")
    return after_ms / 1000 if isinstance(after_ms, (int, float)) and after_ms > 0 else RETRY_S
