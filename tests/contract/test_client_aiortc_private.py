"""The names of aiortc's that `sfu_client._aiortc` relies on though they are private."""

from __future__ import annotations

import asyncio
import fractions
from importlib.metadata import version

import numpy as np
import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from av import VideoFrame

from sfu_client import _aiortc
from sfu_client.adaptation import LOWEST_BPS
from sfu_client.capture_time import CapturedTrack


class Pictures(CapturedTrack):
    """aiortc's green picture, captured at an instant of its own."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._inner = VideoStreamTrack()

    async def recv(self) -> VideoFrame:
        frame = await self._inner.recv()
        self.captured_ntp = 1 << 40
        return frame


def connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


async def negotiate(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await offerer.setLocalDescription(await offerer.createOffer())
    await answerer.setRemoteDescription(RTCSessionDescription(offerer.localDescription.sdp, "offer"))
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(RTCSessionDescription(answerer.localDescription.sdp, "answer"))


async def connected(*peers: RTCPeerConnection) -> None:
    async with asyncio.timeout(10):
        for pc in peers:
            changed = asyncio.Event()
            pc.on("connectionstatechange", changed.set)
            while pc.connectionState != "connected":
                await changed.wait()
                changed.clear()


def test_the_version_is_the_one_these_names_were_read_in() -> None:
    assert version("aiortc").startswith("1.16.")


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_prepared_encoder_keeps_to_its_ceiling_and_follows_estimates(codec: str) -> None:
    sender, receiver = connection(), connection()
    try:
        line = sender.addTransceiver(VideoStreamTrack(), direction="sendonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        line.setCodecPreferences([item for item in known if item.name in (codec, "rtx")])
        await negotiate(sender, receiver)
        encoder = _aiortc.prepare_encoder(line, 4_000_000)
        assert encoder is not None
        assert _aiortc.prepare_encoder(line, 1) is None
        assert encoder.target_bitrate == 4_000_000
        encoder.target_bitrate = 9_000_000
        assert encoder.target_bitrate == 4_000_000
        encoder.target_bitrate = 300_000
        encoder.target_bitrate = 320_000
        assert encoder.target_bitrate == 300_000
        encoder.target_bitrate = 1
        assert encoder.target_bitrate == LOWEST_BPS
        assert line.sender._RTCRtpSender__encoder is encoder  # type: ignore[attr-defined]
    finally:
        await sender.close()
        await receiver.close()


@pytest.mark.parametrize("kind", [_aiortc._LimitedVp8, _aiortc._LimitedH264])
def test_the_encoder_is_told_the_ceiling(kind: type) -> None:
    encoder = kind(2_345_000)
    frame = VideoFrame.from_ndarray(np.zeros((120, 160, 3), np.uint8), format="bgr24")
    frame.pts, frame.time_base = 0, fractions.Fraction(1, 90_000)
    payloads, _ = encoder.encode(frame, True)
    assert payloads
    assert encoder.codec.bit_rate == 2_345_000


async def test_renewed_senders_and_receivers_carry_media_on_the_same_m_line() -> None:
    offerer, answerer = connection(), connection()
    try:
        line = offerer.addTransceiver(VideoStreamTrack(), direction="sendonly")
        await negotiate(offerer, answerer)
        await connected(offerer, answerer)
        [other] = answerer.getTransceivers()
        first, first_ssrc = other.receiver.track, line.sender._ssrc
        async with asyncio.timeout(10):
            await first.recv()
        await _aiortc.renew_sender(line, Pictures())
        await _aiortc.renew_receiver(other)
        assert first_ssrc != line.sender._ssrc
        await negotiate(offerer, answerer)
        assert len(offerer.getTransceivers()) == 1
        again = other.receiver.track
        assert again is not first
        async with asyncio.timeout(10):
            await again.recv()
        assert _aiortc.decoder_backlog(other.receiver) < 10
    finally:
        await offerer.close()
        await answerer.close()


def test_the_decoder_queue_can_be_read() -> None:
    async def make() -> int:
        pc = connection()
        backlog = _aiortc.decoder_backlog(pc.addTransceiver("video").receiver)
        await pc.close()
        return backlog

    assert asyncio.run(make()) == 0
