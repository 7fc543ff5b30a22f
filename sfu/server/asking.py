"""Chat messages that somebody is asked about first: who extends the server may change or refuse them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from sfu.errors import RequestError
from sfu.extensions import Message
from sfu.ids import RoomName
from sfu.room.model import Participant
from sfu.server.chat import Answer
from sfu.server.requests import Chat, ChatEdit

AskFirst = Callable[[Message, int, Callable[[str], None], Callable[[RequestError], None]], bool]
"""Whether somebody is asked about a chat message first; then the first callback follows with its text, of at
least as many characters as the number says, or the second."""


class Asking:
    """`first` asks; until it is set, nobody is asked."""

    def __init__(self) -> None:
        self.first: AskFirst = lambda message, shortest, go_on, refuse: False

    def sent(
        self,
        room: RoomName,
        sender: Participant,
        request: Chat | ChatEdit,
        go_on: Callable[[Chat | ChatEdit], None],
        answer: Answer,
    ) -> bool:
        """Whether somebody is asked; then `go_on` follows with what the request has become, or a refusal."""
        new = request if isinstance(request, Chat) else None
        message = Message(
            room=room,
            participant=sender.id,
            identity=sender.identity,
            name=sender.name,
            text=request.text,
            to=new.to if new else None,
        )
        shortest = 0 if new and new.file else 1
        return self.first(message, shortest, lambda text: go_on(replace(request, text=text)), answer)

    async def agreed(self, message: Message) -> str:
        """The text that becomes of a message. Raises `RequestError` where it is refused."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def go_on(text: str) -> None:
            if not done.done():
                done.set_result(text)

        def refuse(error: RequestError) -> None:
            if not done.done():
                done.set_exception(error)

        return await done if self.first(message, 1, go_on, refuse) else message.text
