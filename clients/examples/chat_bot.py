"""A bot that greets, answers chat and says who is here. It receives no media.

python clients/examples/chat_bot.py http://localhost:7880 demo
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sys

from sfu_client import ChatMessage, ClientError, Room
from sfu_client.events import ChatReceived, DataReceived, ParticipantJoined


def answer(room: Room, message: ChatMessage) -> str | None:
    """What to say to `message`, None for nothing."""
    words = message.text.strip().lower()
    if words == "!time":
        return f"It is {datetime.datetime.now():%H:%M:%S}."
    if words == "!who":
        names = sorted(participant.name for participant in room.participants.values())
        return f"Here are {', '.join(names)} and me."
    if words.startswith("!"):
        return "I know !time and !who."
    return None


async def main(url: str, name: str) -> None:
    async with Room.connect(url, name, name="Bot", auto_subscribe=False) as room:
        async for event in room.events():
            try:
                match event:
                    case ParticipantJoined(participant):
                        await room.chat(f"Welcome, {participant.name}!", to=participant.id)
                    case ChatReceived(message):
                        text = answer(room, message)
                        if text is not None:
                            await room.chat(text, to=message.sender_id if message.to else None)
                    case DataReceived(data, topic, sender):
                        await room.send(data, topic=f"echo/{topic}", to=[sender])
            except ClientError as error:  # refused, or away for a moment
                print(error)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
