"""The chat as this client knows it: each message once, in order, whatever was lost in between."""

from __future__ import annotations

from typing import Any

from sfu_client import events
from sfu_client.model import ChatMessage

KEPT = 1000
"""Messages; older ones are asked for."""


ChatEvent = events.ChatReceived | events.ChatUpdated


class ChatMemory:
    """`seen` is the number of the last change that is known; None before the first `joined`."""

    def __init__(self) -> None:
        self.seen: int | None = None
        self._messages: dict[int, ChatMessage] = {}

    def messages(self) -> list[ChatMessage]:
        """Oldest first."""
        return list(self._messages.values())

    def joined(self, joined: dict[str, Any]) -> list[ChatEvent]:
        """Take over a `joined`; what is new since the last one is an event, of the first one nothing is.

        Raises `KeyError`, `TypeError` or `ValueError` where it does not parse.
        """
        first, before = self.seen is None, self.seen or 0
        if joined.get("chat_after") is None and self._messages:
            # Too much was missed, or the server forgot: what is here might have holes.
            self._messages.clear()
        found = [self._take(ChatMessage.parse(item), before) for item in joined.get("chat") or ()]
        self.seen = max(self.seen or 0, int(joined.get("chat_last") or 0))
        return [] if first else [event for event in found if event is not None]

    def take(self, message: ChatMessage) -> ChatEvent | None:
        """A message as it is now: the event it is, None where that change is known."""
        return self._take(message, self.seen or 0)

    def _take(self, message: ChatMessage, before: int) -> ChatEvent | None:
        """What has an id above `before` is new."""
        known = self._messages.get(message.id)
        self.seen = max(self.seen or 0, message.rev)
        if known is not None and known.rev >= message.rev:
            return None
        self._messages[message.id] = message
        if len(self._messages) > KEPT:
            del self._messages[min(self._messages)]
        if known is None and message.id > before:
            return events.ChatReceived(message)
        return events.ChatUpdated(message)
