"""Simulcast of the Python client through the real server: sizes follow the viewers' wishes."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator

import av
import pytest
from sfu_stand_in import StandIn
from test_client_server import DEADLINE_S, moving_picture, settings

from sfu.server.app import Server
from sfu_client import Room, events
from sfu_client.capture.synthetic import ToneSource
from sfu_client.commands import camera
from sfu_client.tracks import FrameStream

LARGE, SMALL = (320, 180), (160, 90)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = await Server.start(settings())
    yield running
    await running.stop("test over")


async def until_size(frames: FrameStream[av.VideoFrame], size: tuple[int, int]) -> av.VideoFrame:
    async for frame in frames:
        if (frame.width, frame.height) == size:
            return frame
    raise AssertionError("the track has ended")


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_viewers_get_the_size_they_wish(server: Server, codec: str) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera", auto_subscribe=False) as publisher,
        Room.connect(server.http_url, "r", name="viewer") as viewer,
        Room.connect(server.http_url, "r", name="other") as other,
    ):
        await publisher.publish(picture, codec=codec, simulcast=True)
        track = await viewer.wait_for_track(kind="video")
        assert track.publication.simulcast
        frames = track.frames(latest=False, capacity=100)
        whole = (await other.wait_for_track(kind="video")).frames()
        await until_size(frames, LARGE)
        await viewer.subscribe([track.publication], width=SMALL[0], height=SMALL[1])
        await until_size(frames, SMALL)
        await viewer.subscribe([track.publication], width=0, height=0)
        await until_size(frames, LARGE)
        shown = await anext(whole)
        assert (shown.width, shown.height) == LARGE


async def test_an_m_line_is_used_with_and_without_simulcast_in_turn(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera", auto_subscribe=False) as publisher,
        Room.connect(server.http_url, "r", name="viewer") as viewer,
    ):
        for simulcast in (True, False, True):
            changes = viewer.events()
            publication = await publisher.publish(picture, simulcast=simulcast)
            track = await viewer.wait_for_track(kind="video")
            assert track.publication.simulcast is simulcast
            frames = track.frames(latest=False, capacity=100)
            await until_size(frames, LARGE)
            if simulcast:
                await viewer.subscribe([track.publication], width=SMALL[0], height=SMALL[1])
                await until_size(frames, SMALL)
            await publisher.unpublish(publication)
            async for event in changes:
                if isinstance(event, events.TrackEnded):
                    break


async def test_simulcast_is_published_again_after_a_restart_of_the_server(server: Server) -> None:
    port = server.http_url.rpartition(":")[2]
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera", auto_subscribe=False) as publisher,
        Room.connect(server.http_url, "r", name="viewer") as viewer,
    ):
        await publisher.publish(picture, simulcast=True)
        track = await viewer.wait_for_track(kind="video")
        await until_size(track.frames(latest=False, capacity=100), LARGE)
        changes = viewer.events()
        await server.stop("restart")
        again = await Server.start(settings(server__port=port))
        try:
            async for event in changes:
                if isinstance(event, events.TrackSubscribed):
                    break
            track = await viewer.wait_for_track(kind="video")
            frames = track.frames(latest=False, capacity=100)
            await until_size(frames, LARGE)
            await viewer.subscribe([track.publication], width=SMALL[0], height=SMALL[1])
            await until_size(frames, SMALL)
            await publisher.close()
            await viewer.close()
        finally:
            await again.stop("test over")


async def test_a_server_without_simulcast_gets_the_large_encoding() -> None:
    stand_in = StandIn()
    await stand_in.start()
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            moving_picture() as picture,
            Room.connect(stand_in.url, "r", name="camera") as publisher,
            Room.connect(stand_in.url, "r") as viewer,
        ):
            await publisher.publish(picture, simulcast=True)
            track = await viewer.wait_for_track(kind="video")
            await until_size(track.frames(latest=False, capacity=100), LARGE)
    finally:
        await stand_in.stop()


async def test_only_video_has_simulcast(server: Server) -> None:
    async with Room.connect(server.http_url, "r") as room:
        with pytest.raises(ValueError, match="simulcast"):
            await room.publish(ToneSource(), simulcast=True)


async def test_the_camera_command_sends_both_sizes(server: Server) -> None:
    parser = argparse.ArgumentParser()
    camera.configure(parser)
    where = ["--server", server.http_url, "--room", "r"]
    args = parser.parse_args(["synthetic", "--size", "320x180", "--simulcast", *where])
    async with asyncio.timeout(DEADLINE_S), Room.connect(server.http_url, "r") as viewer:
        publishing = asyncio.create_task(camera.run(args))
        try:
            track = await viewer.wait_for_track(kind="video")
            frames = track.frames(latest=False, capacity=100)
            await until_size(frames, LARGE)
            await viewer.subscribe([track.publication], width=SMALL[0], height=SMALL[1])
            await until_size(frames, SMALL)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
    args = parser.parse_args(["clip.mp4", "--copy", "--simulcast", *where])
    assert await camera.run(args) == os.EX_USAGE
