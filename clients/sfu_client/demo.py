"""A synthetic participant, so that whoever comes first is not alone."""

from __future__ import annotations

import asyncio
import contextlib

from sfu_client.capture.synthetic import SyntheticGrabber, ToneSource
from sfu_client.capture.video import VideoCapture
from sfu_client.room import Room

SIZE = (640, 360)
FPS = 25.0
BITRATE_BPS = 600_000


async def publish_demo(
    url: str, room: str, *, name: str, token: str | None = None, stop: asyncio.Event
) -> None:
    """Publish a moving picture and a quiet tone in `room` until `stop` is set.

    Comes back by itself after losses. Raises `RefusedError` when the server refuses for good, and
    `ClosedError` when the participant is removed.
    """
    picture = VideoCapture("synthetic", lambda: SyntheticGrabber(SIZE, FPS), fps=FPS)
    picture.start()
    stopping = asyncio.ensure_future(stop.wait())
    working = asyncio.ensure_future(_stay(url, room, name, token, picture))
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (stopping, working):
            task.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await picture.close()


async def _stay(url: str, room: str, name: str, token: str | None, picture: VideoCapture) -> None:
    async with Room.connect(
        url, room, name=name, token=token, insecure=True, auto_subscribe=False, keep_trying=True
    ) as joined:
        await asyncio.gather(
            joined.publish(picture.track, bitrate_bps=BITRATE_BPS), joined.publish(ToneSource())
        )
        raise await joined.wait_closed()
