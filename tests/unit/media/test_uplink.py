"""A publisher without transport-wide feedback behind a narrow line: what REMB makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from emulator import Link
from plane_harness import (
    SENT_IDS,
    TICK_US,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    one_byte,
    rtp,
    vp8_payload,
)

from sfu.media.policy import Policy
from sfu.rtp.extensions import abs_send_time
from sfu.rtp.rtcp import Remb

SSRC = 0x1000
CEILING_BPS = 1_500_000
OTHER_CLOCK_US = 61_000_000
"""The publisher's clock is ahead by this: its send time wraps within the test."""


class Publisher:
    """Sends as much as REMB allows, up to its ceiling, a frame of packets every 40 ms."""

    def __init__(self, link: Link, *, send_time: bool = True, remb: bool = True) -> None:
        self.stage = Stage()
        config = replace(self.stage.config, transport_cc=False, remb=remb)
        self.stage.plane.open_publication(self.stage.publication, config)
        self.policy = Policy(self.stage.plane, 500_000)
        self.policy.add_publication(self.stage.publication, "video")
        self.link = link
        self.send_time = send_time
        self.seq = 0
        self.owed_bytes = 0.0
        self.received: list[Remb] = []

    @property
    def rate_bps(self) -> int:
        return min(CEILING_BPS, self.received[-1].bitrate_bps) if self.received else CEILING_BPS

    def run(self, seconds: float) -> float:
        """Send for so long; the share of its packets that the line has dropped meanwhile."""
        stage, counters = self.stage, self.link.counters
        sent, dropped = counters.sent, counters.overflowed + counters.lost
        for step in range(int(seconds * 1_000_000) // TICK_US):
            stage.now_us += TICK_US
            if step % 2:
                self._send_frame()
            for arrival_us, packet in self.link.deliver(stage.now_us):
                stage.plane.receive(stage.transport, packet, stage.now_us, arrival_us)
            stage.plane.tick(stage.now_us, 0)
            self.policy.tick(stage.now_us)
            self.received += [packet for packet in stage.to_publisher if isinstance(packet, Remb)]
            stage.to_publisher.clear()
        return (counters.overflowed + counters.lost - dropped) / max(counters.sent - sent, 1)

    def _send_frame(self) -> None:
        stage = self.stage
        values = {SENT_IDS.mid: b"0"}
        if self.send_time:
            values[SENT_IDS.abs_send_time] = abs_send_time(stage.now_us + OTHER_CLOCK_US)
        self.owed_bytes += self.rate_bps * 0.04 / 8
        while self.owed_bytes >= 1000:
            self.owed_bytes -= 1000
            payload = vp8_payload(self.seq, key=not self.seq, size=940)
            packet = rtp(SSRC, self.seq, stage.now_us * 9 // 100, payload, extension=one_byte(values))
            self.link.send(stage.now_us, stage.publisher.outbound.protect(packet))
            self.seq += 1


@pytest.mark.parametrize("send_time", [True, False])
def test_a_narrow_uplink_is_found_and_kept_to(send_time: bool) -> None:
    publisher = Publisher(
        Link(seed=1, capacity_bps=400_000, queue_bytes=25_000, delay_us=20_000), send_time=send_time
    )
    publisher.run(6)
    assert {packet.ssrcs for packet in publisher.received} == {(SSRC,)}
    assert publisher.run(20) < 0.1
    assert 200_000 < publisher.rate_bps < 450_000


def test_a_burst_into_a_narrow_uplink_is_recovered_from() -> None:
    publisher = Publisher(Link(seed=1, capacity_bps=400_000, queue_bytes=25_000, delay_us=20_000))
    publisher.owed_bytes = 300_000
    publisher.run(1)
    assert publisher.rate_bps >= 100_000
    publisher.run(20)
    assert 200_000 < publisher.rate_bps < 450_000


def test_a_wide_uplink_is_left_alone() -> None:
    publisher = Publisher(Link(seed=1, capacity_bps=20_000_000, delay_us=20_000, jitter_us=10_000))
    publisher.run(20)
    assert {packet.bitrate_bps >= CEILING_BPS for packet in publisher.received} == {True}
    assert 15 <= len(publisher.received) <= 25, "once a second"


def test_an_uplink_that_widens_is_used_again() -> None:
    link = Link(seed=1, capacity_bps=400_000, queue_bytes=25_000, delay_us=20_000)
    publisher = Publisher(link)
    publisher.run(15)
    assert publisher.rate_bps < 450_000
    link.capacity_bps = 5_000_000
    publisher.run(40)
    assert publisher.rate_bps > 1_000_000


def test_random_loss_alone_does_not_stop_a_publisher() -> None:
    publisher = Publisher(Link(seed=1, capacity_bps=5_000_000, delay_us=20_000, loss=0.05))
    publisher.run(20)
    assert publisher.rate_bps == CEILING_BPS


def test_who_estimates_by_itself_is_not_told() -> None:
    publisher = Publisher(Link(seed=1, capacity_bps=400_000, queue_bytes=25_000), remb=False)
    publisher.run(5)
    assert publisher.received == []


def test_who_sends_nothing_is_told_nothing() -> None:
    publisher = Publisher(Link(seed=1))
    publisher.run(3)
    publisher.link.loss = 1.0
    publisher.run(3)
    publisher.received.clear()
    publisher.run(5)
    assert publisher.received == []
