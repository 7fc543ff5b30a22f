"""Chat: messages a second into a full room, told to everybody in order; and a page out of a million messages.

    python bench/chat.py --json artifacts/chat.json

The server, with its store on disk, runs in a process of its own; so do those who listen. Loss and disorder
are counted over every WebSocket.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from server_process import start

from sfu.store import messages
from sfu.store.messages import StoredMessage
from sfu.store.store import open_store

LIMITS = ("limits.messages_per_s=100000", "limits.message_burst=100000", "limits.sessions_per_address=10000")
DEADLINE_S = 300
PING_S = 5
BATCH = 5_000
CHAT = b'{"type":"chat","message":{"id":'


async def join(http: aiohttp.ClientSession, url: str, name: str) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(url + "/signal", compress=0)
    await socket.send_json({"type": "join", "id": 0, "version": 1, "room": "bench", "name": name})
    joined = await socket.receive_json(timeout=DEADLINE_S)
    assert joined["type"] == "joined", joined
    return socket


class Listener(asyncio.Protocol):
    """A WebSocket of few instructions: what is measured is the server, not its clients.

    It asks for no compression and reads each message's number where the server writes it.
    """

    def __init__(self, name: str, expected: int) -> None:
        self.received = self.disorder = 0
        self.joined = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()
        self._name = name
        self._expected = expected
        self._last = 0
        self._data = b""
        self._shaken = False
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(
            b"GET /signal HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def say(self, message: dict[str, Any]) -> None:
        """Mask with zeros, which leaves the text as it is."""
        text = json.dumps(message).encode()
        assert len(text) < 126
        self._transport.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        if not self._shaken:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._data = head
                return
            self._shaken = True
            self.say({"type": "join", "id": 0, "version": 1, "room": "bench", "name": self._name})
        at, end = 0, len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if end < start + max(length, 2):
                break
            self._message(data, start, start + length)
            at = start + length
        self._data = data[at:]

    def _message(self, data: bytes, start: int, end: int) -> None:
        if data.startswith(CHAT, start):
            number = int(data[start + len(CHAT) : data.index(b",", start + len(CHAT), end)])
            self.disorder += number <= self._last
            self._last = number
            self.received += 1
            if self.received == self._expected:
                self.done.set_result(None)
        elif not self.joined.done():
            self.joined.set_result(None)


async def listen(url: str, people: int, expected: int, ready: Any, done: Any) -> None:
    """`people` who count what they are told; puts (received, out of order) of each into `done`."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    listeners: list[Listener] = []

    async def stay() -> None:
        """Who is silent for long is disconnected."""
        while True:
            await asyncio.sleep(PING_S)
            for each in listeners:
                each.say({"type": "ping"})

    staying = asyncio.create_task(stay())
    for number in range(people):
        name = f"listener {number}"
        _, listener = await loop.create_connection(
            lambda name=name: Listener(name, expected), parts.hostname, parts.port
        )
        await asyncio.wait_for(listener.joined, DEADLINE_S)
        listeners.append(listener)
    ready.put(people)
    await asyncio.wait([each.done for each in listeners], timeout=DEADLINE_S)
    staying.cancel()
    for each in listeners:
        done.put((each.received, each.disorder))


def _listen(*arguments: Any) -> None:
    asyncio.run(listen(*arguments))


def cpu_s(process: int) -> float:
    """Seconds of CPU time that a process has used, in user and system mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def flood(people: int, per_s: int, seconds: int) -> dict[str, Any]:
    """One room: `people` in it, of whom four send `per_s` messages a second between them."""
    total, senders = per_s * seconds, 4
    context = multiprocessing.get_context("spawn")
    ready, done = context.Queue(), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        server = await start(Path(folder), *LIMITS)
        # A sender is not told of its own messages: listeners are the others.
        listeners = people - senders
        arguments = (server.url, listeners, total, ready, done)
        process = context.Process(target=_listen, args=arguments)
        process.start()
        await asyncio.to_thread(ready.get, True, DEADLINE_S)
        latencies: list[float] = []
        refused = 0
        async with aiohttp.ClientSession() as http:
            sockets = [await join(http, server.url, f"sender {number}") for number in range(senders)]
            begun, used = time.perf_counter(), cpu_s(server.process.pid)

            async def send(which: int) -> None:
                for number in range(total // senders):
                    due = begun + (number * senders + which) / per_s
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    sent_at[which].append(time.perf_counter())
                    text = {"type": "chat", "id": number + 1, "text": f"message {number} of {which}"}
                    await sockets[which].send_json(text)

            async def answers(which: int) -> None:
                nonlocal refused
                answered = 0
                while answered < total // senders:
                    message = await sockets[which].receive_json(timeout=DEADLINE_S)
                    if "id" in message:
                        answered += 1
                        refused += message["type"] != "ok"
                        latencies.append(time.perf_counter() - sent_at[which][message["id"] - 1])

            sent_at: list[list[float]] = [[] for _ in range(senders)]
            await asyncio.gather(*(work(which) for which in range(senders) for work in (send, answers)))
            counted = [await asyncio.to_thread(done.get, True, DEADLINE_S) for _ in range(listeners)]
            took, used = time.perf_counter() - begun, cpu_s(server.process.pid) - used
        process.join(10)
        await server.stop()
    received = sum(each[0] for each in counted)
    ordered = sorted(latencies)
    return {
        "participants": people,
        "asked_per_s": per_s,
        "messages": total,
        "refused": refused,
        "told": received,
        "lost": listeners * total - received,
        "out_of_order": sum(each[1] for each in counted),
        "seconds_until_all_were_told": round(took, 2),
        "reached_per_s": round(total / took, 1),
        "server_cpu_ms_per_message": round(used * 1000 / total, 3),
        "server_cpu_us_per_delivery": round(used * 1e6 / max(1, received), 2),
        "server_share_of_a_core": round(used / took, 3),
        "acknowledged_ms_median": round(statistics.median(ordered) * 1000, 1),
        "acknowledged_ms_p99": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
    }


def _message(number: int) -> StoredMessage:
    return StoredMessage(
        room="big", id=number, rev=number, sender="PA_ann", identity="ann", name="Ann", recipient=None,
        to_identity=None, text=f"message {number}: as long as people write on an ordinary day", mentions=(),
        file=None, sent_ms=number, edited_ms=None, deleted=False,
    )  # fmt: skip


async def page(count: int, repeats: int = 200) -> dict[str, Any]:
    """The last 100, and 100 out of the middle, of `count` messages."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_store("", Path(folder)) as store:
            for first in range(1, count + 1, BATCH):
                numbers = range(first, min(first + BATCH, count + 1))
                store.writes.submit([step for n in numbers for step in messages.added(_message(n))])
                await store.writes.flush()
            took: dict[str, list[float]] = {"last": [], "middle": []}
            for _ in range(repeats):
                for which, before in (("last", None), ("middle", count // 2)):
                    begun = time.perf_counter()
                    async with store.reading() as connection:
                        found = await messages.page(
                            connection, "big", "ben", limit=100, characters=10**6, before=before
                        )
                    took[which].append((time.perf_counter() - begun) * 1000)
                    assert len(found) == 100
    result: dict[str, Any] = {"messages": count}
    for which, times in took.items():
        times.sort()
        result[f"{which}_100_ms_median"] = round(statistics.median(times), 2)
        result[f"{which}_100_ms_p99"] = round(times[int(len(times) * 0.99)], 2)
    return result


async def run(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "room": await flood(args.people, args.per_s, args.seconds),
        "history": await page(args.stored),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--per-s", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = asyncio.run(run(args))
    for name, numbers in result.items():
        print(name)
        for key, value in numbers.items():
            print(f"  {key:32} {value}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
