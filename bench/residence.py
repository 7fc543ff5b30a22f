"""What participants cost by being there: memory and tasks after 200 joins and leaves, CPU of 50 idle ones.

python bench/residence.py --json artifacts/residence.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "clients")]

from server_process import running

from sfu_client import Room

TICKS_PER_S = 100


def resident_kib(pid: int) -> int:
    """Resident memory of a process, KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def cpu_s(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def join_and_leave(url: str, times: int, at_once: int = 4) -> None:
    """`times` participants come, open their publish transport, and go, `at_once` at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with gate, Room.connect(url, "bench", name=f"guest {number}"):
            pass

    await asyncio.gather(*(one(number) for number in range(times)))


async def measure(joins: int, idle: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder), "limits.sessions_per_address=1000") as server:
            pid = server.process.pid
            await join_and_leave(server.url, joins)
            first = resident_kib(pid)
            await join_and_leave(server.url, joins)
            second = resident_kib(pid)
            async with contextlib.AsyncExitStack() as stack:
                for number in range(idle):
                    await stack.enter_async_context(Room.connect(server.url, "bench", name=f"idle {number}"))
                await asyncio.sleep(2)
                began, used = time.monotonic(), cpu_s(pid)
                await asyncio.sleep(seconds)
                share = (cpu_s(pid) - used) / (time.monotonic() - began)
    return {
        "joins": joins,
        "growth_kib_per_join": (second - first) / joins,
        "resident_mib": second / 1024,
        "idle_participants": idle,
        "idle_cpu_percent": share * 100,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--joins", type=int, default=200)
    parser.add_argument("--idle", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path, help="also write the result here")
    args = parser.parse_args()
    result = asyncio.run(measure(args.joins, args.idle, args.seconds))
    table = Table("what", "value")
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:.2f}")
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
