"""People who keep the control plane of a server at work until the input ends: they chat, and come and go.

Ten stay and write two messages a second each; four a second come over a WebSocket and leave again; one after
the other comes with media of their own (DTLS, ICE, a published track), one a second at most. Told at the end
is how many messages and joins that were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

sys.path[:0] = [str(Path(__file__).parents[2] / "clients")]

from sfu_client import AudioSource, Room

STAY = 10
MESSAGE_S = 0.5
COME_S = 0.25
PUBLISH_S = 1.0
ROOM = "people"


async def join(http: aiohttp.ClientSession, url: str, name: str) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(url + "/signal")
    await socket.send_json({"type": "join", "id": 0, "version": 1, "room": ROOM, "name": name})
    joined = await socket.receive_json()
    if joined["type"] != "joined":
        raise RuntimeError(f"not let in: {joined}")
    return socket


async def stay(http: aiohttp.ClientSession, url: str, name: str, done: Counter[str]) -> None:
    socket = await join(http, url, name)

    async def listen() -> None:
        async for _ in socket:
            pass

    listening = asyncio.create_task(listen())
    try:
        while not listening.done():
            done["messages"] += 1
            await socket.send_json({"type": "chat", "id": done["messages"], "text": f"from {name}"})
            await asyncio.sleep(MESSAGE_S)
        raise RuntimeError("sent away")
    finally:
        listening.cancel()


async def come_and_go(http: aiohttp.ClientSession, url: str, done: Counter[str]) -> None:
    while True:
        await (await join(http, url, "passing")).close()
        done["joins"] += 1
        await asyncio.sleep(COME_S)


async def publish_and_go(url: str, done: Counter[str]) -> None:
    while True:
        async with Room.connect(url, ROOM, name="publishing", auto_subscribe=False) as room:
            await room.publish(AudioSource())
        done["joins with media"] += 1
        await asyncio.sleep(PUBLISH_S)


async def work(url: str) -> dict[str, Any]:
    done: Counter[str] = Counter()
    async with aiohttp.ClientSession() as http:
        tasks = [asyncio.create_task(stay(http, url, f"person {number}", done)) for number in range(STAY)]
        tasks += [
            asyncio.create_task(come_and_go(http, url, done)),
            asyncio.create_task(publish_and_go(url, done)),
        ]
        reading = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.wait([*tasks, reading], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return dict(done)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1]))))
