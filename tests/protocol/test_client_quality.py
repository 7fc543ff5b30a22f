"""Why is my video bad: the typed statistics of the Python client, from the real server."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from test_client_server import DEADLINE_S, moving_picture, settings

from sfu.server.app import Server
from sfu_client import Layer, Room, SubscriptionQuality
from sfu_client.capture.synthetic import ToneSource
from sfu_client.commands import view


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = await Server.start(settings())
    yield running
    await running.stop("test over")


async def quality(room: Room, reason: str) -> SubscriptionQuality:
    """Of the one video, once the server gives that reason."""
    while True:
        for item in await room.stats():
            if item.publication.kind == "video" and item.reason == reason and item.rtt_ms is not None:
                return item
        await asyncio.sleep(0.1)


async def test_a_subscription_says_what_arrives_and_why_not_more(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="Gate", auto_subscribe=False) as gate,
        Room.connect(server.http_url, "r") as viewer,
    ):
        await asyncio.gather(gate.publish(picture, simulcast=True), gate.publish(ToneSource()))
        track = await viewer.wait_for_track(kind="video")
        await viewer.wait_for_track(kind="audio")
        whole = await quality(viewer, "source")
        assert (whole.participant.name, whole.publication.source) == ("Gate", "camera")
        assert (whole.lost, whole.fraction_lost) == (0, 0)
        assert whole.rtt_ms is not None
        assert whole.rtt_ms >= 0
        await viewer.subscribe([track.publication], width=160, height=90)
        small = await quality(viewer, "size")
        while small.rid != "h":
            small = await quality(viewer, "size")
        assert small.current == Layer(0, 0)
        await viewer.subscribe([track.publication], paused=True)
        rests = await quality(viewer, "client")
        assert rests.target is None
        assert {item.publication.kind for item in await viewer.stats()} == {"audio", "video"}
        assert await gate.stats() == []


async def test_the_view_command_tells_it_on_standard_error(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    view.configure(parser)
    where = ["--server", server.http_url, "--room", "r"]
    args = parser.parse_args(["--stats", "--raw", os.devnull, *where])
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="Gate", auto_subscribe=False) as gate,
    ):
        await gate.publish(picture)
        viewing = asyncio.create_task(view.run(args))
        try:
            said = ""
            while "Gate camera: layer 0.0 at " not in said:
                await asyncio.sleep(0.1)
                said += capsys.readouterr().err
        finally:
            viewing.cancel()
            await asyncio.gather(viewing, return_exceptions=True)
    assert "loss 0.0%" in said
