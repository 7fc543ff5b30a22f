"""Who records: a room is told when somebody begins to, and sees it for as long as it goes on."""

from __future__ import annotations

from sfu.errors import RequestError
from sfu.room import acts
from sfu.room.class_events import RecordingChanged
from sfu.room.effects import Effect
from sfu.room.model import Participant
from sfu.room.room import Room


def set_recording(room: Room, member: Participant, wanted: acts.SetRecording) -> list[Effect]:
    """Raises `RequestError` `not_allowed` without the right to record."""
    if wanted.on and not member.grants.record:
        raise RequestError("not_allowed", "no right to record")
    if wanted.on == (member.id in room.recording):
        return []
    if not wanted.on:
        return room.stop_recording(member)
    room.recording[member.id] = None
    return room.tell_everybody(RecordingChanged(member.id, True))
