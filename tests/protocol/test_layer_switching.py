"""What a decoder would say of layers that change: every frame that goes out can be decoded.

Three encodings with three temporal layers each, whose frames say what they refer to, and viewers whose
targets change at random. The viewer's end checks what a real decoder needs: whole frames, references that it
has, and picture ids, TL0PICIDX and timestamps that go on.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import pytest
from plane_harness import (
    SENT_IDS,
    Stage,
    Viewer,
    each_plane,  # noqa: F401 - every test runs on every plane
    one_byte,
    rtp,
    vp8_payload,
)

from sfu.media.plane import KeyframeWanted, Layer
from sfu.rtp.packet import RtpPacket
from sfu.rtp.rtcp import Nack, SenderReport
from sfu.rtp.vp8 import parse_descriptor

FRAME_US = 33_333
TICKS = 3000
# Temporal layer, whether it refers to the base layer alone, and how many frames back it refers.
PATTERN = ((0, True, 4), (2, True, 1), (1, True, 2), (2, False, 1))
MARK = struct.Struct("!IIii")
NTP_SECOND = 1 << 32


@dataclass
class LayeredCamera:
    """One encoding. A frame's mark: its SSRC, its number, that of its reference (-1: none), its capture."""

    stage: Stage
    ssrc: int
    rid: str
    width: int
    seq: int
    timestamp: int
    picture: int
    tl0: int
    number: int = -1
    step: int = 0
    keyframe_due: bool = True

    def capture(self, capture: int) -> list[bytes]:
        """The packets of the next frame."""
        self.number += 1
        self.picture += 1
        key = self.keyframe_due and self.step == 0
        temporal, sync, back = PATTERN[self.step]
        self.step = (self.step + 1) % len(PATTERN)
        self.tl0 += temporal == 0
        if key:
            self.keyframe_due = False
        mark = MARK.pack(self.ssrc, self.number, -1 if key else self.number - back, capture)
        packets = []
        parts = 4 if key else 1 + self.number % 3
        for part in range(parts):
            head = vp8_payload(
                self.picture, key=key, tl0=self.tl0, temporal=temporal, sync=sync, size=0, start=part == 0,
                width=self.width, height=self.width * 9 // 16,
            )  # fmt: skip
            extension = one_byte({SENT_IDS.mid: b"0", SENT_IDS.rid: self.rid.encode()})
            timestamp = self.timestamp + capture * TICKS
            packets.append(
                rtp(
                    self.ssrc, self.seq, timestamp, head + mark, marker=part == parts - 1, extension=extension
                )
            )
            self.seq += 1
        return packets

    def report(self, capture: int) -> SenderReport:
        ntp = 1000 * NTP_SECOND + capture * FRAME_US * NTP_SECOND // 1_000_000
        return SenderReport(self.ssrc, ntp, self.timestamp + capture * TICKS & 0xFFFFFFFF, 1, 1)


@dataclass
class Shown:
    """What a viewer's decoder was given, frame by frame."""

    frames: int = 0
    ssrcs: list[int] = field(default_factory=list)
    captures: list[int] = field(default_factory=list)
    temporal: set[int] = field(default_factory=set)


def decode(packets: list[RtpPacket], tolerance: int) -> Shown:
    """Raises `AssertionError` for whatever a decoder would stumble over."""
    shown = Shown()
    decoded: set[tuple[int, int]] = set()
    numbers = [packets[0].seq]
    for packet in packets[1:]:
        numbers.append(numbers[-1] + (packet.seq - numbers[-1] + 0x8000 & 0xFFFF) - 0x8000)
    ordered = [packet for _, packet in sorted(zip(numbers, packets, strict=True), key=lambda pair: pair[0])]
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))
    heads: list[tuple[int, int, int, int]] = []
    cut = False
    # A packet without payload only fills the place of what was left out too late.
    filled = [packet for packet in ordered if packet.payload]
    for timestamp, group in groupby(filled, key=lambda packet: packet.timestamp):
        frame = list(group)
        descriptors = [parse_descriptor(packet.payload) for packet in frame]
        ssrc, number, reference, capture = MARK.unpack(frame[0].payload[-MARK.size :])
        assert {packet.payload[-MARK.size :] for packet in frame} == {frame[0].payload[-MARK.size :]}
        assert descriptors[0].start
        # The rest of a frame may come after a switch. No decoder sees it, and what follows is a keyframe.
        assert reference < 0 or not cut
        cut = not frame[-1].marker
        assert not any(packet.marker for packet in frame[:-1])
        assert reference < 0 or (ssrc, reference) in decoded
        if not cut:
            decoded.add((ssrc, number))
        temporal = descriptors[0].temporal_id or 0
        heads.append((descriptors[0].picture_id or 0, descriptors[0].tl0_pic_idx or 0, temporal, timestamp))
        shown.frames += 1
        shown.ssrcs.append(ssrc)
        shown.captures.append(capture)
        shown.temporal.add(temporal)
    for (earlier, before, earlier_capture), (later, after, later_capture) in pairwise(
        zip(heads, shown.ssrcs, shown.captures, strict=True)
    ):
        assert (later[0] - earlier[0]) & 0x7FFF == 1
        if before == after and later[2]:
            assert later[1] == earlier[1]
        else:
            assert (later[1] - earlier[1]) & 0xFF == (1 if not later[2] else 0)
        moved = (later[3] - earlier[3] + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
        assert moved > 0
        assert abs(moved - (later_capture - earlier_capture) * TICKS) <= tolerance
    return shown


def clock_errors_us(viewer: Viewer) -> list[float]:
    """By how much each sender report misses the publisher's clock, for a frame shown before and after it."""
    errors = []
    frames = [packet for packet in viewer.media if packet.payload]
    for report in viewer.rtcp:
        if isinstance(report, SenderReport):
            for packet in (frames[0], frames[-1]):
                capture = MARK.unpack(packet.payload[-MARK.size :])[3]
                moved = (packet.timestamp - report.rtp_ts + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
                told_us = (report.ntp - 1000 * NTP_SECOND) * 1e6 / NTP_SECOND + moved * 1e6 / 90_000
                errors.append(told_us - capture * FRAME_US)
    return errors


class Meeting:
    """A publisher of three encodings, in virtual time."""

    def __init__(self, seed: int, *, reports: bool) -> None:
        self.rng = random.Random(seed)
        self.stage = Stage(rids=("f", "q", "h"), seed=seed)
        self.cameras = [
            LayeredCamera(
                self.stage, 0x100 + index, rid, width,
                self.rng.randrange(1 << 16), self.rng.randrange(1 << 32),
                self.rng.randrange(1 << 15), self.rng.randrange(1 << 8),
            )
            for index, (rid, width) in enumerate((("q", 320), ("h", 640), ("f", 1280)))
        ]  # fmt: skip
        self.reports = reports
        self.viewers: list[Viewer] = []
        """Whose targets change at any time, in the middle of frames too."""
        self.captured = 0

    def frame(self, *, shuffle: bool = False) -> None:
        """The next capture by every encoding, and keyframes to come where they were asked for."""
        packets = [packet for camera in self.cameras for packet in camera.capture(self.captured)]
        if shuffle:
            # Streams and neighbouring packets are mixed, as multiple queues on the way do.
            packets = [
                p for _, p in sorted(enumerate(packets), key=lambda pair: pair[0] + self.rng.random() * 3)
            ]
        for packet in packets:
            for viewer in self.viewers:
                if self.rng.random() < 0.004:
                    self.change(viewer)
            self.stage.publish(packet)
        if self.reports and self.captured % 15 == 0:
            for camera in self.cameras:
                self.stage.publish_rtcp(camera.report(self.captured))
        self.captured += 1
        self.stage.now_us += FRAME_US
        self.stage.plane.tick(self.stage.now_us, 0)
        for event in self.stage.plane.poll_events():
            if isinstance(event, KeyframeWanted):
                next(camera for camera in self.cameras if camera.rid == event.rid).keyframe_due = True

    def change(self, viewer: Viewer) -> None:
        choice = self.rng.randrange(7)
        target = None if choice == 0 else Layer(self.rng.randrange(3), self.rng.randrange(4))
        self.stage.plane.set_target(viewer.key, target)


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_switched_every_frame_decodes(seed: int, reports: bool) -> None:
    meeting = Meeting(seed, reports=reports)
    viewers = meeting.viewers = [meeting.stage.view() for _ in range(3)]
    for number in range(600):
        if number % 100 == 50:
            viewers.append(meeting.stage.view())
        if meeting.rng.random() < 0.004:
            meeting.stage.plane.set_muted(meeting.stage.publication, True)
        elif meeting.rng.random() < 0.05:
            meeting.stage.plane.set_muted(meeting.stage.publication, False)
        meeting.frame(shuffle=seed > 0)
    # Elapsed time stands in for reports that have not come: a packet can be a frame out.
    tolerance = 20 if reports else TICKS
    for viewer in viewers:
        shown = decode(viewer.media, tolerance)
        assert shown.frames > 10
        lip_sync_errors = [abs(error) for error in clock_errors_us(viewer)]
        assert bool(lip_sync_errors) == reports
        assert max(lip_sync_errors, default=0) < 1000
    long_there = decode(viewers[0].media, tolerance)
    assert len(set(long_there.ssrcs)) == 3
    assert sum(before != after for before, after in pairwise(long_there.ssrcs)) > 3
    assert long_there.temporal == {0, 1, 2}


def test_what_is_sent_again_after_switches_is_what_was_sent() -> None:
    meeting = Meeting(9, reports=True)
    viewer = meeting.stage.view()
    for number in range(300):
        if number % 20 == 0:
            meeting.stage.plane.set_target(viewer.key, Layer(number // 20 % 3, number // 20 % 2))
        meeting.frame(shuffle=True)
        if number % 10 == 9:
            recent = viewer.media[-12:]
            before = len(viewer.rtx)
            meeting.stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(packet.seq for packet in recent)))
            answers = {int.from_bytes(packet.payload[:2], "big"): packet for packet in viewer.rtx[before:]}
            assert len(answers) == len(recent)
            for packet in recent:
                answer = answers[packet.seq]
                assert (answer.payload[2:], answer.timestamp, answer.marker) == (
                    packet.payload, packet.timestamp, packet.marker,
                )  # fmt: skip
    assert any(not packet.payload for packet in viewer.media)
