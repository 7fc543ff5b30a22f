"""A room's chat: who may say, change and read what, and what those who were away have missed.

One counter numbers every change: a new message takes the next number as its `id`, and each change of a
message the next one as its `rev`. A change is first pending, then, when it has been stored, known: only then
is it told, to whoever is in the room at that moment. Spec: docs/protocol.md, "Chat".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import commands, effects, rank, visibility
from sfu.room.effects import Announce, ChatToStore, Effect
from sfu.room.model import ChatChange, ChatHistory, ChatMessage, ChatNews, Instant, Participant

MAX_MENTIONS = 50
MAX_EMOJI = 20
"""Different emoji on one message: a row of them that a page can show."""
MAX_REACTIONS = 500
"""Reactions to one message in all: they travel with it."""
MAX_NEWS = 100_000
"""Characters of messages that who joins is given: a few hundred kilobytes, told to everybody who comes."""
SEEN_BY_PEOPLE = 20
"""In larger rooms nobody looks who has read what, and telling everybody of everybody costs too much."""
TYPING_EVERY_US = 2_000_000
"""Others are told of typing at most this often: they show it for longer."""


class ChatLog:
    """The changes that are stored and recent, and those on their way; everything else is in the store."""

    def __init__(self, capacity: int, history: ChatHistory) -> None:
        self._capacity = capacity
        self._last = history.last
        self._known: OrderedDict[int, ChatMessage] = OrderedDict()
        self._pending: dict[int, ChatMessage] = {}
        self._stored = history.last
        self._expired_ms = 0
        # What changed up to this number may be missing here.
        self._floor = 0 if history.complete else history.last
        if history.messages and not history.complete:
            self._floor = history.messages[0].rev - 1
        for message in history.messages:
            self._keep(message)

    def next_number(self) -> int:
        self._last += 1
        return self._last

    def begin(self, message: ChatMessage) -> None:
        """The message is on its way to the store."""
        self._pending[message.id] = message

    def end(self, message: ChatMessage, *, stored: bool) -> None:
        """It has arrived there, or been lost."""
        if self._pending.get(message.id) == message:
            del self._pending[message.id]
        if stored:
            self._stored = max(self._stored, message.rev)
            self._keep(message)

    def find(self, message: int) -> ChatMessage | None:
        """The message as its last change leaves it, None where only the store may know it."""
        return self._pending.get(message) or self._known.get(message)

    def news(self, identity: str, after: int | None) -> ChatNews:
        """What `identity` may read of the changes after `after`, or of the newest where those are not known.

        In the order of ids; the newest as well where the changes are too long to be given at once.
        """
        if after is not None and self._floor <= after <= self._stored:
            found = [m for m in self._known.values() if m.rev > after and may_read(identity, m)]
            found.sort(key=lambda message: message.id)
            if len(_newest(found)) == len(found):
                return ChatNews(messages=tuple(found), after=after, last=self._stored, more=False)
        found = [m for m in self._known.values() if m.id > self._floor and may_read(identity, m)]
        found.sort(key=lambda message: message.id)
        newest = _newest(found)
        more = self._floor > 0 or len(newest) < len(found)
        return ChatNews(messages=tuple(newest), after=None, last=self._stored, more=more)

    def expire(self, before_ms: int) -> None:
        """Forget messages sent before `before_ms`, also when a change of one is stored later."""
        self._expired_ms = before_ms
        for message in [each for each in self._known.values() if each.sent_at_ms < before_ms]:
            del self._known[message.id]

    @property
    def stored(self) -> int:
        """The highest number that is durable."""
        return self._stored

    def authors(self) -> set[str]:
        return {message.identity for message in self._known.values()}

    def _keep(self, message: ChatMessage) -> None:
        self._known.pop(message.id, None)
        if message.sent_at_ms < self._expired_ms:
            return
        self._known[message.id] = message
        while len(self._known) > self._capacity:
            _, oldest = self._known.popitem(last=False)
            self._floor = oldest.rev


class Chat:
    """Each method is one command's work: it returns effects in order, or raises `RequestError` unchanged."""

    def __init__(
        self,
        room: RoomName,
        participants: Mapping[ParticipantId, Participant],
        owners: Mapping[str, bool],
        capacity: int,
        history: ChatHistory,
    ) -> None:
        self._room = room
        self._participants = participants
        self._owners = owners
        self.log = ChatLog(capacity, history)

    def send(self, by: Participant, command: commands.SendChat, now: Instant) -> list[Effect]:
        """Raises `RequestError` `not_allowed` or `not_found` (whom it is for)."""
        _may_chat(by)
        to, to_identity = self._recipient(by, command)
        number = self.log.next_number()
        message = ChatMessage(
            id=number,
            rev=number,
            sender=by.id,
            identity=by.identity,
            name=by.name,
            text=command.text,
            to=to,
            to_identity=to_identity,
            mentions=self._mentions(command.text),
            sent_at_ms=now.wall_ms,
            file=command.file,
        )
        return self._store(message, "added", by)

    def edit(self, by: Participant, command: commands.EditChat, now: Instant) -> list[Effect]:
        """Raises `RequestError` `not_found` or `not_allowed` (it is another's)."""
        _may_chat(by)
        message = self._message(by, command.message, command.loaded)
        _may_change(by, message, self._owners)
        changed = replace(
            message,
            rev=self.log.next_number(),
            text=command.text,
            mentions=self._mentions(command.text),
            edited_at_ms=now.wall_ms,
        )
        return self._store(changed, "changed", by)

    def delete(self, by: Participant, command: commands.DeleteChat) -> list[Effect]:
        """Its place stays, empty. Raises `RequestError` `not_found` or `not_allowed` (it is another's)."""
        message = self._message(by, command.message, command.loaded)
        _may_change(by, message, self._owners)
        changed = replace(
            message,
            rev=self.log.next_number(),
            text="",
            mentions=(),
            file=None,
            reactions={},
            deleted=True,
        )
        return self._store(changed, "changed", by, hidden_file=message.file)

    def react(self, by: Participant, command: commands.ReactChat) -> list[Effect]:
        """Raises `RequestError` `not_found`, `not_allowed` or `too_large` (too many reactions)."""
        _may_chat(by)
        message = self._message(by, command.message, command.loaded)
        chosen = [
            identity for identity in message.reactions.get(command.emoji, ()) if identity != by.identity
        ]
        if command.on:
            chosen.append(by.identity)
        reactions = {emoji: who for emoji, who in message.reactions.items() if emoji != command.emoji}
        if chosen:
            reactions = dict(message.reactions) | {command.emoji: tuple(chosen)}
        if command.on and (
            len(reactions) > MAX_EMOJI or sum(len(who) for who in reactions.values()) > MAX_REACTIONS
        ):
            raise RequestError("too_large", "the message has too many reactions")
        changed = replace(message, rev=self.log.next_number(), reactions=reactions)
        return self._store(changed, "reacted", by, emoji=command.emoji)

    def read(self, by: Participant, command: commands.ReadChat) -> list[Effect]:
        """A position goes forward only, and not past what there is: it could never come back."""
        reached = min(command.message, self.log.stored)
        if reached <= by.chat_read:
            return []
        by.chat_read = reached
        done: list[Effect] = [effects.ChatReadTo(self._room, by.identity, reached)]
        others = self._readers(by)
        if others and self._tells_seen() and not by.grants.hidden:
            done.append(Announce(others, effects.ChatSeen(by.identity, reached)))
        return done

    def seen(self, by: Participant) -> dict[str, int]:
        """How far the others who are here have read, by identity; empty in a large room."""
        if not self._tells_seen():
            return {}
        return {
            each.identity: each.chat_read
            for each in visibility.known_to_all(self._participants.values())
            if each is not by and each.chat_read
        }

    def _readers(self, by: Participant) -> tuple[ParticipantId, ...]:
        """Everybody else who hears of the chat."""
        others = self._participants.values()
        return tuple(each.id for each in others if each is not by and each.grants.follows)

    def _tells_seen(self) -> bool:
        return len(visibility.known_to_all(self._participants.values())) <= SEEN_BY_PEOPLE

    def typing(self, by: Participant, command: commands.TypeChat, now: Instant) -> list[Effect]:
        """Raises `RequestError` `not_allowed` or `not_found`. Too often is passed over."""
        _may_chat(by)
        to = None if command.to is None else visibility.found(by, self._participants, command.to)
        if now.us < by.typing_told_us + TYPING_EVERY_US:
            return []
        by.typing_told_us = now.us
        told = tuple(each for each in self._readers(by) if to is None or each == to.id)
        if not told:
            return []
        return [Announce(told, effects.ChatTyping(by.id, None if to is None else to.id))]

    def stored(self, command: commands.ChatStored) -> list[Effect]:
        """It is durable: those who are here, and may read it, are told. Who did it is answered instead."""
        message = command.message
        self.log.end(message, stored=True)
        told = tuple(
            each.id
            for each in self._participants.values()
            if each.id != command.by and each.grants.follows and may_read(each.identity, message)
        )
        event = effects.ChatSent(message) if command.change == "added" else effects.ChatUpdated(message)
        return [Announce(told, event)] if told else []

    def lost(self, command: commands.ChatLost) -> list[Effect]:
        """It could not be stored: its number is left out."""
        self.log.end(command.message, stored=False)
        return []

    def _store(
        self,
        message: ChatMessage,
        change: ChatChange,
        by: Participant,
        *,
        emoji: str = "",
        hidden_file: str | None = None,
    ) -> list[Effect]:
        self.log.begin(message)
        return [ChatToStore(self._room, message, change, by.id, by.identity, emoji, hidden_file)]

    def _message(self, by: Participant, number: int, loaded: ChatMessage | None) -> ChatMessage:
        """The message to change. What may not be read is not found, nor what is deleted."""
        message = self.log.find(number) or loaded
        if message is None or message.deleted or not may_read(by.identity, message):
            raise RequestError("not_found", f"no message {number}")
        return message

    def present(self, viewer: ParticipantId, recipient: str) -> bool:
        """Whether a participant, or an identity, is here as far as the viewer may know."""
        by = self._participants.get(viewer)
        return by is not None and self._here(by, recipient) is not None

    def _here(self, by: Participant, recipient: str) -> Participant | None:
        known = visibility.known_to(by, self._participants.values())
        by_id = next((each for each in known if each.id == recipient), None)
        return by_id or next((each for each in known if each.identity == recipient), None)

    def _recipient(
        self, by: Participant, command: commands.SendChat
    ) -> tuple[ParticipantId | None, str | None]:
        """Participant and identity. Who is away is named by its identity in both places."""
        if command.to is None:
            return None, None
        found = self._here(by, command.to)
        if found is not None:
            return found.id, found.identity
        if not command.known:
            raise RequestError("not_found", f"no participant {command.to}")
        return ParticipantId(command.to), command.to

    def _mentions(self, text: str) -> tuple[str, ...]:
        """Identities of people who are here, or spoke lately, that the text names as `@identity`."""
        if "@" not in text:
            return ()
        here = visibility.known_to_all(self._participants.values())
        known = {each.identity for each in here} | self.log.authors()
        return tuple(sorted(identity for identity in known if _names(text, identity)))[:MAX_MENTIONS]


def _newest(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """The last ones that together are not too long to be given at once; one at least."""
    left = MAX_NEWS
    for count, message in enumerate(reversed(messages)):
        left -= len(message.text) + sum(len(who) for each in message.reactions.values() for who in each)
        if left < 0 and count:
            return messages[len(messages) - count :]
    return messages


def may_read(identity: str, message: ChatMessage) -> bool:
    """A private message is for two identities, whatever participants they are by now."""
    return message.to_identity is None or identity in {message.identity, message.to_identity}


def _may_chat(by: Participant) -> None:
    if not by.grants.may_chat:
        raise RequestError("not_allowed", "no right to chat")


def _may_change(by: Participant, message: ChatMessage, owners: Mapping[str, bool]) -> None:
    """One's own, and who moderates any that it may read, of those that it reaches."""
    if message.identity != by.identity and not by.grants.may_moderate:
        raise RequestError("not_allowed", "this is another's message")
    rank.check_author(by.role, by.identity, message.identity, owners)


def _names(text: str, identity: str) -> bool:
    """Whether `@identity` stands in the text, not as the beginning of a longer name."""
    start = text.find("@" + identity)
    while start >= 0:
        end = start + 1 + len(identity)
        if end == len(text) or not (text[end].isalnum() or text[end] in "-_"):
            return True
        start = text.find("@" + identity, end)
    return False
