"""What is older than it may be kept leaves the rooms that are open."""

from __future__ import annotations

from sfu.room.class_events import PollRemoved, QuestionRemoved
from sfu.room.effects import Effect
from sfu.room.room import Room


def expire(room: Room, before_ms: int) -> list[Effect]:
    """Forget messages, questions and polls from before `before_ms`; the store has done so already.

    Pages keep the messages that they show; whoever joins gets none of them.
    """
    room.chat.log.expire(before_ms)
    told: list[Effect] = []
    for question in room.questions.expire(before_ms):
        told += room.tell(QuestionRemoved(question))
    for poll in room.polls.expire(before_ms):
        told += room.tell(PollRemoved(poll))
    return told
