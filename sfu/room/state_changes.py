"""How participants change the shared state: rights, versions, then the judge."""

from __future__ import annotations

import logging

from sfu.errors import RequestError
from sfu.room import acts
from sfu.room.effects import Effect
from sfu.room.model import Instant, Participant
from sfu.room.room import Room
from sfu.room.state import (
    Accept,
    Change,
    Judge,
    Refuse,
    Replace,
    StateDocument,
    StatePatched,
    Verdict,
    encoded_bytes,
)

log = logging.getLogger(__name__)


def change_state(
    room: Room, member: Participant, wanted: acts.ChangeState, judge: Judge, now: Instant
) -> list[Effect]:
    """Make the change that the judge allows, and tell everybody. Raises `RequestError`, unchanged then.

    Codes: `not_allowed`, `conflict` (with the present `version` and `value`), `not_found`, `too_large`,
    `bad_request`, `judge_failed`, and whatever the judge refuses with.
    """
    if not member.grants.may_send_data:
        raise RequestError("not_allowed", "no right to send data, so none to change the state")
    state = room.state
    state.expect(wanted.key, wanted.if_version, tell=member.grants.follows)
    if wanted.deleted and wanted.key not in state.entries:
        raise RequestError("not_found", f"no key {wanted.key}")
    encoded_bytes(wanted.value)
    change = Change(
        room=room.name,
        by=member.view(),
        key=wanted.key,
        value=wanted.value,
        deleted=wanted.deleted,
        at_ms=now.wall_ms,
    )
    verdict = _asked(judge, change, state)
    if isinstance(verdict, Refuse):
        raise RequestError(verdict.code, verdict.message)
    if isinstance(verdict, Accept) and wanted.deleted:
        return room.tell(StatePatched(member.id, wanted.key, None, state.delete(wanted.key)), member.id)
    entry = state.set(wanted.key, verdict.value if isinstance(verdict, Replace) else wanted.value)
    return room.tell(StatePatched(member.id, wanted.key, entry, entry.version), member.id)


def _asked(judge: Judge, change: Change, state: StateDocument) -> Verdict:
    try:
        verdict = judge(change, state.view().entries)
        if isinstance(verdict, Verdict):
            return verdict
        raise TypeError(f"a verdict is Accept, Refuse or Replace, not {type(verdict).__name__}")
    except Exception:
        log.exception("the judge of the shared state failed", extra={"room": change.room})
        raise RequestError("judge_failed", "the server's rules could not decide") from None
