"""Chat between the room core and the store: nothing is answered or told before it is durable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import fields, replace
from typing import Any

from sfu import clock
from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import commands
from sfu.room.chat import MAX_NEWS
from sfu.room.commands import Command
from sfu.room.effects import ChatReadTo, ChatToStore, Effect
from sfu.room.model import ChatHistory, ChatMessage
from sfu.room.registry import Rooms
from sfu.server import requests, wire
from sfu.server.fairness import Account
from sfu.server.frames import Part
from sfu.server.queries import Queries
from sfu.server.wire import Json
from sfu.store import files, messages, people
from sfu.store.messages import Found, StoredMessage
from sfu.store.store import Store
from sfu.store.writes import Step

log = logging.getLogger(__name__)

Answer = Callable[[Json | RequestError], None]
"""Called once, in the order in which things became durable."""
Apply = Callable[[Command], list[Effect]]
DropFile = Callable[[RoomName, str], Awaitable[None]]
"""Told of a file that a message of the room showed which is deleted, durably."""


class Chat:
    """One for all rooms of a conference."""

    def __init__(self, store: Store, rooms: Rooms, apply: Apply, capacity: int, queries: Queries) -> None:
        self._store = store
        self._rooms = rooms
        self._apply = apply
        self._capacity = capacity
        self._queries = queries
        self._opening: weakref.WeakValueDictionary[RoomName, asyncio.Lock] = weakref.WeakValueDictionary()
        self._searching: set[ParticipantId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.drop_file: DropFile | None = None

    # --- joining -------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def opening(self, room: RoomName) -> AsyncIterator[ChatHistory]:
        """What a room that is not open yet has to know. Hold it until the room is open.

        One at a time for each room, and after what of it is on its way to the store: so that no number is
        given twice. Raises `RequestError` `storage_failed`.
        """
        lock = self._opening.setdefault(room, asyncio.Lock())
        async with lock:
            if self._rooms.is_known(room):
                yield ChatHistory()
                return
            await self._store.writes.flush(room)
            async with self._store.reading() as connection:
                last = await messages.head(connection, room)
                found = await messages.latest(connection, room, limit=self._capacity, characters=MAX_NEWS)
            yield ChatHistory(
                last=last, messages=tuple(map(to_room, found.messages)), complete=not found.more
            )

    async def read_position(self, room: RoomName, identity: str | None) -> int:
        """How far `identity` has read; a new one has read nothing. Raises `RequestError` `storage_failed`."""
        if identity is None:
            return 0
        async with self._store.reading() as connection:
            return await messages.read_position(connection, room, identity)

    # --- requests ------------------------------------------------------------------------------

    def request(
        self,
        participant: ParticipantId,
        room: RoomName,
        request: requests.ChatRequest,
        account: Account,
        answer: Answer,
    ) -> None:
        """Do what is asked and call `answer`, now or later. Raises `RequestError`; it is not called then."""
        match request:
            case requests.Chat():
                send = commands.SendChat(participant, request.text, request.to, request.file)
                opened = self._rooms.open_room(room)
                known = opened is None or send.to is None or opened.chat.present(participant, send.to)
                if send.file is None and known:
                    self.keep(send, answer)
                else:
                    self.later(participant, self._check_and_send(room, send, account, answer), answer)
            case requests.ChatTyping():
                self._apply(commands.TypeChat(participant, request.to))
                answer({"type": "ok"})
            case requests.ChatRead():
                self._read(commands.ReadChat(participant, request.message), answer)
            case requests.ChatPage():
                self.later(participant, self._page(participant, room, request, account), answer)
            case requests.ChatSearch():
                if participant in self._searching:
                    raise RequestError("rate_limited", "one search at a time")
                self._searching.add(participant)
                self.later(participant, self._search(participant, room, request, account), answer)
            case _:
                self._change(participant, room, request, account, answer)

    def keep(self, command: Command, answer: Answer) -> None:
        """Apply a change and call `answer` when it is durable, or has failed. Raises `RequestError`."""
        done = self._apply(command)
        (change,) = (effect for effect in done if isinstance(effect, ChatToStore))

        def ended(error: RequestError | None) -> None:
            if error is not None:
                self._apply(commands.ChatLost(change.room, change.message))
                answer(error)
                return
            # The answer first: what the announcement causes comes after it.
            answer({"type": "ok", "message": wire.chat_message(change.message)})
            self._apply(commands.ChatStored(change.room, change.message, change.change, change.by))
            if change.hidden_file is not None and self.drop_file is not None:
                self._start(self._drop(self.drop_file(change.room, change.hidden_file)))

        try:
            self._store.writes.submit(_steps(change), ended, room=change.room)
        except RequestError:
            self._apply(commands.ChatLost(change.room, change.message))
            raise

    async def _check_and_send(
        self, room: RoomName, command: commands.SendChat, account: Account, answer: Answer
    ) -> None:
        """Only who has uploaded a file sends it, and who is away was here once."""
        async with self._queries.reading(account) as connection:
            if command.file is not None:
                identity = self._identity(command.participant)
                found = await files.one(connection, room, command.file, identity)
                if found is None or found.identity != identity:
                    raise RequestError("not_found", f"no file {command.file} of yours")
            known = command.to is not None and await people.was_in(connection, room, command.to)
        self.keep(replace(command, known=known), answer)

    def _change(
        self,
        participant: ParticipantId,
        room: RoomName,
        request: requests.ChatEdit | requests.ChatDelete | requests.ChatReact,
        account: Account,
        answer: Answer,
    ) -> None:
        opened = self._rooms.open_room(room)
        if opened is not None and opened.chat.log.find(request.message) is not None:
            self.keep(_command(participant, request, None), answer)
        else:
            loading = self._load_and_change(participant, room, request, account, answer)
            self.later(participant, loading, answer)

    async def _load_and_change(
        self,
        participant: ParticipantId,
        room: RoomName,
        request: requests.ChatEdit | requests.ChatDelete | requests.ChatReact,
        account: Account,
        answer: Answer,
    ) -> None:
        async with self._queries.reading(account) as connection:
            found = await messages.one(connection, room, request.message)
        self.keep(_command(participant, request, to_room(found) if found else None), answer)

    def _read(self, command: commands.ReadChat, answer: Answer) -> None:
        for effect in self._apply(command):
            if isinstance(effect, ChatReadTo):
                self._store.writes.submit(
                    messages.read(effect.room, effect.identity, effect.message, clock.wall_ms())
                )
        answer({"type": "ok"})

    async def _page(
        self, participant: ParticipantId, room: RoomName, request: requests.ChatPage, account: Account
    ) -> Json:
        """No more characters than a joining participant is given; `more` says that others follow."""
        async with self._queries.reading(account) as connection:
            found = await messages.page(
                connection,
                room,
                self._identity(participant),
                limit=request.limit,
                characters=MAX_NEWS,
                before=request.before,
                after=request.after,
                with_file=request.files,
            )
        await self._queries.read(account, found.rows, found.characters)
        return {"type": "chat_history", "messages": _listed(found), "more": found.more}

    async def _search(
        self, participant: ParticipantId, room: RoomName, request: requests.ChatSearch, account: Account
    ) -> Json:
        try:
            found = await self._queries.search(
                account,
                room,
                self._identity(participant),
                request.text,
                limit=request.limit,
                characters=MAX_NEWS,
                before=request.before,
            )
        finally:
            self._searching.discard(participant)
        return {"type": "chat_search", "messages": _listed(found)}

    def _identity(self, participant: ParticipantId) -> str:
        found = self._rooms.participant(participant)
        if found is None:
            raise RequestError("not_found", "not a participant")
        return found.identity

    # --- shared --------------------------------------------------------------------------------

    def later(
        self, participant: ParticipantId, work: Coroutine[Any, Any, Json | None], answer: Answer
    ) -> None:
        """Run `work`; its result, if it has one, or its refusal is the answer."""

        async def run() -> None:
            try:
                result = await work
            except RequestError as error:
                answer(error)
            except Exception:
                log.exception("a chat request failed", extra={"participant": participant})
                answer(RequestError("internal", "an error of the server"))
            else:
                if result is not None:
                    answer(result)

        self._start(run())

    async def _drop(self, dropping: Awaitable[None]) -> None:
        # Logged by the store. The file is its sender's alone by now, who can delete it too.
        with contextlib.suppress(RequestError):
            await dropping

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _command(
    participant: ParticipantId,
    request: requests.ChatEdit | requests.ChatDelete | requests.ChatReact,
    loaded: ChatMessage | None,
) -> Command:
    match request:
        case requests.ChatEdit():
            return commands.EditChat(participant, request.message, request.text, loaded)
        case requests.ChatDelete():
            return commands.DeleteChat(participant, request.message, loaded)
        case requests.ChatReact():
            return commands.ReactChat(participant, request.message, request.emoji, request.on, loaded)


def _steps(change: ChatToStore) -> list[Step]:
    stored = _to_store(change.room, change.message)
    match change.change:
        case "added":
            return messages.added(stored)
        case "changed":
            steps = messages.changed(stored)
            if change.identity != stored.identity:
                action = "chat_delete" if stored.deleted else "chat_edit"
                detail = {"message": stored.id, "of": stored.identity}
                steps += people.recorded(clock.wall_ms(), change.room, change.identity, action, detail)
            return steps
        case "reacted":
            return messages.reacted(stored, change.emoji, change.identity, clock.wall_ms())


_RENAMED = {"recipient": "to", "sent_ms": "sent_at_ms", "edited_ms": "edited_at_ms"}
"""The store's names for what the room calls otherwise."""


def _to_store(room: RoomName, message: ChatMessage) -> StoredMessage:
    values = {
        column.name: getattr(message, _RENAMED.get(column.name, column.name))
        for column in fields(StoredMessage)
        if column.name != "room"
    }
    if message.to == message.to_identity:
        # Somebody who was away: there is no participant.
        values["recipient"] = None
    return StoredMessage(room=room, **values)


def to_room(message: StoredMessage) -> ChatMessage:
    """A stored message as the room knows it."""
    values = {
        _RENAMED.get(column.name, column.name): getattr(message, column.name)
        for column in fields(StoredMessage)
        if column.name != "room"
    }
    values["to"] = values["to"] or message.to_identity
    return ChatMessage(**values)


def to_wire(message: StoredMessage) -> Json:
    """A stored message as the protocol has it."""
    return wire.chat_message(to_room(message))


def _listed(found: Found) -> Part:
    """The messages as JSON, encoded now: they have been paid for."""
    part = wire.listed(wire.dumps(to_wire(each)) for each in found.messages)
    part.encode()
    return part
