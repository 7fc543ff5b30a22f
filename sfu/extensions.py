"""The one place where your own Python joins the server. See docs/extensions.md.

A module named in `extensions.modules` has a function `extend(hooks: Hooks)`, called once at start, that says
which of its functions are to be called. They run in the server's process, in a thread and event loop of the
module's own, each call with a time limit; one that fails or takes too long harms no call, and one that keeps
failing is switched off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sfu.errors import RequestError
from sfu.room.state import Accept as Accept
from sfu.room.state import Change as Change
from sfu.room.state import Entry as Entry
from sfu.room.state import Judge as Judge
from sfu.room.state import Refuse as Refuse
from sfu.room.state import Replace as Replace
from sfu.room.state import Verdict as Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Refused(RequestError):
    """Raise it from `on_message`: the sender gets this text, and the message is not sent."""

    def __init__(self, message: str) -> None:
        super().__init__("refused", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a room; types and their `data` are those of docs/protocol.md, "Webhooks"."""

    id: str
    at_ms: int
    room: str
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A chat message before it is stored. `to` is a participant, None for everybody.

    `participant` is empty for who writes over the HTTP API without being in the room.
    """

    room: str
    participant: str
    identity: str
    name: str
    text: str
    to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A message of a data channel that was passed on."""

    room: str
    participant: str
    topic: str
    payload: bytes
    text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A decoded picture: height x width x 3 bytes of blue, green and red. `at_ms` is when it was decoded."""

    room: str
    participant: str
    publication: str
    source: str
    at_ms: int
    image: NDArray[np.uint8]


OnEvent = Callable[[Event], Awaitable[None]]
OnMessage = Callable[[Message], Awaitable[str | None]]
OnData = Callable[[Data], Awaitable[None]]
OnFrame = Callable[[Frame], Awaitable[None]]


class Hooks(Protocol):
    """What a module may ask for, and what it may do. Every method may be called from every thread.

    What is asked for is called in the module's own event loop.
    """

    def on_event(self, call: OnEvent, *types: str) -> None:
        """Call it with every event of these types, all without any, one after the other."""

    def on_message(self, call: OnMessage) -> None:
        """Call it before a chat message, or its new text, is stored; it returns the text to send instead.

        None leaves it as it is. It raises `Refused` for what shall not be sent. Where it fails, as it
        does with a text that nobody could have sent, the message goes out as it was.
        """

    def on_data(self, call: OnData, *topics: str) -> None:
        """Call it with messages of data channels, of these topics or of all; if it is slow the oldest go."""

    def on_frame(self, call: OnFrame, *, source: str = "camera", fps: float = 2.0) -> None:
        """Call it with decoded pictures of this source, at most `fps` a second of each publication.

        They are decoded off the event loop (VP8, VP9, H.264), in the smallest layer; a slow one misses some.
        """

    def judge_state(self, judge: Judge) -> None:
        """Decide about changes of the shared state, at once: it is no coroutine. The last one rules.

        It alone is called in the server's thread: it must not block, and shares data with care.
        """

    async def say(self, room: str, text: str, *, name: str = "Server") -> int:
        """Write into a room's chat; returns the message's number. Raises `RequestError`."""

    def act(self, room: str, message: Mapping[str, Any], *, name: str = "Server") -> None:
        """Do what a message of docs/protocol.md asks, like `{"type": "mute_all"}`. Raises `RequestError`."""

    def state(self, room: str) -> Mapping[str, Entry]:
        """The shared state as it is now. Raises `RequestError` `not_found`: the room is not open."""

    def set_state(
        self, room: str, key: str, value: Any, *, if_version: int | None = None, name: str = "Server"
    ) -> int:
        """Give a key of the shared state a value, asking no judge; returns its version.

        Only at `if_version`, where it is given (0: a key that is not there). Raises `RequestError`.
        """

    def delete_state(
        self, room: str, key: str, *, if_version: int | None = None, name: str = "Server"
    ) -> int:
        """Take a key away, like `set_state`; returns the change's version."""

    def alarm(self, room: str, data: Mapping[str, Any], *, text: str = "") -> None:
        """Tell an event of type `alarm`: to webhooks, the audit log and extensions.

        With `text` everybody in the room is shown that. Raises `RequestError` for what is not JSON.
        """
