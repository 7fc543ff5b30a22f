"""A day's share of what is kept: of a person, of an address without keys, of a room."""

from __future__ import annotations

from typing import get_args

import pytest

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import acts
from sfu.server import quotas
from sfu.server.quotas import DAY_S, ROW_BYTES, Quotas

LIMITS = LimitsConfig(
    stored_bytes_per_day=1000,
    room_stored_bytes_per_day=2500,
    address_stored_bytes_per_day=1500,
    address_file_bytes_per_day=100,
    joins_per_day=3,
)
ROOM = RoomName("r")
HERE, THERE = "192.0.2.1", "198.51.100.1"


@pytest.fixture(autouse=True)
def now_us(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time; a test moves it on."""
    now = [1_000_000]
    monkeypatch.setattr(clock, "now_us", lambda: now[0])
    return now


def refused(quota: Quotas, identity: str, size: int, *, address: str = HERE, room: str = "r") -> bool:
    try:
        quota.store(quota.payer(identity, address), RoomName(room), size)
    except RequestError as error:
        return error.code == "quota_exceeded"
    return False


def test_a_share_is_a_persons_and_comes_back_over_the_day(now_us: list[int]) -> None:
    quota = Quotas(LIMITS, guarded=True)
    assert not refused(quota, "eve", 900)
    assert refused(quota, "eve", 200)
    # Another name, address or room makes nobody another person.
    assert refused(quota, "eve", 200, address=THERE, room="other")
    assert not refused(quota, "ann", 200)
    with pytest.raises(RequestError) as error:
        quota.store(quota.payer("eve", HERE), ROOM, 200)
    assert error.value.details == {"retry_after_ms": DAY_S * 1000 // 10}
    now_us[0] += DAY_S * 1_000_000 // 10
    assert not refused(quota, "eve", 200)
    assert quota.refused == 3


def test_a_room_has_a_share_too_and_a_refusal_costs_nobody_anything() -> None:
    quota = Quotas(LIMITS, guarded=True)
    assert not any(refused(quota, each, 1000) for each in ("a", "b"))
    assert refused(quota, "c", 501)
    assert not refused(quota, "c", 500)
    assert not refused(quota, "c", 500, room="other")


def test_without_keys_who_joins_anew_has_the_share_of_the_address() -> None:
    quota = Quotas(LIMITS, guarded=False)
    assert not refused(quota, "guest 1", 1000)
    assert not refused(quota, "guest 2", 500)
    assert refused(quota, "guest 3", 1)
    assert not refused(quota, "guest 4", 1, address=THERE)


def test_joins_are_counted_and_only_those_that_succeed() -> None:
    for guarded, same, other in (
        (True, ("eve", THERE), ("ann", HERE)),
        (False, ("another guest", HERE), ("eve", THERE)),
    ):
        quota = Quotas(LIMITS, guarded=guarded)
        for _ in range(3):
            quota.check_join(quota.payer("eve", HERE))
            quota.check_join(quota.payer("eve", HERE))
            quota.joined(quota.payer("eve", HERE))
        with pytest.raises(RequestError, match="quota_exceeded"):
            quota.check_join(quota.payer(*same))
        quota.check_join(quota.payer(*other))


def test_an_address_without_keys_has_a_share_of_files() -> None:
    quota = Quotas(LIMITS, guarded=False)
    quota.file_came(quota.payer("guest 1", HERE), 60)
    with pytest.raises(RequestError, match="quota_exceeded"):
        quota.check_file(quota.payer("guest 2", HERE), 41)
    quota.file_came(quota.payer("guest 2", HERE), 40)
    quota.file_came(quota.payer("guest 3", THERE), 100)
    known = Quotas(LIMITS, guarded=True)
    # Whose identity is known has a place of its own, which is counted in the database.
    known.file_came(known.payer("ann", HERE), 1000)


def test_few_shares_are_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_KNOWN", 2)
    quota = Quotas(LIMITS, guarded=True)
    for identity in ("eve", "ann", "eve", "ben", "cat"):
        refused(quota, identity, 600, room=identity)
    assert set(quota._people._known) == {"ben", "cat"}


def test_every_act_costs_unless_it_keeps_nothing() -> None:
    """Whoever adds an act decides here what it makes the server keep."""
    every = {kind for union in get_args(acts.Act) for kind in (get_args(union) or (union,))}
    assert every - set(get_args(quotas._IN_PLACE)) == {
        acts.AcknowledgeAlarm,
        acts.Admit,
        acts.AnswerQuestion,
        acts.AskQuestion,
        acts.AssignBreakout,
        acts.Broadcast,
        acts.CloseBreakouts,
        acts.Deny,
        acts.MuteOthers,
        acts.OpenBreakouts,
        acts.OpenPoll,
        acts.Remove,
        acts.SetGrants,
        acts.SetRecording,
        acts.SetRole,
        acts.SetRoom,
        acts.SetSpotlight,
        acts.SetThresholds,
    }
    eve = ParticipantId("PA_eve")
    assert quotas.cost(acts.React(eve, "x")) == 0
    assert quotas.cost(acts.AskQuestion(eve, "é" * 100)) > ROW_BYTES + 200
    assert quotas.cost(acts.OpenPoll(eve, "?", ("o" * 200, "p" * 200), multiple=False)) > ROW_BYTES + 400
