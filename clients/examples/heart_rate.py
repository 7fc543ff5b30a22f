"""A monitor that sends a pulse: see it as a plot on the page, with an alarm when it rises.

python clients/examples/heart_rate.py --server http://localhost:7880 --room demo
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time

from sfu_client import Room, Series

PULSE = Series(name="heart_rate", title="Pulse", unit="1/min", low=50, high=110, hysteresis=5, silent_s=5)


def pulse(seconds: float) -> float:
    """A pulse that rises every minute."""
    return round(80 + 35 * max(0.0, math.sin(seconds * math.tau / 60)) + math.sin(seconds * 3), 1)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default="http://localhost:7880")
    parser.add_argument("--room", default="demo")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long")
    arguments = parser.parse_args()
    async with Room.connect(
        arguments.server, arguments.room, name="Monitor", role="device", auto_subscribe=False
    ) as room:
        await room.telemetry.declare(PULSE)
        started = time.monotonic()
        while time.monotonic() - started < arguments.seconds:
            await room.telemetry.send({PULSE.name: pulse(time.monotonic() - started)})
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main())
