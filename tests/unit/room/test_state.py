"""The shared state: versions, limits, rights, and the judge."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import acts, commands
from sfu.room.effects import Announce, Welcome
from sfu.room.model import Instant, Limits, SessionKey, StateLimits
from sfu.room.permissions import GrantChanges
from sfu.room.registry import Rooms
from sfu.room.state import (
    MAX_DEPTH,
    Accept,
    Change,
    Entry,
    Refuse,
    Replace,
    StateDocument,
    StatePatched,
    Verdict,
    encoded_bytes,
)

NOW = Instant(0, 1_767_225_600_000)
SMALL = StateLimits(keys=3, value_bytes=40, total_bytes=60)


class Play:
    """One room; each call is a command."""

    def __init__(self, limits: StateLimits = SMALL) -> None:
        self.rooms = Rooms(Limits(state=limits, empty_us=10), random.Random(1))
        self._sessions = 0

    def join(self, name: str, room: str = "r", **members: Any) -> ParticipantId:
        return self.welcome(name, room, **members).participant.id

    def welcome(self, name: str, room: str = "r", **members: Any) -> Welcome:
        self._sessions += 1
        session = SessionKey(self._sessions)
        done = self.rooms.apply(
            commands.Join(session=session, room=RoomName(room), name=name, identity=name, **members), NOW
        )
        return next(effect for effect in done if isinstance(effect, Welcome))

    def change(self, who: ParticipantId, key: str, **members: Any) -> StatePatched:
        wanted = acts.ChangeState(participant=who, key=key, **members)
        (announced,) = self.rooms.apply(wanted, NOW)
        assert isinstance(announced, Announce)
        assert isinstance(announced.event, StatePatched)
        room = self.rooms.room_of(who)
        assert room is not None
        assert announced.to == tuple(room.participants)
        return announced.event

    def refusal(self, who: ParticipantId, key: str, **members: Any) -> RequestError:
        before = self.entries(who)
        with pytest.raises(RequestError) as caught:
            self.change(who, key, **members)
        assert self.entries(who) == before
        return caught.value

    def entries(self, who: ParticipantId) -> dict[str, tuple[Any, int]]:
        room = self.rooms.room_of(who)
        assert room is not None
        return {key: (entry.value, entry.version) for key, entry in room.state.entries.items()}


def test_every_change_gets_the_next_version_and_late_joiners_all_of_it() -> None:
    play = Play()
    ann = play.join("ann")
    assert play.change(ann, "a", value=1) == StatePatched(ann, "a", Entry(1, 1), 1)
    assert play.change(ann, "b", value=[None]).version == 2
    assert play.change(ann, "a", deleted=True) == StatePatched(ann, "a", None, 3)
    assert play.change(ann, "a", value=2).version == 4
    view = play.welcome("ben").state
    assert (view.version, dict(view.entries)) == (4, {"b": Entry([None], 2), "a": Entry(2, 4)})


def test_compare_and_set() -> None:
    play = Play()
    ann = play.join("ann")
    play.change(ann, "a", value=1, if_version=0)
    error = play.refusal(ann, "a", value=2, if_version=0)
    assert (error.code, error.details) == ("conflict", {"version": 1, "value": 1})
    assert play.change(ann, "a", value=2, if_version=1).version == 2
    assert play.refusal(ann, "a", deleted=True, if_version=1).code == "conflict"
    play.change(ann, "a", deleted=True, if_version=2)
    gone = play.refusal(ann, "a", value=3, if_version=2)
    assert (gone.code, gone.details) == ("conflict", {"version": 0})
    assert play.refusal(ann, "a", deleted=True).code == "not_found"


def test_limits_of_keys_and_bytes() -> None:
    play = Play()
    ann = play.join("ann")
    assert play.refusal(ann, "a", value="x" * 38).code == "too_large"
    play.change(ann, "a", value="x" * 37)
    assert play.refusal(ann, "b", value="x" * 18).code == "too_large"
    play.change(ann, "b", value="x" * 17)
    play.change(ann, "b", value="y" * 17)
    play.change(ann, "a", value=0)
    play.change(ann, "c", value=0)
    assert play.refusal(ann, "d", value=0).code == "too_large"
    play.change(ann, "c", deleted=True)
    play.change(ann, "d", value=0)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(float("inf"), float("nan"), "\ud800", {"\ud800": 1}, nested(MAX_DEPTH)),
        *(2**53, {"a": [-(2**53)]}, 10**4000),
    ],
)
def test_what_would_break_other_clients_is_refused(value: Any) -> None:
    play = Play(StateLimits())
    assert play.refusal(play.join("ann"), "a", value=value).code == "bad_request"


def test_the_deepest_value_passes() -> None:
    play = Play(StateLimits())
    play.change(play.join("ann"), "a", value=nested(MAX_DEPTH - 1))
    play.change(play.join("ann"), "b", value=[2**53 - 1, 1e300])


def test_the_data_grant_and_hidden_people() -> None:
    play = Play()
    ann = play.join("ann")
    play.change(ann, "a", value=1)
    ben = play.join("ben", grants=GrantChanges(data=False))
    eve = play.join("eve", grants=GrantChanges(hidden=True))
    for who in (ben, eve):
        assert play.refusal(who, "a", value=2).code == "not_allowed"
        assert play.refusal(who, "a", deleted=True).code == "not_allowed"


def test_rooms_are_apart_and_the_state_ends_with_its_room() -> None:
    play = Play()
    ann = play.join("ann")
    play.change(ann, "a", value=1)
    assert play.welcome("ben", "other").state.entries == {}
    play.rooms.apply(commands.Leave(ann, "left"), NOW)
    play.rooms.tick(replace(NOW, us=10))
    assert play.welcome("cid").state.version == 0


def test_a_judge_accepts_refuses_and_replaces() -> None:
    play = Play()
    asked: list[Change] = []

    def judge(change: Change, entries: Mapping[str, Entry]) -> Verdict:
        asked.append(change)
        if change.key == "closed":
            return Refuse("illegal_move", "not now")
        if change.key == "sum":
            return Replace(entries["sum"].value + 1 if "sum" in entries else 1)
        return Accept()

    ann = play.join("ann")
    play.rooms.judge = judge
    assert play.change(ann, "free", value=5).entry == Entry(5, 1)
    assert play.refusal(ann, "closed", value=5).code == "illegal_move"
    assert play.change(ann, "sum", value=100).entry == Entry(1, 2)
    assert play.change(ann, "sum", deleted=True).entry == Entry(2, 3)
    assert (asked[0].room, asked[0].by.identity, asked[0].value, asked[0].at_ms) == (
        "r",
        "ann",
        5,
        NOW.wall_ms,
    )
    assert asked[-1].deleted
    assert play.refusal(ann, "free", value=6, if_version=9).code == "conflict"
    assert len(asked) == 4


@pytest.mark.parametrize("verdict", [None, ZeroDivisionError()])
def test_a_judge_that_fails_harms_nobody(verdict: Any, caplog: pytest.LogCaptureFixture) -> None:
    def judge(change: Change, entries: Mapping[str, Entry]) -> Any:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    play = Play()
    ann = play.join("ann")
    play.rooms.judge = judge
    assert play.refusal(ann, "a", value=1).code == "judge_failed"
    assert "judge of the shared state failed" in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.tuples(json_values)), max_size=30))
def test_the_document_follows_a_dictionary_and_keeps_its_limits(changes: list[Any]) -> None:
    limits = StateLimits(keys=3, value_bytes=60, total_bytes=100)
    document, model, last = StateDocument(limits), dict[str, Any](), 0
    for key, wanted in changes:
        with contextlib.suppress(RequestError):
            version = document.delete(key) if wanted is None else document.set(key, wanted[0]).version
            model = {each: value for each, value in model.items() if each != key}
            model |= {} if wanted is None else {key: wanted[0]}
            assert version == last + 1
            last = version
        assert {each: entry.value for each, entry in document.entries.items()} == model
        assert len(model) <= limits.keys
        size = sum(len(each.encode()) + encoded_bytes(value) for each, value in model.items())
        assert size <= limits.total_bytes
        json.loads(json.dumps(model, allow_nan=False)).keys()
