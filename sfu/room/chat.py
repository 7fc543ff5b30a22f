"""A room's chat: ids that increase by one, and a bounded history for late joiners."""

from __future__ import annotations

from collections import deque

from sfu.ids import ParticipantId
from sfu.room.model import ChatMessage


class ChatLog:
    """Private messages take an id but are not kept: a late joiner was never meant to read them."""

    def __init__(self, capacity: int) -> None:
        self._kept: deque[ChatMessage] = deque(maxlen=max(capacity, 0))
        self._next_id = 1

    def add(
        self, sender: ParticipantId, name: str, text: str, to: ParticipantId | None, sent_at_ms: int
    ) -> ChatMessage:
        message = ChatMessage(
            id=self._next_id, sender=sender, name=name, text=text, to=to, sent_at_ms=sent_at_ms
        )
        self._next_id += 1
        if to is None:
            self._kept.append(message)
        return message

    def recent(self) -> tuple[ChatMessage, ...]:
        """The kept messages, oldest first."""
        return tuple(self._kept)
