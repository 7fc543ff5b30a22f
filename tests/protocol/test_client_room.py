"""A Python client in a room: tracks, data, chat, and coming back after losses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from sfu_stand_in import StandIn

from sfu_client import AudioSource, RefusedError, Room, UnavailableError, VideoSource, events

DEADLINE_S = 20


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@asynccontextmanager
async def moving_picture(source: VideoSource, width: int = 320, height: int = 240) -> AsyncIterator[None]:
    """A bright square that goes round, pushed 20 times a second."""

    async def push() -> None:
        number = 0
        while True:
            picture = np.full((height, width, 3), 30, np.uint8)
            left = number * 8 % (width - 40)
            picture[100:140, left : left + 40] = (0, 200, 255)
            source.push(picture)
            number += 1
            await asyncio.sleep(0.05)

    task = asyncio.create_task(push())
    try:
        yield
    finally:
        task.cancel()


async def test_frames_pushed_by_one_are_iterated_by_the_other(server: StandIn) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "r", name="a") as a,
        Room.connect(server.url, "r", name="b") as b,
    ):
        source = VideoSource(320, 240, 20)
        async with moving_picture(source):
            await a.publish(source)
            track = await b.wait_for_track(kind="video", participant="a")
            seen = 0
            async for frame in track:
                assert (frame.width, frame.height) == (320, 240)
                seen += 1
                if seen == 10:
                    break
            assert frame.to_ndarray(format="bgr24").max() > 150
    assert server.members == {}


async def test_sound_arrives(server: StandIn) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "r", name="a") as a,
        Room.connect(server.url, "r", name="b") as b,
    ):
        source = AudioSource(48_000, 1, buffer_s=5)
        source.push((np.sin(np.arange(48_000 * 4) * 0.0576) * 12_000).astype(np.int16))
        await a.publish(source)
        track = await b.wait_for_track(kind="audio")
        async for frame in track:
            if np.abs(frame.to_ndarray()).max() > 6_000:
                break


async def test_data_and_chat(server: StandIn) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "r", name="a") as a,
        Room.connect(server.url, "r", name="b") as b,
    ):
        incoming = b.events()
        await b.send("warm-up")
        await a.send("hello", topic="greeting", to=[b.me.id])
        await a.send(b"\x00\x01", reliable=False)
        data = [event async for event in _first(incoming, events.DataReceived, 2)]
        assert {(item.data, item.topic, item.reliable) for item in data} == {
            ("hello", "greeting", True),
            (b"\x00\x01", "", False),
        }
        assert {item.sender_id for item in data} == {a.me.id}
        sent = await a.chat("good day")
        [said] = [event async for event in _first(incoming, events.ChatReceived, 1)]
        assert said.message.text == "good day"
        assert a.chat_history == [sent]


async def _first(stream: events.EventStream, kind: type, count: int) -> AsyncIterator[events.Event]:
    async for event in stream:
        if isinstance(event, kind):
            yield event
            count -= 1
            if not count:
                return


async def test_a_dropped_websocket_is_resumed_without_touching_media(server: StandIn) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "r", name="a") as a,
        Room.connect(server.url, "r", name="b") as b,
    ):
        source = VideoSource(fps=20)
        async with moving_picture(source):
            await a.publish(source)
            track = await b.wait_for_track(kind="video")
            frames = aiter(track)
            await anext(frames)
            changes, who = b.events(), b.me.id
            await server.drop_sockets()
            [back] = [event async for event in _first(changes, events.Connected, 1)]
            assert back == events.Connected(resumed=True)
            assert b.me.id == who
            for _ in range(5):
                await anext(frames)
            assert not track.ended


async def test_after_a_restart_of_the_server_everything_is_there_again(server: StandIn) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "r", name="a") as a,
        Room.connect(server.url, "r", name="b") as b,
    ):
        source = VideoSource(fps=20)
        async with moving_picture(source):
            publication = await a.publish(source)
            track = await b.wait_for_track(kind="video")
            await anext(aiter(track))
            first_id = publication.id
            changes = b.events()
            await server.stop()
            await server.start()
            [back] = [event async for event in _first(changes, events.Connected, 1)]
            assert back == events.Connected(resumed=False)
            again = await b.wait_for_track(kind="video", participant="a")
            assert again is not track
            assert track.ended
            await anext(aiter(again))
            assert publication.id != first_id


async def test_unpublishing_ends_the_track_and_its_m_line_is_used_again(server: StandIn) -> None:
    async with asyncio.timeout(DEADLINE_S), Room.connect(server.url, "r", name="a") as a:
        first, second = VideoSource(fps=20), VideoSource(fps=20)
        publication = await a.publish(first)
        await a.unpublish(publication)
        await server.wait_for("unpublish")
        async with moving_picture(second):
            await a.publish(second)
            [offer] = [item for item in server.requests if item["type"] == "offer"][-1:]
            assert offer["sdp"].count("m=video") == 1
            async with Room.connect(server.url, "r", name="b") as b:
                await anext(aiter(await b.wait_for_track(kind="video")))


async def test_a_function_decides_what_is_subscribed(server: StandIn) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.url, "r", name="a") as a,
        Room.connect(server.url, "r", name="b", auto_subscribe=lambda item: item.source == "screen") as b,
    ):
        camera, screen = VideoSource(fps=20), VideoSource(fps=20)
        async with moving_picture(camera), moving_picture(screen):
            await a.publish(camera)
            await a.publish(screen, source="screen")
            track = await b.wait_for_track()
            assert track.source == "screen"
            await anext(aiter(track))
            assert len(b.tracks) == 1


async def test_refusals(server: StandIn) -> None:
    server.refuse["join"] = "bad_token"
    with pytest.raises(RefusedError) as refused:
        async with Room.connect(server.url, "r", keep_trying=True):
            pass
    assert refused.value.code == "bad_token"
    assert refused.value.permanent


async def test_a_token_that_expired_ends_the_room(server: StandIn) -> None:
    async with asyncio.timeout(DEADLINE_S), Room.connect(server.url, "r") as room:
        server.refuse["join"] = "token_expired"
        await server.drop_sockets()
        assert (await room.wait_closed()).code == "token_expired"
        with pytest.raises(Exception, match="token_expired"):
            await room.chat("anybody there?")


async def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(UnavailableError):
        async with Room.connect("http://127.0.0.1:9", "r"):
            pass


async def test_nothing_is_left_behind(server: StandIn) -> None:
    before = asyncio.all_tasks()
    for _ in range(3):
        async with asyncio.timeout(DEADLINE_S), Room.connect(server.url, "r") as room:
            await room.publish(VideoSource(fps=5))
    rest = asyncio.all_tasks() - before
    if rest:
        _, pending = await asyncio.wait(rest, timeout=DEADLINE_S)
        assert not pending
