"""Participants with real media: a signalling WebSocket and two of aiortc's peer connections."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from signalling import Clients, Signal

from sfu_client.remote_sdp import adapt

SIZE = (320, 240)


def connection() -> RTCPeerConnection:
    """A peer connection without STUN, everything on one transport."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


class Picture(MediaStreamTrack):
    """A picture of one colour whose blue grows, at 25 frames a second."""

    kind = "video"

    def __init__(self, red: int = 200, size: tuple[int, int] = SIZE) -> None:
        super().__init__()
        self._frame = 0
        self._red = red
        self._size = size

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(0.04)
        width, height = self._size
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, :, 2] = self._red
        picture[:, :, 0] = self._frame % 100
        frame = av.VideoFrame.from_ndarray(picture, "bgr24")
        frame.pts, frame.time_base = self._frame * 3600, fractions.Fraction(1, 90_000)
        self._frame += 1
        return frame


class Tone(MediaStreamTrack):
    """440 Hz, loud, in blocks of 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._block = 0

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(0.02)
        at = np.arange(self._block * 960, (self._block + 1) * 960)
        samples = (np.sin(at * 2 * np.pi * 440 / 48_000) * 12_000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None, :], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = (
            48_000,
            self._block * 960,
            fractions.Fraction(1, 48_000),
        )
        self._block += 1
        return frame


class LivePeer:
    """One participant. Its offers and answers are made when asked for, one after the other."""

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.publisher = self.connection()
        self.subscriber = self.connection()
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.channels: dict[str, RTCDataChannel] = {}
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._watch(self.subscriber)

    @property
    def id(self) -> str:
        return self.signal.me

    def connection(self) -> RTCPeerConnection:
        return connection()

    def adapted(self, sdp: str) -> str:
        """A description of the server's as aiortc is given it."""
        return adapt(sdp)

    def _watch(self, pc: RTCPeerConnection) -> None:
        @pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self.tracks[track.kind] = track

    def open_channels(self) -> None:
        """Data channels as the protocol names them; they are in the next publish offer."""
        self.channels = {
            "reliable": self.publisher.createDataChannel("reliable"),
            "lossy": self.publisher.createDataChannel("lossy", ordered=False, maxRetransmits=0),
        }
        for label, channel in self.channels.items():
            channel.on("message", lambda message, label=label: self.messages.put_nowait((label, message)))

    async def publish(self, *media: tuple[MediaStreamTrack, str]) -> list[dict[str, Any]]:
        """Add tracks with their sources, offer, and return what `answer` lists."""
        for track, _ in media:
            self.publisher.addTrack(track)
        return await self.offer(dict(media))

    async def offer(self, sources: dict[MediaStreamTrack, str]) -> list[dict[str, Any]]:
        await self.publisher.setLocalDescription(await self.publisher.createOffer())
        entries = [
            {"mid": transceiver.mid, "source": sources[transceiver.sender.track]}
            for transceiver in self.publisher.getTransceivers()
            if transceiver.sender.track in sources
        ]
        sdp = self.publisher.localDescription.sdp
        answer = await self.signal.request("offer", sdp=sdp, media=entries)
        assert answer["type"] == "answer", answer
        await self.publisher.setRemoteDescription(
            RTCSessionDescription(self.adapted(answer["sdp"]), "answer")
        )
        return list(answer["media"])

    async def answer(self, setup: str = "active") -> dict[str, Any]:
        """Take the next offer of the server, answer it, and return it.

        `setup` is the DTLS role that the subscriber takes in its first answer.
        """
        offer = await self.signal.next("offer")
        await self.subscriber.setRemoteDescription(RTCSessionDescription(self.adapted(offer["sdp"]), "offer"))
        made = (await self.subscriber.createAnswer()).sdp.replace("a=setup:active", f"a=setup:{setup}")
        await self.subscriber.setLocalDescription(RTCSessionDescription(made, "answer"))
        reply = await self.signal.request(
            "answer", seq=offer["seq"], sdp=self.subscriber.localDescription.sdp
        )
        assert reply["type"] == "ok", reply
        return offer

    async def answer_until(self, publication: str | None) -> dict[str, Any]:
        """Answer offers up to one that carries the publication, or (None) nothing at all."""
        while True:
            offer = await self.answer()
            carried = {entry["publication"] for entry in offer["media"]}
            if publication in carried or (publication is None and not carried):
                return offer

    async def new_subscriber(self) -> None:
        """Discard the subscribe connection, as after `transport_lost`."""
        await self.subscriber.close()
        self.tracks.clear()
        self.subscriber = self.connection()
        self._watch(self.subscriber)

    async def picture(self, timeout_s: float = 10) -> np.ndarray[Any, Any]:
        """The next decoded frame, BGR."""
        async with asyncio.timeout(timeout_s):
            frame = await self.tracks["video"].recv()
        assert isinstance(frame, av.VideoFrame)
        return frame.to_ndarray(format="bgr24")

    async def loudness(self, blocks: int = 25) -> float:
        """The mean energy of the next blocks of audio."""
        energy = []
        async with asyncio.timeout(10):
            for _ in range(blocks):
                frame = await self.tracks["audio"].recv()
                assert isinstance(frame, av.AudioFrame)
                energy.append(float(np.abs(frame.to_ndarray().astype(np.int32)).mean()))
        return max(energy)

    async def close(self) -> None:
        await self.publisher.close()
        await self.subscriber.close()


async def join(those: Clients, names: Sequence[str], room: str = "r", **members: Any) -> list[LivePeer]:
    """Participants of one room, in that order."""
    return [LivePeer(await those.join(room, name, **members)) for name in names]
