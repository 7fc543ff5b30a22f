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


async def join(http: aiohttp.ClientSession, url: str, name: str) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(url + "/signal", compress=0)
    await socket.send_json({"type": "join", "id": 0, "version": 1, "room": "bench", "name": name})
    joined = await socket.receive_json(timeout=DEADLINE_S)
    assert joined["type"] == "joined", joined
    return socket


async def listen(url: str, people: int, expected: int, ready: Any, done: Any) -> None:
    """`people` who count what they are told; puts (received, lost, out of order) of each into `done`."""
    # The connector's own limit of 100 counts WebSockets too.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        sockets: list[aiohttp.ClientWebSocketResponse] = []

        async def stay() -> None:
            """Who is silent for long is disconnected."""
            while True:
                await asyncio.sleep(PING_S)
                for socket in list(sockets):
                    await socket.send_json({"type": "ping"})

        staying = asyncio.create_task(stay())
        for number in range(people):
            sockets.append(await join(http, url, f"listener {number}"))
        ready.put(people)

        async def count(socket: aiohttp.ClientWebSocketResponse) -> tuple[int, int]:
            received, disorder, last = 0, 0, 0
            while received < expected:
                message = await socket.receive_json(timeout=DEADLINE_S)
                if message["type"] == "chat":
                    number = message["message"]["id"]
                    disorder += number <= last
                    last = number
                    received += 1
            return received, disorder

        counted = await asyncio.gather(*(count(socket) for socket in sockets), return_exceptions=True)
        staying.cancel()
        for each in counted:
            done.put(each if isinstance(each, tuple) else (0, 0))


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
                        found = await messages.page(connection, "big", "ben", limit=100, before=before)
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
