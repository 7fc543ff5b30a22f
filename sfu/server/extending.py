"""Extensions at work: loaded, called with limits, switched off when they keep failing."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from sfu.config import ExtensionsConfig
from sfu.errors import ConfigError, RequestError
from sfu.extensions import Data, Event, Message, OnData, OnEvent, OnFrame, OnMessage, Refused
from sfu.ids import ParticipantId, RoomName
from sfu.room.acts import FromOutside
from sfu.room.commands import OPERATOR, Operate, SendChat
from sfu.room.permissions import Grants
from sfu.room.state import Judge
from sfu.server import requests
from sfu.server.act_requests import PARSERS
from sfu.server.conference import Conference
from sfu.server.data import DataMessage
from sfu.server.events import RoomEvent
from sfu.server.pictures import FrameTaps
from sfu.server.wire import Json

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

WAITING = 256
"""Things that may wait for one callback; past that the oldest go."""
_POWER = Grants(moderate=True, record=True, see_hidden=True)


class Guard:
    """One callback: `calls`, `failures` and what was `dropped` are counted."""

    def __init__(self, call: Callable[..., Awaitable[Any]], config: ExtensionsConfig) -> None:
        self.name = f"{getattr(call, '__module__', '?')}.{getattr(call, '__qualname__', call)}"
        self.calls = self.failures = self.dropped = 0
        self.on = True
        self._call = call
        self._config = config
        self._in_a_row = 0

    async def __call__(self, argument: object) -> Any:
        """Its result; None where it fails, and from when it is switched off. Raises `Refused`."""
        if not self.on:
            return None
        self.calls += 1
        try:
            result = await asyncio.wait_for(self._call(argument), self._config.timeout_s)
        except Refused:
            self._in_a_row = 0
            raise
        except Exception as error:
            self._failed(error)
            return None
        self._in_a_row = 0
        return result

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._in_a_row += 1
        if self._in_a_row == 1:
            log.error("the extension %s failed", self.name, exc_info=error)
        if self._in_a_row >= self._config.max_failures:
            self.on = False
            log.error("the extension %s failed %d times in a row: switched off", self.name, self._in_a_row)


class Feed(Generic[T]):
    """What waits for one callback, oldest first."""

    def __init__(self, guard: Guard, wanted: frozenset[str]) -> None:
        self.guard = guard
        self._wanted = wanted
        self._waiting: deque[T] = deque()
        self._wake = asyncio.Event()

    def put(self, kind: str, thing: T) -> None:
        if not self.guard.on or (self._wanted and kind not in self._wanted):
            return
        self._waiting.append(thing)
        if len(self._waiting) > WAITING:
            self._waiting.popleft()
            self.guard.dropped += 1
        self._wake.set()

    async def run(self) -> None:
        while True:
            while self._waiting:
                await self.guard(self._waiting.popleft())
            self._wake.clear()
            await self._wake.wait()


class Extensions:
    """Implements `sfu.extensions.Hooks`, and is told what happens."""

    def __init__(self, conference: Conference, config: ExtensionsConfig) -> None:
        self._conference = conference
        self._config = config
        self._events: list[Feed[Event]] = []
        self._data: list[Feed[Data]] = []
        self._messages: list[Guard] = []
        self._order: dict[ParticipantId, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._frames = FrameTaps(conference)

    # --- what modules ask for ------------------------------------------------------------------

    def on_event(self, call: OnEvent, *types: str) -> None:
        feed: Feed[Event] = Feed(Guard(call, self._config), frozenset(types))
        self._events.append(feed)
        self._start(feed.run())

    def on_message(self, call: OnMessage) -> None:
        self._messages.append(Guard(call, self._config))

    def on_data(self, call: OnData, *topics: str) -> None:
        feed: Feed[Data] = Feed(Guard(call, self._config), frozenset(topics))
        self._data.append(feed)
        self._start(feed.run())

    def on_frame(self, call: OnFrame, *, source: str = "camera", fps: float = 2.0) -> None:
        self._frames.add(Guard(call, self._config), source, fps)

    def judge_state(self, judge: Judge) -> None:
        self._conference.core.judge = judge

    async def say(self, room: str, text: str, *, name: str = "Server") -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answer(result: Json | RequestError) -> None:
            if done.done():
                return
            if isinstance(result, RequestError):
                done.set_exception(result)
            else:
                done.set_result(result["message"]["id"])

        self._conference.chat.keep(_operate(room, name, SendChat(OPERATOR, text)), answer)
        return await done

    def act(self, room: str, message: Mapping[str, Any], *, name: str = "Server") -> None:
        parser = PARSERS.get(str(message.get("type")))
        if parser is None:
            raise RequestError("unknown_type", "no such act")
        command = parser(message).by(OPERATOR)
        if not isinstance(command, FromOutside):
            raise RequestError("not_allowed", "only participants do this")
        self._conference.apply(_operate(room, name, command))

    def alarm(self, room: str, data: Mapping[str, Any]) -> None:
        self._conference.events.emit("alarm", RoomName(room), {"identity": "server", **data})

    # --- what happens --------------------------------------------------------------------------

    def told(self, event: RoomEvent) -> None:
        """A listener of `Events`."""
        value = Event(id=event.id, at_ms=event.at_ms, room=event.room, type=event.type, data=event.data)
        for feed in self._events:
            feed.put(event.type, value)
        self._frames.told(event)

    def relayed(self, room: str, participant: ParticipantId, message: DataMessage) -> None:
        """A data-channel message was passed on."""
        if not self._data:
            return
        value = Data(
            room=room,
            participant=participant,
            topic=message.topic,
            payload=message.payload,
            text=message.format != "binary",
        )
        for feed in self._data:
            feed.put(message.topic, value)

    def ask(
        self,
        member: ParticipantId,
        request: requests.Chat | requests.ChatEdit,
        go_on: Callable[[requests.Chat | requests.ChatEdit], None],
        refuse: Callable[[RequestError], None],
    ) -> bool:
        """Whether somebody is asked about a chat message first; `go_on` or `refuse` follows, in order."""
        if not any(guard.on for guard in self._messages):
            return False
        self._start(self._asked(member, request, go_on, refuse))
        return True

    async def _asked(
        self,
        member: ParticipantId,
        request: requests.Chat | requests.ChatEdit,
        go_on: Callable[[requests.Chat | requests.ChatEdit], None],
        refuse: Callable[[RequestError], None],
    ) -> None:
        lock = self._order.setdefault(member, asyncio.Lock())
        async with lock:
            try:
                go_on(replace(request, text=await self._text(member, request)))
            except RequestError as error:
                refuse(error)
        if not lock.locked():
            self._order.pop(member, None)

    async def _text(self, member: ParticipantId, request: requests.Chat | requests.ChatEdit) -> str:
        text = request.text
        participant, room = self._conference.core.participant(member), self._conference.core.room_of(member)
        if participant is None or room is None:
            raise RequestError("not_found", "not a participant")
        for guard in self._messages:
            message = Message(
                room=room.name,
                participant=member,
                identity=participant.identity,
                name=participant.name,
                text=text,
                to=request.to if isinstance(request, requests.Chat) else None,
            )
            changed = await guard(message)
            if isinstance(changed, str):
                text = changed
        return text

    # --- life ----------------------------------------------------------------------------------

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await self._frames.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def load(conference: Conference, config: ExtensionsConfig) -> Extensions:
    """Call `extend` of every configured module. Raises `ConfigError`: one cannot be loaded."""
    extensions = Extensions(conference, config)
    conference.events.listen(extensions.told)
    conference.data.on_relayed = extensions.relayed
    conference.ask_first = extensions.ask
    for name in config.modules:
        try:
            importlib.import_module(name).extend(extensions)
        except Exception as error:
            raise ConfigError([f"extensions.modules: {name}: {type(error).__name__}: {error}"]) from error
        log.info("extended by %s", name)
    return extensions


def _operate(room: str, name: str, command: FromOutside | SendChat) -> Operate:
    return Operate(
        room=RoomName(room), identity="server", name=name, role="owner", grants=_POWER, command=command
    )
