"""The Python client's simulcast: what its offer says and what each encoding's sender puts on the wire."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import (
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    HeaderExtensionsMap,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
)
from av import VideoFrame

from sfu.rtp.payload import INSPECTORS
from sfu_client import simulcast
from sfu_client._aiortc import SimulcastSender, _EncodingSender, _Scaler
from sfu_client.capture_time import CapturedTrack

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
EXTENSIONS = [
    RTCRtpHeaderExtensionParameters(id=1, uri=MID_URI),
    RTCRtpHeaderExtensionParameters(id=simulcast.RID_ID, uri=simulcast.RID_URI),
    RTCRtpHeaderExtensionParameters(id=simulcast.REPAIRED_RID_ID, uri=simulcast.REPAIRED_RID_URI),
]
PARAMETERS = RTCRtpSendParameters(
    codecs=[
        RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90_000, payloadType=97),
        RTCRtpCodecParameters(mimeType="video/rtx", clockRate=90_000, payloadType=98, parameters={"apt": 97}),
    ],
    headerExtensions=EXTENSIONS[:1],
    muxId="0",
)
SIZES = {"f": (64, 48), "h": (32, 24)}


class Camera(CapturedTrack):
    """Pictures when told; `read` counts how many were taken."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[VideoFrame | None] = asyncio.Queue()
        self.shown = 0

    def show(self, count: int = 1) -> None:
        for _ in range(count):
            frame = VideoFrame.from_ndarray(np.full((72, 64), 40 + self.shown % 100, np.uint8), "yuv420p")
            frame.pts, frame.time_base = self.shown * 3000, fractions.Fraction(1, 90_000)
            self.frames.put_nowait(frame)
            self.shown += 1

    async def recv(self) -> VideoFrame:
        frame = await self.frames.get()
        if frame is None:
            raise MediaStreamError
        self.captured_ntp = (1 << 32) + frame.pts
        return frame


class Wire:
    """In place of the DTLS transport: keeps what is sent, as parsed."""

    state = "connected"

    def __init__(self) -> None:
        self.senders: dict[int, _EncodingSender] = {}
        self.packets: list[RtpPacket] = []
        self.reports: list[RtcpSrPacket] = []
        self.sent = asyncio.Event()
        self._map = HeaderExtensionsMap()
        self._map.configure(RTCRtpParameters(headerExtensions=EXTENSIONS))

    def _register_rtp_sender(self, sender: _EncodingSender, _parameters: Any) -> None:
        self.senders[sender._ssrc] = sender

    def _unregister_rtp_sender(self, sender: _EncodingSender) -> None:
        del self.senders[sender._ssrc]

    async def _send_rtp(self, data: bytes) -> None:
        if 200 <= data[1] <= 206:
            self.reports += [item for item in RtcpPacket.parse(data) if isinstance(item, RtcpSrPacket)]
        else:
            self.packets.append(RtpPacket.parse(data, self._map))
        self.sent.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.sent.clear()
                await self.sent.wait()

    def of(self, rid: str) -> list[RtpPacket]:
        return [packet for packet in self.packets if packet.extensions.rtp_stream_id == rid]

    def sender(self, rid: str) -> _EncodingSender:
        return self.senders[self.of(rid)[0].ssrc]


def keyframes(packets: list[RtpPacket]) -> list[tuple[int, int]]:
    found = [INSPECTORS["vp8"](packet.payload) for packet in packets]
    return [(info.width, info.height) for info in found if info.keyframe and info.width]


@asynccontextmanager
async def sending(
    accepted: tuple[str, ...] = ("h", "f"),
) -> AsyncIterator[tuple[Wire, Camera, SimulcastSender]]:
    wire, camera = Wire(), Camera()
    sender = SimulcastSender(camera, wire, simulcast.ENCODINGS, 500_000)  # type: ignore[arg-type]
    sender.accept(accepted)
    await sender.send(PARAMETERS)
    try:
        yield wire, camera, sender
    finally:
        await sender.stop()
    assert wire.senders == {}


async def show(wire: Wire, camera: Camera, *rids: str) -> None:
    """One more picture, awaited in these encodings."""
    before = {rid: len({packet.timestamp for packet in wire.of(rid)}) for rid in rids}
    camera.show()
    await wire.until(
        lambda: all(len({packet.timestamp for packet in wire.of(rid)}) > before[rid] for rid in rids)
    )


async def test_both_encodings_carry_mid_and_rid_and_begin_with_keyframes_of_their_size() -> None:
    async with sending() as (wire, camera, _):
        for _ in range(3):
            await show(wire, camera, "h", "f")
        assert {packet.extensions.mid for packet in wire.packets} == {"0"}
        assert {rid: keyframes(wire.of(rid)) for rid in SIZES} == {rid: [size] for rid, size in SIZES.items()}
        assert len({packet.ssrc for packet in wire.packets}) == 2


async def test_a_pli_makes_a_keyframe_of_its_encoding_alone() -> None:
    async with sending() as (wire, camera, _):
        await show(wire, camera, "h", "f")
        small = wire.sender("h")
        pli = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=small._ssrc)
        await small._handle_rtcp_packet(pli)
        for _ in range(3):
            await show(wire, camera, "h", "f")
        assert keyframes(wire.of("h")) == [SIZES["h"]] * 2
        assert keyframes(wire.of("f")) == [SIZES["f"]]


async def test_a_retransmission_carries_the_repaired_rid_instead() -> None:
    async with sending() as (wire, camera, _):
        await show(wire, camera, "h", "f")
        lost = wire.of("f")[0]
        nack = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=lost.ssrc, lost=[lost.sequence_number])
        await wire.sender("f")._handle_rtcp_packet(nack)
        again = wire.packets[-1]
        assert (again.payload_type, again.extensions.mid) == (98, "0")
        assert (again.extensions.repaired_rtp_stream_id, again.extensions.rtp_stream_id) == ("f", None)
        assert again.payload == lost.sequence_number.to_bytes(2, "big") + lost.payload


async def test_sender_reports_of_both_say_when_a_picture_was_taken() -> None:
    async with sending() as (wire, camera, _):
        for _ in range(3):
            await show(wire, camera, "h", "f")
        origin = {packets[0].ssrc: packets[0].timestamp for packets in (wire.of("h"), wire.of("f"))}
        last = {packets[-1].ssrc: packets[-1].timestamp for packets in (wire.of("h"), wire.of("f"))}
        assert {(report.ssrc, report.sender_info.rtp_timestamp) for report in wire.reports} == set(
            origin.items()
        )
        wire.reports.clear()
        await wire.until(lambda: {report.ssrc for report in wire.reports} == set(origin))
        newest = {report.ssrc: report.sender_info for report in wire.reports}
        assert {ssrc: info.rtp_timestamp for ssrc, info in newest.items()} == last
        assert {info.ntp_timestamp for info in newest.values()} == {(1 << 32) + 6000}
        assert {last[ssrc] - origin[ssrc] & 0xFFFFFFFF for ssrc in origin} == {6000}


async def test_an_encoding_nobody_wants_rests_and_returns_with_a_keyframe() -> None:
    async with sending() as (wire, camera, sender):
        await show(wire, camera, "h", "f")
        sender.splitter.choose({"h"})
        before = len(wire.of("f"))
        for _ in range(3):
            await show(wire, camera, "h")
        assert len(wire.of("f")) == before
        sender.splitter.choose({"h", "f"})
        for _ in range(2):
            await show(wire, camera, "h", "f")
        assert keyframes(wire.of("f")) == [SIZES["f"]] * 2
        assert keyframes(wire.of("h")) == [SIZES["h"]]


async def test_without_simulcast_in_the_answer_the_largest_goes_alone() -> None:
    async with sending(()) as (wire, camera, _):
        for count in (1, 2):
            camera.show()
            await wire.until(lambda wanted=count: len(wire.packets) >= wanted)  # type: ignore[misc]
        assert {packet.extensions.rtp_stream_id for packet in wire.packets} == {None}
        assert keyframes(wire.packets) == [SIZES["f"]]


async def test_the_end_of_the_track_ends_every_encoding() -> None:
    async with sending() as (wire, camera, sender):
        await show(wire, camera, "h", "f")
        camera.frames.put_nowait(None)
        branches = sender.splitter.branches
        while any(branch.readyState == "live" for branch in branches):
            await asyncio.sleep(0)
        with pytest.raises(MediaStreamError):
            await branches[0].recv()


OFFER = """v=0\r
a=group:BUNDLE 0 1\r
m=audio 9 UDP/TLS/RTP/SAVPF 96\r
a=mid:0\r
a=ssrc:1 cname:x\r
m=video 9 UDP/TLS/RTP/SAVPF 97 98\r
a=mid:1\r
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r
a=ssrc-group:FID 2 3\r
a=ssrc:2 cname:x\r
a=ssrc:3 cname:x\r
"""


def test_the_offer_announces_rids_in_place_of_ssrcs() -> None:
    offer = simulcast.announce(OFFER, {"1": ("h", "f")})
    audio, video = offer.split("m=")[1:]
    assert offer.split("m=")[:2] == OFFER.split("m=")[:2]
    assert audio.endswith("a=ssrc:1 cname:x\r\n")
    assert video.split("\r\n")[2:] == [
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "a=rid:h send",
        "a=rid:f send",
        "a=simulcast:send h;f",
        "",
    ]


def test_an_offer_without_simulcast_stays_as_it_is() -> None:
    assert simulcast.announce(OFFER, {}) == OFFER


def test_the_answer_tells_which_rids_are_taken() -> None:
    answer = "v=0\r\nm=audio 9 x 1\r\na=mid:0\r\nm=video 9 x 1\r\na=mid:1\r\na=rid:h recv\r\na=rid:f recv\r\n"
    assert simulcast.accepted(answer) == {"0": [], "1": ["h", "f"]}


@pytest.mark.parametrize("picture_format", ["bgr24", "yuv420p"])
def test_two_encoders_take_one_picture_at_once(picture_format: str) -> None:
    shape = (96, 128, 3) if picture_format == "bgr24" else (144, 128)
    scalers = (_Scaler(1), _Scaler(2))
    with ThreadPoolExecutor(2) as threads:
        for number in range(200):
            frame = VideoFrame.from_ndarray(np.full(shape, number, np.uint8), picture_format)
            frame.pts, frame.time_base = number, fractions.Fraction(1, 90_000)
            large, small = threads.map(lambda scaler, frame=frame: scaler(frame), scalers)
            assert [(own.width, own.height, own.pts) for own in (large, small)] == [
                (128, 96, number),
                (64, 48, number),
            ]
            assert large is not frame
            assert {own.format.name for own in (large, small)} == {"yuv420p"}
