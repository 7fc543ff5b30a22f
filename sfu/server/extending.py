"""Extensions at work: loaded, told what happens, asked about chat messages."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from sfu.config import ExtensionsConfig
from sfu.errors import ConfigError, RequestError
from sfu.extensions import Data, Event, Hooks, Message
from sfu.ids import ParticipantId
from sfu.server import requests
from sfu.server.conference import Conference
from sfu.server.data import DataMessage
from sfu.server.events import RoomEvent, source, weighty
from sfu.server.guard import Feed, Guard
from sfu.server.hook_thread import HookThread
from sfu.server.hooks import ModuleHooks
from sfu.server.pictures import FrameTaps
from sfu.server.wire import Json

log = logging.getLogger(__name__)


class Extensions:
    """Every configured module. It lives in the server's thread, their code each in one of its own."""

    def __init__(self, conference: Conference, config: ExtensionsConfig) -> None:
        self._conference = conference
        self._config = config
        self._guards: list[Guard] = []
        self._events: list[Feed[Event]] = []
        self._data: list[Feed[Data]] = []
        self._messages: list[Guard] = []
        self._last: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._threads: list[HookThread] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._frames = FrameTaps(conference, config)

    async def load(self) -> None:
        """Call `extend` of every configured module. Raises `ConfigError`: one cannot be loaded."""
        conference = self._conference
        conference.events.listen(self.told)
        conference.data.on_relayed = self.relayed
        conference.asking.first = self.ask
        conference.more_counts["extensions"] = self.counts
        for name in self._config.modules:
            try:
                thread = HookThread(name)
                self._threads.append(thread)
                hooks = ModuleHooks(self, conference, thread, self._config)
                # The import, too: one that hangs does not keep the server from stopping.
                await thread.call(partial(_extend, name), hooks, None)
            except (Exception, SystemExit) as error:
                raise ConfigError([f"extensions.modules: {name}: {type(error).__name__}: {error}"]) from error
            log.info("extended by %s", name)

    # --- what modules ask for ------------------------------------------------------------------

    def add_event(self, guard: Guard, types: tuple[str, ...]) -> None:
        self._guards.append(guard)
        feed: Feed[Event] = Feed(guard, frozenset(types))
        self._events.append(feed)
        self._start(feed.run())

    def add_message(self, guard: Guard) -> None:
        self._guards.append(guard)
        self._messages.append(guard)

    def add_data(self, guard: Guard, topics: tuple[str, ...]) -> None:
        self._guards.append(guard)
        feed: Feed[Data] = Feed(guard, frozenset(topics))
        self._data.append(feed)
        self._start(feed.run())

    def add_frame(self, guard: Guard, source: str, fps: float) -> None:
        self._guards.append(guard)
        self._frames.add(guard, source, fps)

    # --- what happens --------------------------------------------------------------------------

    def told(self, event: RoomEvent) -> None:
        """A listener of `Events`."""
        value = Event(id=event.id, at_ms=event.at_ms, room=event.room, type=event.type, data=event.data)
        for feed in self._events:
            feed.put(event.type, value, source(event.room, event.data), weighty=weighty(event.type))
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
            feed.put(message.topic, value, (room, participant))

    def ask(
        self,
        message: Message,
        shortest: int,
        go_on: Callable[[str], None],
        refuse: Callable[[RequestError], None],
    ) -> bool:
        """Whether somebody is asked about a chat message first; `go_on` or `refuse` follows, in order.

        A text that an extension makes of it has at least `shortest` characters.
        """
        sender = message.room, message.participant or message.identity
        before = self._last.get(sender)
        if before is None and not any(guard.on for guard in self._messages):
            return False
        self._last[sender] = self._start(self._asked(sender, before, message, shortest, go_on, refuse))
        return True

    async def _asked(
        self,
        sender: tuple[str, str],
        before: asyncio.Task[None] | None,
        message: Message,
        shortest: int,
        go_on: Callable[[str], None],
        refuse: Callable[[RequestError], None],
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            go_on(await self._text(message, shortest))
        except RequestError as error:
            refuse(error)
        except Exception:
            log.exception("a chat message could not be sent on", extra={"room": message.room})
            refuse(RequestError("internal", "an error of the server"))
        finally:
            if self._last.get(sender) is asyncio.current_task():
                del self._last[sender]

    async def _text(self, message: Message, shortest: int) -> str:
        def check(result: Any) -> None:
            if result is not None:
                requests.chat_text({"text": result}, self._conference.chat_characters, shortest)

        for guard in self._messages:
            changed = await guard(message, check)
            if changed is not None:
                message = replace(message, text=changed)
        return message.text

    # --- life ----------------------------------------------------------------------------------

    def counts(self) -> Json:
        """Of all callbacks, for the statistics."""
        return {
            "calls": sum(guard.calls for guard in self._guards),
            "failures": sum(guard.failures for guard in self._guards),
            "dropped": sum(guard.dropped for guard in self._guards),
            "switched_off": sum(not guard.on for guard in self._guards),
        }

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what runs; what does not end in time is left behind."""
        await self._frames.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(thread.close() for thread in self._threads))


async def _extend(name: str, hooks: Hooks) -> None:
    made = importlib.import_module(name).extend(hooks)
    if inspect.isawaitable(made):
        await made
