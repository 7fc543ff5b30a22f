"""Publishes pictures and sound made with NumPy: plasma, and a tone that follows it.

python clients/examples/numpy_animation.py http://localhost:7880 demo
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time

import numpy as np

from sfu_client import AudioSource, Room, VideoSource

WIDTH, HEIGHT, FPS = 640, 360, 25
RATE = 48_000


def draw(video: VideoSource, stopped: threading.Event) -> None:
    """Push pictures until stopped; `push` may be called from any thread."""
    rows = np.linspace(0, 4, HEIGHT, dtype=np.float32)[:, None]
    columns = np.linspace(0, 7, WIDTH, dtype=np.float32)[None, :]
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    while not stopped.wait(1 / FPS):
        now = np.float32(time.monotonic() % 1000)
        waves = np.sin(columns + now) + np.sin(rows * 2 - now * 1.3) + np.sin(columns + rows + now)
        for channel, phase in enumerate((0.0, 2.1, 4.2)):
            picture[..., channel] = 127 + 42 * (waves + np.sin(phase + now))
        video.push(picture)


def play(audio: AudioSource, stopped: threading.Event) -> None:
    """Push a tenth of a second of sound at a time."""
    phase, block = 0.0, RATE // 10
    while not stopped.wait(0.02):
        if audio.buffered_s > 0.2:
            continue
        hertz = 220 + 60 * np.sin(time.monotonic())
        angles = phase + np.arange(1, block + 1) * 2 * np.pi * hertz / RATE
        phase = float(angles[-1] % (2 * np.pi))
        audio.push(0.05 * np.sin(angles))


async def main(url: str, name: str) -> None:
    video, audio = VideoSource(WIDTH, HEIGHT, FPS), AudioSource(RATE)
    stopped = threading.Event()
    threads = [
        threading.Thread(target=draw, args=(video, stopped)),
        threading.Thread(target=play, args=(audio, stopped)),
    ]
    for thread in threads:
        thread.start()
    try:
        async with Room.connect(url, name, name="Plasma", auto_subscribe=False) as room:
            await room.publish(video, source="other", name="plasma")
            await room.publish(audio, source="other", name="tone")
            print(await room.wait_closed())
    finally:
        stopped.set()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
