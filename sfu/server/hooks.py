"""What one extension module asks for and does, from its own thread: each is done in the server's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sfu.config import ExtensionsConfig
from sfu.errors import RequestError
from sfu.extensions import OnData, OnEvent, OnFrame, OnMessage
from sfu.ids import RoomName
from sfu.room import acts
from sfu.room.acts import FromOutside
from sfu.room.commands import OPERATOR, Operate, SendChat
from sfu.room.permissions import Grants
from sfu.room.state import Change, Entry, Judge, Verdict, encoded_bytes
from sfu.server import act_requests, requests
from sfu.server.conference import Conference
from sfu.server.guard import Guard
from sfu.server.hook_thread import HookThread
from sfu.server.validation import Message
from sfu.server.wire import Json

if TYPE_CHECKING:
    from sfu.server.extending import Extensions

T = TypeVar("T")

_POWER = Grants(moderate=True, record=True, see_hidden=True)


class ModuleHooks:
    """Implements `sfu.extensions.Hooks`. Every method may be called from any thread."""

    def __init__(
        self, extensions: Extensions, conference: Conference, thread: HookThread, config: ExtensionsConfig
    ) -> None:
        self._extensions = extensions
        self._conference = conference
        self._thread = thread
        self._config = config

    # --- what it asks for ----------------------------------------------------------------------

    def on_event(self, call: OnEvent, *types: str) -> None:
        self._ask(partial(self._extensions.add_event, self._guard(call), types))

    def on_message(self, call: OnMessage) -> None:
        guard = Guard(call, self._thread, self._config, may_refuse=True)
        self._ask(partial(self._extensions.add_message, guard))

    def on_data(self, call: OnData, *topics: str) -> None:
        self._ask(partial(self._extensions.add_data, self._guard(call), topics))

    def on_frame(self, call: OnFrame, *, source: str = "camera", fps: float = 2.0) -> None:
        if not fps > 0:
            raise ValueError("fps is more than 0")
        self._ask(partial(self._extensions.add_frame, self._guard(call), source, fps))

    def judge_state(self, judge: Judge) -> None:
        self._ask(partial(setattr, self._conference.core, "judge", _sheltered(judge)))

    # --- what it does --------------------------------------------------------------------------

    async def say(self, room: str, text: str, *, name: str = "Server") -> int:
        requests.chat_text({"text": text}, self._conference.chat_characters)
        return await self._thread.wait_for_server(lambda: self._say(room, text, name))

    async def _say(self, room: str, text: str, name: str) -> int:
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
        parser = requests.IN_ROOM.get(str(message.get("type")))
        if parser is None:
            raise RequestError("unknown_type", "no such act")
        command = parser(message).by(OPERATOR)
        if not isinstance(command, FromOutside):
            raise RequestError("not_allowed", "only participants do this")
        self._ask(partial(self._conference.apply, _operate(room, name, command)))

    def state(self, room: str) -> Mapping[str, Entry]:
        return self._ask(lambda: self._conference.core.room(RoomName(room)).state.view().entries)

    def set_state(
        self, room: str, key: str, value: Any, *, if_version: int | None = None, name: str = "Server"
    ) -> int:
        encoded_bytes(value)
        # What it goes on to do with its own value changes nothing here.
        own = json.loads(json.dumps(value))
        return self._change(
            room, name, {"type": "state_set", "key": key, "value": own, "if_version": if_version}
        )

    def delete_state(
        self, room: str, key: str, *, if_version: int | None = None, name: str = "Server"
    ) -> int:
        return self._change(room, name, {"type": "state_delete", "key": key, "if_version": if_version})

    def _change(self, room: str, name: str, message: Message) -> int:
        command = requests.IN_ROOM[message["type"]](message).by(OPERATOR)
        assert isinstance(command, acts.ChangeState)
        done = self._ask(partial(self._conference.apply, _operate(room, name, command)))
        version: int = act_requests.answer(done)["version"]
        return version

    def alarm(self, room: str, data: Mapping[str, Any], *, text: str = "") -> None:
        encoded_bytes(dict(data))
        own: Json = {"identity": "server", **json.loads(json.dumps(dict(data)))}
        if text:
            self.act(room, {"type": "broadcast", "text": text})
        self._ask(partial(self._conference.events.emit, "alarm", RoomName(room), own))

    # --- shared --------------------------------------------------------------------------------

    def _guard(self, call: OnEvent | OnData | OnFrame) -> Guard:
        return Guard(call, self._thread, self._config)

    def _ask(self, work: Callable[[], T]) -> T:
        return self._thread.ask_server(work)


def _sheltered(judge: Judge) -> Judge:
    """A judge is asked in the server's thread, which its `sys.exit()` does not end."""

    def asked(change: Change, entries: Mapping[str, Entry]) -> Verdict:
        try:
            return judge(change, entries)
        except (SystemExit, asyncio.CancelledError) as error:
            raise RuntimeError(repr(error)) from error

    return asked


def _operate(room: str, name: str, command: FromOutside | SendChat) -> Operate:
    return Operate(
        room=RoomName(room), identity="server", name=name, role="owner", grants=_POWER, command=command
    )
