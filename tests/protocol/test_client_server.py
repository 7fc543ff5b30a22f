"""The Python client and the real server in one process: decoded pictures and sound, data, and returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from sfu.config import Config
from sfu.loading.load import load
from sfu.sdp import subscribe
from sfu.server.app import Server
from sfu_client import Room, VideoSource, events
from sfu_client.capture.passthrough import PassthroughTrack
from sfu_client.capture.synthetic import SyntheticGrabber, ToneSource
from sfu_client.capture.video import VideoCapture
from sfu_client.session import Session

DEADLINE_S = 30
SIZE = (320, 180)
FPS = 25


def settings(**overrides: str) -> Config:
    """Everything on loopback and on free ports."""
    chosen = {
        "storage.url": "temporary",
        "server.host": "127.0.0.1",
        "server.port": "0",
        "server.https_port": "-1",
        "rtc.bind": "127.0.0.1",
        "rtc.port": "0",
    }
    return load(overrides=chosen | {key.replace("__", "."): value for key, value in overrides.items()})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = await Server.start(settings())
    yield running
    await running.stop("test over")


@asynccontextmanager
async def moving_picture() -> AsyncIterator[VideoSource]:
    capture = VideoCapture("synthetic", lambda: SyntheticGrabber(SIZE, FPS), fps=FPS)
    capture.start()
    try:
        yield capture.track
    finally:
        await capture.close()


async def test_picture_and_sound_arrive_whole(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera", auto_subscribe=False) as camera,
        Room.connect(server.http_url, "r", name="viewer") as viewer,
    ):
        await asyncio.gather(camera.publish(picture), camera.publish(ToneSource()))
        track = await viewer.wait_for_track(kind="video", participant="camera")
        shown = [frame async for frame in first(track.frames(latest=False, capacity=100), 40)]
        assert {(frame.width, frame.height) for frame in shown} == {SIZE}
        looks = [frame.to_ndarray(format="gray") for frame in (shown[0], shown[-1])]
        assert looks[0].std() > 10
        assert np.abs(looks[0].astype(int) - looks[1]).mean() > 0.3
        steps = np.diff([frame.pts for frame in shown])
        assert steps.min() > 0
        assert steps.max() < 90_000  # no freeze of a second
        sound = await viewer.wait_for_track(kind="audio", participant="camera")
        loudest = 0
        async for block in sound:
            loudest = max(loudest, int(np.abs(block.to_ndarray()).max()))
            if loudest > 500:
                break
        assert camera.tracks == {}
        assert [item.lost for item in await viewer.stats()] == [0, 0]


async def test_those_who_come_after_others_are_seen_where_m_lines_take_old_places(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribe, "FRESH_MEDIA", 2)
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="viewer") as viewer,
    ):
        for name in ("ann", "ben", "cat", "dan"):
            async with Room.connect(server.http_url, "r", name=name, auto_subscribe=False) as camera:
                await camera.publish(picture)
                track = await viewer.wait_for_track(kind="video", participant=name)
                assert [frame async for frame in first(track.frames(latest=False), 3)]


async def first(frames: AsyncIterator[av.VideoFrame], count: int) -> AsyncIterator[av.VideoFrame]:
    async for frame in frames:
        yield frame
        count -= 1
        if not count:
            return


async def test_the_first_frame_comes_within_a_second(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera") as camera,
    ):
        await camera.publish(picture)
        loop = asyncio.get_running_loop()
        took = []
        for _ in range(3):
            began = loop.time()
            async with Room.connect(server.http_url, "r") as viewer:
                await anext(aiter(await viewer.wait_for_track(kind="video")))
            took.append(loop.time() - began)
        assert sorted(took)[1] < 1, took


async def test_h264_is_forwarded_as_it_was_encoded(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"bf": "0", "g": "10"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for number in range(30):
            pixels = np.full((120, 160, 3), 30, np.uint8)
            pixels[40:80, number * 3 : number * 3 + 40] = 220
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "bgr24")))
        container.mux(video.encode(None))
    copied = PassthroughTrack(str(path))
    copied.start()
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            Room.connect(server.http_url, "r", name="camera") as camera,
            Room.connect(server.http_url, "r") as viewer,
        ):
            await camera.publish(copied, codec="h264")
            track = await viewer.wait_for_track(kind="video")
            assert track.publication.codec.lower() == "h264"
            shown = [frame async for frame in first(track.frames(latest=False, capacity=100), 40)]
            assert {(frame.width, frame.height) for frame in shown} == {(160, 120)}
            assert max(float(frame.to_ndarray(format="gray").max()) for frame in shown) > 180
    finally:
        await copied.close()


async def test_chat_is_changed_searched_and_caught_up_with(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.http_url, "r", name="a") as a,
        Room.connect(server.http_url, "r", name="b") as b,
    ):
        news = b.events()
        first = await a.chat("frist")
        await a.edit_chat(first.id, "first")
        await b.react(first.id, "👍")
        gone = await a.chat("gone")
        await a.delete_chat(gone.id)
        assert [m.text for m in await b.search_chat("FIRST")] == ["first"]
        assert [m.id for m in await b.older_chat(gone.id)] == [first.id]
        assert (await a.chat("last")).rev == 6
        kinds: list[str] = []
        async for event in news:
            if isinstance(event, events.ChatReceived | events.ChatUpdated):
                kinds.append(f"{type(event).__name__} {event.message.text}")
                if event.message.text == "last":
                    break
        assert kinds == [
            "ChatReceived frist", "ChatUpdated first", "ChatReceived gone", "ChatUpdated ",
            "ChatReceived last",
        ]  # fmt: skip
        assert a.chat_history == b.chat_history
        assert list(b.chat_history[0].reactions) == ["👍"]


async def test_data_and_chat_reach_whom_they_are_meant_for(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.http_url, "r", name="a") as a,
        Room.connect(server.http_url, "r", name="b") as b,
        Room.connect(server.http_url, "r", name="c") as c,
    ):
        for room in (a, b, c):
            await room.send("open", topic="warm-up")
        at_b, at_c = b.events(), c.events()
        await a.send("for b", topic="private", to=[b.me.id])
        await a.send(b"\x01\x02", topic="all")
        await a.chat("hello")

        async def heard(stream: events.EventStream) -> set[object]:
            seen: set[object] = set()
            async for event in stream:
                match event:
                    case events.DataReceived(data, topic, sender) if topic != "warm-up":
                        assert sender == a.me.id
                        seen.add(data)
                    case events.ChatReceived(message):
                        seen.add(message.text)
                if {b"\x01\x02", "hello"} <= seen:
                    return seen
            return seen

        assert await heard(at_b) == {"for b", b"\x01\x02", "hello"}
        assert await heard(at_c) == {b"\x01\x02", "hello"}
        assert [message.text for message in a.chat_history] == ["hello"]


async def test_m_lines_do_not_pile_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribe, "FRESH_MEDIA", 2)
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera") as camera,
        Room.connect(server.http_url, "r") as viewer,
    ):
        for _ in range(4):
            changes = viewer.events()
            publication = await camera.publish(picture)
            track = await viewer.wait_for_track(kind="video")
            await anext(aiter(track))
            await camera.unpublish(publication)
            async for event in changes:
                if isinstance(event, events.TrackEnded):
                    break
            assert track.ended
        subscribed = viewer._connection._session
        assert isinstance(subscribed, Session)
        assert subscribed._subscribe is not None
        assert len(subscribed._subscribe._pc.getTransceivers()) <= 3


async def test_unsubscribing_ends_a_track_and_subscribing_brings_it_back(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera") as camera,
        Room.connect(server.http_url, "r", auto_subscribe=False) as viewer,
    ):
        changes = viewer.events()
        await camera.publish(picture)
        async for event in changes:
            if isinstance(event, events.PublicationAdded):
                break
        for _ in range(2):
            await viewer.subscribe(viewer.publications)
            track = await viewer.wait_for_track(kind="video")
            await anext(aiter(track))
            await viewer.unsubscribe(viewer.publications)
            async for event in changes:
                if isinstance(event, events.TrackEnded):
                    break
            assert viewer.tracks == {}


async def test_muting_stops_frames_and_unmuting_brings_them_back(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera") as camera,
        Room.connect(server.http_url, "r") as viewer,
    ):
        publication = await camera.publish(picture)
        track = await viewer.wait_for_track(kind="video")
        await anext(aiter(track))
        changes = viewer.events()
        await camera.mute(publication)
        async for event in changes:
            if isinstance(event, events.PublicationUpdated) and event.publication.muted:
                break
        await camera.mute(publication, False)
        frames = track.frames(latest=False, capacity=50)
        for _ in range(10):
            await anext(frames)


async def test_a_lost_websocket_is_resumed_and_media_never_stops(server: Server) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera") as camera,
        Room.connect(server.http_url, "r") as viewer,
    ):
        await camera.publish(picture)
        track = await viewer.wait_for_track(kind="video")
        frames = aiter(track)
        await anext(frames)
        changes, who = viewer.events(), viewer.me.id
        assert viewer._connection._signalling is not None
        await viewer._connection._signalling.close()
        async for event in changes:
            if isinstance(event, events.Connected):
                break
        assert event == events.Connected(resumed=True)
        assert viewer.me.id == who
        for _ in range(5):
            await anext(frames)
        assert not track.ended
        await viewer.chat("still me")


async def test_everybody_returns_after_a_restart_of_the_server(server: Server) -> None:
    port = server.http_url.rpartition(":")[2]
    async with (
        asyncio.timeout(DEADLINE_S),
        moving_picture() as picture,
        Room.connect(server.http_url, "r", name="camera") as camera,
        Room.connect(server.http_url, "r") as viewer,
    ):
        publication = await camera.publish(picture)
        track = await viewer.wait_for_track(kind="video")
        await anext(aiter(track))
        before = publication.id
        await server.stop("restart")
        again = await Server.start(settings(server__port=port))
        try:
            while track.ended is False or not viewer.connected:
                await asyncio.sleep(0.02)
            track = await viewer.wait_for_track(kind="video", participant="camera")
            await anext(aiter(track))
            assert publication.id != before
            await camera.close()
            await viewer.close()
        finally:
            await again.stop("test over")


async def test_what_the_server_refuses_after_a_restart_is_told(server: Server) -> None:
    port = server.http_url.rpartition(":")[2]
    async with (
        asyncio.timeout(DEADLINE_S),
        Room.connect(server.http_url, "r", name="camera") as camera,
    ):
        await camera.publish(VideoSource())
        await camera.publish(ToneSource(), name="siren")
        stream = camera.events()
        await server.stop("restart")
        again = await Server.start(settings(server__port=port, room__max_publications="1"))
        try:
            async for event in stream:
                if isinstance(event, events.PublishFailed):
                    assert event == events.PublishFailed("siren", "too_many_publications")
                    break
            await camera.close()
        finally:
            await again.stop("test over")


async def test_coming_and_going_leaves_no_task_behind(server: Server) -> None:
    async def visit() -> None:
        async with Room.connect(server.http_url, "r") as room:
            await room.publish(VideoSource())

    await visit()
    before = len(asyncio.all_tasks())
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(5):
            await visit()
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.02)
