"""Telemetry into a room of 50 WebSockets: samples a second that are taken, told and stored.

python bench/telemetry.py --json artifacts/telemetry.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from server_process import ServerProcess, running
from signalling import Signal

DEVICES, VIEWERS, SECONDS = 10, 50, 10
SERIES, BATCHES_PER_S, SAMPLES = 5, 4, 10
"""Ten devices, each four times a second ten samples of each of five series: 2,000 samples a second."""


@dataclass(frozen=True)
class Row:
    """`told_share` is how many of the samples each viewer got; `cpu` the server's share of a core."""

    asked_per_s: float
    taken_per_s: float
    told_share: float
    stored_share: float
    cpu: float


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def watch(signal: Signal) -> int:
    """Count samples until the connection is closed."""
    got = 0
    async for frame in signal.socket:
        if frame.type is aiohttp.WSMsgType.TEXT:
            message = json.loads(frame.data)
            if message["type"] == "telemetry":
                got += len(message["samples"])
    return got


async def send(signal: Signal, until_s: float) -> int:
    names = [f"s{number}" for number in range(SERIES)]
    await signal.request("telemetry_declare", series=[{"name": name} for name in names])
    sent, due = 0, time.monotonic()
    while time.monotonic() < until_s:
        now_ms = time.time_ns() // 1_000_000
        samples = [[name, now_ms - number, number] for name in names for number in range(SAMPLES)]
        answer = await signal.request("telemetry", samples=samples)
        sent += len(samples) if answer["type"] == "ok" else 0
        due += 1 / BATCHES_PER_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return sent


async def measure(server: ServerProcess) -> Row:
    async with aiohttp.ClientSession() as http:

        async def join(name: str) -> Signal:
            signal = Signal(await http.ws_connect(server.url + "/signal"))
            await signal.join("r", name)
            return signal

        owner = await join("Owner")
        devices = [await join(f"device {number}") for number in range(DEVICES)]
        viewers = [await join(f"viewer {number}") for number in range(VIEWERS)]
        watching = [asyncio.create_task(watch(each)) for each in viewers]
        before, started = cpu_s(server.process.pid), time.monotonic()
        sent = sum(await asyncio.gather(*(send(each, started + SECONDS) for each in devices)))
        elapsed = time.monotonic() - started
        cpu = (cpu_s(server.process.pid) - before) / elapsed
        await asyncio.sleep(1)
        url = f"{server.url}/api/v1/rooms/r/telemetry?step_ms=86400000"
        headers = {"Authorization": f"Participant {owner.me}:{owner.joined['secret']}"}
        async with http.get(url, headers=headers) as answer:
            stored = sum(each["count"] for each in (await answer.json())["steps"])
        for each in viewers:
            await each.socket.close()
        got = await asyncio.gather(*watching)
    asked = DEVICES * SERIES * SAMPLES * BATCHES_PER_S
    told = sum(got) / VIEWERS / sent
    return Row(asked, round(sent / elapsed), round(told, 3), round(stored / sent, 3), round(cpu, 3))


async def run() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as server:
            return await measure(server)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    row = asyncio.run(run())
    table = Table(title=f"Telemetry of {DEVICES} devices for {VIEWERS} viewers, {SECONDS} s")
    for title in asdict(row):
        table.add_column(title, justify="right")
    table.add_row(*(str(value) for value in asdict(row).values()))
    Console().print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(asdict(row), indent=2) + "\n")


if __name__ == "__main__":
    main()
