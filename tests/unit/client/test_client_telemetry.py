"""Samples wait in the client until the server has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sfu_client import telemetry
from sfu_client.errors import RefusedError, UnavailableError
from sfu_client.telemetry import BATCH, Sample, Series, Telemetry


class Server:
    """Answers what `answers` say, in turn, then yes."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.taken: list[int] = []

    async def __call__(self, kind: str, **members: Any) -> dict[str, Any]:
        self.asked.append(kind)
        if kind == "telemetry":
            if self.answers:
                raise self.answers.pop(0)
            assert len(members["samples"]) <= BATCH
            self.taken += [at_ms for _, at_ms, _ in members["samples"]]
        return {"type": "ok"}


def some(first: int, count: int) -> list[Sample]:
    return [Sample("pulse", at_ms, 70) for at_ms in range(first, first + count)]


async def test_over_the_rate_it_waits_as_long_as_it_is_told() -> None:
    server = Server(RefusedError("rate_limited", "", {"retry_after_ms": 30}))
    started = asyncio.get_running_loop().time()
    await Telemetry(server).send_samples(some(0, 1100))
    assert asyncio.get_running_loop().time() - started >= 0.03
    assert server.taken == list(range(1100))


async def test_what_a_lost_connection_left_goes_first_when_it_is_back() -> None:
    server = Server(UnavailableError("lost"), UnavailableError("still"))
    kept = Telemetry(server)
    await kept.declare(Series(name="pulse"))
    for first in (0, 1):
        with pytest.raises(UnavailableError):
            await kept.send_samples(some(first, 1))
    assert kept.waiting == 2
    await kept.back(resumed=False)
    assert server.asked[-2:] == ["telemetry_declare", "telemetry"]
    await kept.send_samples(some(2, 1))
    assert (server.taken, kept.waiting) == ([0, 1, 2], 0)


async def test_what_is_refused_for_good_is_in_nobodys_way() -> None:
    server = Server(RefusedError("not_found", "not declared"))
    kept = Telemetry(server)
    with pytest.raises(RefusedError):
        await kept.send_samples(some(0, 3))
    await kept.send_samples(some(3, 1))
    assert server.taken == [3]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "KEPT", 10)
    server = Server(UnavailableError("lost"))
    kept = Telemetry(server)
    with pytest.raises(UnavailableError):
        await kept.send_samples(some(0, 25))
    await kept.back(resumed=True)
    assert server.taken == list(range(15, 25))


async def test_alarms_are_read_whatever_their_side() -> None:
    alarm = {
        "participant": "PA_cam", "series": "pulse", "title": "Pulse", "unit": "1/min", "state": "ended",
        "side": "silent", "limit": 10, "value": None, "at_ms": 5, "by": None, "reason": "timeout",
    }  # fmt: skip
    read = telemetry.Alarm.parse(alarm)
    assert (read.side, read.value, read.reason) == ("silent", None, "timeout")
    assert telemetry.Alarm.parse({**alarm, "value": 70, "reason": None}).value == 70
