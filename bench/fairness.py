"""What a bystander in another room feels while one student, or several, ask for what is dear.

    python bench/fairness.py --json artifacts/fairness.json

The server runs in a process of its own, each attacker as well. Attackers have ordinary tokens and stay
within the rates: they fill a whiteboard and ask for it, send the largest offers, read long pages of the chat,
search, or join again and again. Meanwhile somebody pings in another room, others join rooms of their own, and
two Python clients meet: one waits for the first sound of the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "clients")]

from server_process import start

from sfu.sdp.model import MAX_ATTRIBUTES, MAX_OFFERED
from sfu.server import tokens
from sfu_client import AudioSource, Room

KEY, SECRET = "app", "s" * 32
LONG = "\U0001f600" * 4000
AIMS = {"ping_p99_ms": 50.0, "join_s": 0.5, "audio_s": 1.0}


def token(identity: str, room: str) -> str:
    now_s = int(time.time()) - 1
    return tokens.mint(KEY, SECRET, identity=identity, room=room, now_s=now_s, ttl_s=3600)


class Session:
    """One WebSocket that asks one thing at a time, or many without looking at the answers."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._http = http
        self.socket = socket

    @classmethod
    async def join(cls, url: str, identity: str, room: str) -> Session:
        http = aiohttp.ClientSession()
        socket = await http.ws_connect(url + "/signal", compress=15, max_msg_size=0)
        session = cls(http, socket)
        credential = token(identity, room)
        await session.ask(type="join", version=1, room=room, name=identity, token=credential)
        return session

    async def ask(self, **members: Any) -> dict[str, Any]:
        await self.socket.send_json({"id": 1, **members})
        while True:
            answer: dict[str, Any] = await self.socket.receive_json(timeout=60)
            if answer.get("id") == 1:
                return answer

    async def close(self) -> None:
        await self.socket.close()
        await self._http.close()


def offer() -> dict[str, Any]:
    """An offer of as many m-lines and attributes as are taken."""
    lines = range(MAX_OFFERED)
    text = (
        f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {' '.join(map(str, lines))}\r\n"
        f"a=ice-ufrag:abcd\r\na=ice-pwd:{'x' * 24}\r\na=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\n"
        "a=setup:actpass\r\n"
    )
    more = "".join(f"a=ssrc:{n} x\r\n" for n in range(MAX_ATTRIBUTES // MAX_OFFERED - 12))
    for mid in lines:
        text += (
            f"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:{mid}\r\na=sendonly\r\na=rtcp-mux\r\n"
            "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" + more
        )
    media = [{"mid": str(mid), "source": "camera"} for mid in lines]
    return {"type": "offer", "sdp": text, "media": media}


async def prepare(session: Session, attack: str) -> dict[str, Any]:
    """Fill what is asked for, and return the request."""
    if attack == "board":
        for stroke in range(30):
            points = [[(stroke * 997 + n * 31) % 10_000, n * 7919 % 10_000] for n in range(2000)]
            await session.ask(type="draw", stroke=f"e{stroke}", color="#112233", width=9, points=points)
        return {"type": "board"}
    if attack in {"history", "search"}:
        for _ in range(100):
            await session.ask(type="chat", text=LONG)
        return {"type": "chat_history"} if attack == "history" else {"type": "chat_search", "text": "zzz"}
    return offer()


async def attacking(url: str, attack: str, identity: str, until_s: float) -> None:
    """Ask as often as a session may, and begin again when it is closed."""
    while time.time() < until_s:
        with suppress(Exception):
            session = await Session.join(url, identity, "attacked")
            try:
                if attack == "joins":
                    continue
                text = json.dumps({"id": 1, **await prepare(session, attack)})
                await one_session(session, text, until_s)
            finally:
                await session.close()


async def one_session(session: Session, text: str, until_s: float) -> None:
    async def read() -> None:
        async for _ in session.socket:
            pass

    reading = asyncio.create_task(read())
    # All that it may at once in one write, and then as much as it may.
    for _ in range(150 if len(text) < 1000 else 10):
        await session.socket.send_str(text)
    while time.time() < until_s and not session.socket.closed:
        await session.socket.send_str(text)
        await asyncio.sleep(1 / 48)
    reading.cancel()


def attacker(url: str, attack: str, identity: str, until_s: float) -> None:
    asyncio.run(attacking(url, attack, identity, until_s))


async def repeat(until_s: float, every_s: float, once: Callable[[int], Awaitable[None]]) -> list[float]:
    """How long each of them took, seconds; one that failed took for ever."""
    took: list[float] = []
    while time.time() < until_s:
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(60):
                await once(len(took))
            took.append(time.perf_counter() - began_s)
        except Exception:
            took.append(60.0)
        await asyncio.sleep(every_s)
    return took


async def first_sound(url: str, number: int) -> None:
    """Two meet in a room; the second one hears the first, who was there before it."""
    room = f"sound{number}"
    async with Room.connect(url, room, name="b", token=token("b", room)) as listener:
        source = AudioSource(48_000, 1)
        async with Room.connect(url, room, name="a", token=token("a", room)) as speaker:

            async def speak() -> None:
                while True:
                    source.push(np.zeros((960, 1), np.int16))
                    await asyncio.sleep(0.02)

            speaking = asyncio.create_task(speak())
            try:
                await speaker.publish(source)
                track = await listener.wait_for_track(kind="audio", participant="a")
                async for _ in track:
                    break
            finally:
                speaking.cancel()


async def felt(url: str, seconds: float) -> dict[str, float]:
    """What a bystander in another room feels for so long."""
    until_s = time.time() + seconds
    bystander = await Session.join(url, "bystander", "quiet")

    async def ping(number: int) -> None:
        await bystander.ask(type="ping", t=number)

    async def join(number: int) -> None:
        await (await Session.join(url, f"new{number}", f"new{number}")).close()

    pings, joins, sounds = await asyncio.gather(
        repeat(until_s, 0.02, ping),
        repeat(until_s, 0.3, join),
        repeat(until_s, 0.5, lambda number: first_sound(url, number)),
    )
    await bystander.close()
    pings.sort()
    return {
        "ping_median_ms": statistics.median(pings) * 1000,
        "ping_p99_ms": pings[int(len(pings) * 0.99)] * 1000,
        "join_s": max(joins),
        "audio_s": max(sounds),
    }


async def measure(attack: str, attackers: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        server = await start(Path(folder), f"auth.keys={KEY}:{SECRET}")
        try:
            await felt(server.url, 3)
            until_s = time.time() + seconds + 6
            processes = [
                multiprocessing.Process(target=attacker, args=(server.url, attack, f"eve{n}", until_s))
                for n in range(attackers)
            ]
            for process in processes:
                process.start()
            await asyncio.sleep(4 if processes else 0)
            found = await felt(server.url, seconds)
            for process in processes:
                process.terminate()
                process.join()
            return {"attack": attack, "attackers": attackers, **found}
        finally:
            await server.stop()


CASES = (
    ("idle", 0), ("board", 1), ("board", 5), ("offers", 1), ("history", 1), ("search", 12), ("joins", 4),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--case", action="append", help="only this: board, offers, history, search or joins")
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    table = Table("attack", "attackers", "ping median ms", "p99", "worst join s", "worst first audio s")
    results = []
    for attack, attackers in CASES:
        if args.case and attack not in {"idle", *args.case}:
            continue
        found = asyncio.run(measure(attack, attackers, args.seconds))
        results.append(found)
        table.add_row(
            attack, str(attackers), f"{found['ping_median_ms']:.1f}", f"{found['ping_p99_ms']:.1f}",
            f"{found['join_s']:.2f}", f"{found['audio_s']:.2f}",
        )  # fmt: skip
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps({"aims": AIMS, "cases": results}, indent=1))


if __name__ == "__main__":
    main()
