"""More is published than a subscriber has m-lines: whoever speaks is heard and seen, and who is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import av
import numpy as np
from live_peers import LivePeer, Picture, Tone, join
from signalling import LOCAL, clients, local_config

from sfu_client import Room, events

M_LINES = 6
IN_USE = 5
PUBLISHERS = 10
RED = 200


class Voice(Tone):
    """A tone, sent while `speaks` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = asyncio.Event()

    async def recv(self) -> av.AudioFrame:
        await self.speaks.wait()
        return await super().recv()


def levels(change: events.Event) -> dict[str, str]:
    """Publications whose subscription has changed, and to what."""
    if isinstance(change, events.SubscriptionChanged):
        return {change.publication_id: f"{change.state} {change.reason}".strip()}
    return {}


async def heard(room: Room, person: str) -> None:
    """Wait for sound of that person that is no silence."""
    track = await room.wait_for_track(kind="audio", participant=person)
    async for frame in track.frames():
        if np.abs(frame.to_ndarray().astype(np.int32)).mean() > 500:
            return


async def seen(room: Room, person: str) -> None:
    track = await room.wait_for_track(kind="video", participant=person)
    async for frame in track.frames():
        if frame.to_ndarray(format="bgr24")[:, :, 2].mean() > RED - 50:
            return


async def publish(those: Any) -> tuple[list[LivePeer], list[Voice], dict[str, str]]:
    """Ten people with microphone and camera; the publications of the cameras by name."""
    peers = await join(those, [f"P{number}" for number in range(PUBLISHERS)], wants={"subscribe": False})
    voices, cameras = [], {}
    for number, peer in enumerate(peers):
        voices.append(Voice())
        red = RED if number >= PUBLISHERS - 2 else 0
        _, camera = await peer.publish((voices[-1], "microphone"), (Picture(red, (64, 48)), "camera"))
        cameras[f"P{number}"] = camera["publication"]
    return peers, voices, cameras


async def test_speakers_and_who_is_asked_for_have_the_m_lines() -> None:
    config = local_config(media=replace(LOCAL.media, m_lines=M_LINES))
    async with clients(config) as those, asyncio.timeout(90):
        peers, voices, cameras = await publish(those)
        async with Room.connect(those.server.http_url, "r", name="Viewer") as room:
            while len(room.tracks) < IN_USE:
                await asyncio.sleep(0.05)
            changes = room.events()
            speaker, wanted = f"P{PUBLISHERS - 1}", f"P{PUBLISHERS - 2}"
            assert speaker not in {track.participant.name for track in room.tracks.values()}
            voices[-1].speaks.set()
            await heard(room, speaker)
            await seen(room, speaker)
            assert len(room.tracks) == IN_USE
            # Whose places were these? They are told, and have no track any more.
            told: dict[str, str] = {}
            while "paused no_m_line" not in told.values():
                told |= levels(await anext(aiter(changes)))
            await room.subscribe(
                [each for each in room.publications if each.id == cameras[wanted]], priority=200
            )
            await seen(room, wanted)
            await seen(room, speaker)
            assert len(room.tracks) == IN_USE
        for peer in peers:
            await peer.close()
