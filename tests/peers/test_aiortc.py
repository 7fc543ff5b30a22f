"""aiortc's own peer connections, as a program has them that knows nothing of this server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from browser import until
from live_peers import LivePeer, Picture, Tone
from server_process import ServerProcess
from signalling import Signal

PUBLISHERS = 3
LEAST_FRAMES = 50


class PlainPeer(LivePeer):
    """Takes every description as it comes, and counts decoded frames."""

    def __init__(self, signal: Signal, policy: RTCBundlePolicy) -> None:
        self._policy = policy
        self.frames: dict[MediaStreamTrack, int] = {}
        self._counting: list[asyncio.Task[None]] = []
        super().__init__(signal)

    def connection(self) -> RTCPeerConnection:
        return RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=self._policy))

    def adapted(self, sdp: str) -> str:
        return sdp

    def least_of(self, kind: str) -> int:
        """Frames of the track of this kind that has brought fewest, 0 while there are fewer than three."""
        counts = [count for track, count in self.frames.items() if track.kind == kind]
        return min(counts) if len(counts) == PUBLISHERS else 0

    async def close(self) -> None:
        for task in self._counting:
            task.cancel()
        await super().close()

    def _watch(self, pc: RTCPeerConnection) -> None:
        pc.on("track", lambda track: self._counting.append(asyncio.create_task(self._count(track))))

    async def _count(self, track: MediaStreamTrack) -> None:
        self.frames[track] = 0
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.frames[track] += 1


@pytest_asyncio.fixture(loop_scope="session", params=list(RTCBundlePolicy), ids=lambda policy: policy.value)
async def peers(
    request: pytest.FixtureRequest, server: ServerProcess, room: str
) -> AsyncIterator[list[PlainPeer]]:
    """One who watches, and three who publish."""
    async with aiohttp.ClientSession() as http, contextlib.AsyncExitStack() as stack:
        made: list[PlainPeer] = []
        for name in ("Ben", "Ann", "Cem", "Dan")[: PUBLISHERS + 1]:
            socket = await stack.enter_async_context(http.ws_connect(f"{server.url}/signal"))
            signal = Signal(socket)
            await signal.join(room, name, wants={"subscribe": not made})
            made.append(PlainPeer(signal, request.param))
            stack.push_async_callback(made[-1].close)
        yield made


async def test_three_who_publish_are_all_seen_and_heard(peers: list[PlainPeer]) -> None:
    viewer, *publishers = peers
    wanted: set[str] = set()
    carried: set[str] = set()
    for count, publisher in enumerate(publishers, 1):
        answered = await publisher.publish((Picture(), "camera"), (Tone(), "microphone"))
        wanted |= {entry["publication"] for entry in answered}
        while count > 1 and not wanted <= carried:
            # Two are there when the viewer first answers; for the third it negotiates anew.
            carried = {entry["publication"] for entry in (await viewer.answer())["media"]}

    async def seen_and_heard() -> bool:
        return min(viewer.least_of("video"), viewer.least_of("audio")) >= LEAST_FRAMES

    await until(seen_and_heard, f"{LEAST_FRAMES} frames of each of {viewer.frames}", 60)
