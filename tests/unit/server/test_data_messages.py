from __future__ import annotations

import json
from typing import Any

import pytest

from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.server.data import ERROR_INTERVAL_US, DataLimits, DataMessage, pack, stamped, unpack

ANN, BEN = ParticipantId("PA_ann"), ParticipantId("PA_ben")


def test_a_packed_message_reads_back() -> None:
    message = unpack(pack({"topic": "t", "to": ["PA_1"], "role": "owner", "text": True}, b"hello"))
    assert message == DataMessage(
        topic="t", to=frozenset({ParticipantId("PA_1")}), role="owner", format="text", payload=b"hello"
    )


def test_defaults() -> None:
    assert unpack(b"\x00\x02{}") == DataMessage(topic="", to=None, role=None, format="binary", payload=b"")


def test_who_a_message_is_for() -> None:
    everybody, named = unpack(pack({})), unpack(pack({"to": [ANN]}))
    role, either = unpack(pack({"role": "device"})), unpack(pack({"to": [ANN], "role": "device"}))
    assert everybody.is_for(BEN, "observer")
    assert (named.is_for(ANN, "owner"), named.is_for(BEN, "owner")) == (True, False)
    assert (role.is_for(ANN, "owner"), role.is_for(BEN, "device")) == (False, True)
    assert [either.is_for(ANN, "owner"), either.is_for(BEN, "device"), either.is_for(BEN, "owner")] == [
        True, True, False,
    ]  # fmt: skip


def test_the_sender_is_the_servers_word() -> None:
    forged = unpack(pack({"from": "PA_ann", "sent_at_ms": 1, "topic": "t", "json": True}, b"{}"))
    message = stamped(forged, BEN, 77)
    length = int.from_bytes(message[:2], "big")
    assert json.loads(message[2 : 2 + length]) == {
        "topic": "t", "from": "PA_ben", "text": False, "json": True, "sent_at_ms": 77,
    }  # fmt: skip
    assert message[2 + length :] == b"{}"


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
        pack({"json": "yes"}),
        pack({"text": True, "json": True}),
        pack({"role": "king"}),
        pack({"role": ["owner"]}),
        pack({"topic": "x" * 129}),
    ],
)
def test_garbage_is_a_bad_request(message: bytes) -> None:
    with pytest.raises(RequestError, match="bad_request"):
        unpack(message)


def limited(**chosen: Any) -> DataLimits:
    return DataLimits(LimitsConfig(**chosen), 0)


def refused(limits: DataLimits, size: int, *, allowed: bool = True, now_us: int = 0) -> str | None:
    try:
        limits.check(size, allowed=allowed, now_us=now_us)
    except RequestError as error:
        return error.code
    return None


def test_right_size_and_rate() -> None:
    limits = limited(data_bytes=1000, data_bytes_per_s=2000)
    assert refused(limits, 10, allowed=False) == "not_allowed"
    assert refused(limits, 1001) == "too_large"
    assert [refused(limits, 1000) for _ in range(3)] == [None, None, "rate_limited"]
    assert refused(limits, 1000, now_us=500_000) is None


def test_a_message_larger_than_a_second_is_worth_still_passes() -> None:
    assert refused(limited(data_bytes=1000, data_bytes_per_s=10), 1000) is None


def test_small_messages_are_counted_too() -> None:
    limits = limited(data_messages_per_s=2)
    assert [refused(limits, 1) for _ in range(3)] == [None, None, "rate_limited"]
    assert refused(limits, 1, now_us=500_000) is None


def test_errors_are_told_once_a_second() -> None:
    limits = limited()
    times = (0, 1, ERROR_INTERVAL_US - 1, ERROR_INTERVAL_US, ERROR_INTERVAL_US + 1)
    assert [limits.refuse(at) for at in times] == [1, 0, 0, 3, 0]
    assert limits.refused == 5
