from __future__ import annotations

import pytest

from sfu.errors import RequestError
from sfu.server.data import ERROR_INTERVAL_US, DataLimits, pack, unpack


def test_a_packed_message_reads_back() -> None:
    message = unpack(pack({"topic": "t", "to": ["PA_1"], "text": True}, b"hello"))
    assert (message.topic, message.to, message.text, message.payload) == ("t", {"PA_1"}, True, b"hello")


def test_defaults() -> None:
    message = unpack(b"\x00\x02{}")
    assert (message.topic, message.to, message.text, message.payload) == ("", None, False, b"")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x05{}",
        b"\x00\x02[]",
        b"\x00\x01\xff",
        b"\xff\xff{}",
        pack({"topic": 1}),
        pack({"to": "PA_1"}),
        pack({"to": []}),
        pack({"text": 1}),
        pack({"topic": "x" * 129}),
    ],
)
def test_garbage_is_a_bad_request(message: bytes) -> None:
    with pytest.raises(RequestError, match="bad_request"):
        unpack(message)


def refused(limits: DataLimits, size: int, *, allowed: bool = True, now_us: int = 0) -> str | None:
    try:
        limits.check(size, allowed=allowed, now_us=now_us)
    except RequestError as error:
        return error.code
    return None


def test_right_size_and_rate() -> None:
    limits = DataLimits(1000, 2000, 0)
    assert refused(limits, 10, allowed=False) == "not_allowed"
    assert refused(limits, 1001) == "too_large"
    assert [refused(limits, 1000) for _ in range(3)] == [None, None, "rate_limited"]
    assert refused(limits, 1000, now_us=500_000) is None


def test_a_message_larger_than_a_second_is_worth_still_passes() -> None:
    assert refused(DataLimits(1000, 10, 0), 1000) is None


def test_errors_are_told_once_a_second() -> None:
    limits = DataLimits(1000, 2000, 0)
    times = (0, 1, ERROR_INTERVAL_US - 1, ERROR_INTERVAL_US, ERROR_INTERVAL_US + 1)
    assert [limits.error_due(at) for at in times] == [True, False, False, True, False]
