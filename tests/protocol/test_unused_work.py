"""What nobody watches is not sent: told to publishers by `layers`, through the whole server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import av
import pytest
from live_peers import Picture, join
from signalling import LOCAL, clients, local_config, until

from sfu.media import demand
from sfu_client import Room


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience than in real calls."""
    monkeypatch.setattr(demand, "SHRINK_US", 300_000)
    monkeypatch.setattr(demand, "START_US", 600_000)


class Pausable(Picture):
    """A picture that is not sent while `running` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.running = asyncio.Event()
        self.running.set()

    async def recv(self) -> av.VideoFrame:
        await self.running.wait()
        return await super().recv()


def single(publication: str, active: bool) -> dict[str, Any]:
    return {"publication": publication, "encodings": [{"active": active}]}


async def test_a_publication_is_paused_while_nobody_watches_and_stays_one() -> None:
    async with clients(local_config()) as those:
        ann, ben = await join(those, ["Ann", "Ben"])
        camera = Pausable()
        (entry,) = await ann.publish((camera, "camera"))
        publication = entry["publication"]
        await ben.answer()
        await ben.picture()
        await ben.signal.request("subscribe", publications=[publication], paused=True)
        await ann.signal.next("layers", **single(publication, False))
        camera.running.clear()
        # It has stopped, and is there nevertheless: for who comes, and for who has been there.
        (late,) = await join(those, ["Late"])
        told = late.signal.joined["participants"][0]["publications"]
        assert [each["id"] for each in told] == [publication]
        resumed = asyncio.create_task(ann.signal.next("layers", **single(publication, True)))
        await late.answer()
        await resumed
        camera.running.set()
        # Its encoder begins without a keyframe: the server asks for one.
        assert (await late.picture())[:, :, 2].mean() > 150
        await ben.signal.request("subscribe", publications=[publication], paused=False)
        await ben.signal.next("subscription", state="active")
        for _ in range(5):
            await ben.picture()
        for peer in (ann, ben, late):
            await peer.close()


async def test_who_does_not_understand_layers_is_watched_all_the_same() -> None:
    async with clients(local_config()) as those:
        (ann,) = await join(those, ["Ann"])
        (entry,) = await ann.publish((Picture(), "camera"))
        await ann.signal.next("layers", **single(entry["publication"], False))
        (ben,) = await join(those, ["Ben"])
        await ben.answer()
        assert (await ben.picture())[:, :, 2].mean() > 150
        await ann.close()
        await ben.close()


async def test_it_is_said_again_after_a_resumption() -> None:
    async with clients(local_config()) as those:
        (ann,) = await join(those, ["Ann"])
        (entry,) = await ann.publish((Picture(), "camera"))
        await ann.signal.next("layers")
        await ann.signal.drop()
        joined, ann.signal = ann.signal.joined, await those.open()
        resume = {"participant": joined["participant"]["id"], "secret": joined["secret"]}
        assert (await ann.signal.join(resume=resume))["resumed"]
        await ann.signal.next("layers", **single(entry["publication"], False))
        await ann.close()


async def test_pictures_beyond_the_limit_are_paused_and_say_why() -> None:
    async with clients(local_config(media=replace(LOCAL.media, last_n=1))) as those:
        ann, ben, viewer = await join(those, ["Ann", "Ben", "Viewer"])
        publications = []
        for peer in (ann, ben):
            (entry,) = await peer.publish((Picture(), "camera"))
            publications.append(entry["publication"])
            await viewer.answer_until(entry["publication"])
        paused = await viewer.signal.next("subscription", state="paused", reason="last_n")
        assert paused["publication"] == publications[1]
        # What the subscriber prefers goes before.
        await viewer.signal.request("subscribe", publications=publications[1:], priority=200)
        paused = await viewer.signal.next("subscription", state="paused", reason="last_n")
        assert paused["publication"] == publications[0]

        async def why() -> dict[str, str]:
            reply = await viewer.signal.request("stats")
            return {key: each["reason"] for key, each in reply["subscriptions"].items()}

        assert (await why())[publications[0]] == "last_n"
        for peer in (ann, ben, viewer):
            await peer.close()


async def test_the_python_client_rests_while_nobody_watches_and_begins_with_a_keyframe() -> None:
    async with clients(local_config()) as those:
        url = those.server.http_url
        async with asyncio.timeout(30), Room.connect(url, "r", name="Camera") as camera:
            publication = await camera.publish(Picture())
            await until(lambda: not publication.watched)

            async def received() -> int:
                (encoding,) = (await camera.server_stats())["publications"][publication.id]
                return int(encoding["packets"])

            # What was under way arrives; then nothing does.
            while (count := await received()) != await received():
                pass
            async with Room.connect(url, "r", name="Viewer") as viewer:
                track = await viewer.wait_for_track(kind="video", participant="Camera")
                async for frame in track.frames():
                    assert frame.to_ndarray(format="bgr24")[:, :, 2].mean() > 150
                    break
                assert publication.watched
                assert await received() > count
            await until(lambda: not publication.watched)


async def test_the_python_client_sends_of_simulcast_what_is_watched() -> None:
    async with clients(local_config()) as those:
        url = those.server.http_url
        async with asyncio.timeout(30), Room.connect(url, "r", name="Camera") as camera:
            publication = await camera.publish(Picture(size=(640, 360)), simulcast=True)

            async def packets() -> dict[str, int]:
                encodings = (await camera.server_stats())["publications"][publication.id]
                return {"h": 0, "f": 0} | {each["rid"]: int(each["packets"]) for each in encodings}

            (viewer,) = await join(those, ["Viewer"])
            await viewer.answer()
            await viewer.signal.request("subscribe", publications=[publication.id], width=320, height=180)
            # At last a while in which the smaller one alone is sent.
            small = {"f": 0}
            while not small["f"] or (await packets())["f"] != small["f"]:
                small = await packets()
                while (await packets())["h"] <= small["h"] + 5:
                    await asyncio.sleep(0.05)
            await viewer.signal.request("subscribe", publications=[publication.id], width=640, height=360)
            while (await packets())["f"] <= small["f"]:
                await asyncio.sleep(0.05)
            while (await viewer.picture()).shape[1] != 640:
                pass
            await viewer.close()
