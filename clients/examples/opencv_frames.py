"""Somebody's camera as OpenCV pictures: finds edges and tells how fast it goes.

python clients/examples/opencv_frames.py http://localhost:7880 demo

However slow `look_at` is, it always gets the newest frame: delay never builds up. It runs in a thread, so
that it never holds up the network.
"""

from __future__ import annotations

import asyncio
import sys
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from sfu_client import ClosedError, Room


def look_at(picture: NDArray[np.uint8]) -> float:
    """Share of the picture that is edges; put your own work here."""
    edges = cv2.Canny(picture, 80, 160)
    return float((edges > 0).mean())


async def main(url: str, name: str) -> None:
    async with Room.connect(url, name, name="OpenCV") as room:
        while True:  # a new track after every reconnection
            track = await room.wait_for_track(kind="video")
            print(f"watching {track.participant.name}")
            began, seen = time.monotonic(), 0
            async for frame in track:
                picture = frame.to_ndarray(format="bgr24")
                edges = await asyncio.to_thread(look_at, picture)
                seen += 1
                rate = seen / (time.monotonic() - began)
                print(f"{frame.width}x{frame.height}  {edges:6.2%} edges  {rate:5.1f} a second", end="\r")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClosedError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
