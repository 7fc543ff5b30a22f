"""A viewer behind a bottleneck in virtual time: estimator, allocator and pacer as the server drives them.

Feedback goes through the real recorder and the real RTCP. Everything is deterministic for a seed. Used by
the protocol tests and by `bench/estimator.py`.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emulator import Network

from sfu.media.allocator import Wish, allocate
from sfu.media.bwe import Estimator
from sfu.media.pacer import Pacer, Priority
from sfu.media.plane import Layer
from sfu.media.twcc import SentHistory, TwccRecorder
from sfu.rtp.rtcp import TransportWideFeedback, parse_compound

TICK_US = 20_000
SAMPLE_US = 100_000
AUDIO_BYTES = 110
AUDIO_US = 20_000
AUDIO_BPS = AUDIO_BYTES * 8_000_000 // AUDIO_US
PACKET_BYTES = 1_200
OVERHEAD_BYTES = 40
FRAME_US = 33_333

SIMULCAST = ((Layer(0, 0), 70_000), (Layer(0, 2), 150_000), (Layer(1, 2), 480_000), (Layer(2, 2), 2_200_000))
"""What Chromium sends for a 720p camera, roughly, the lowest also as its base temporal layer."""

_HEADER = struct.Struct("!BH")


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment; `queue_ms` is what waits at the bottleneck, `received_bps` over the last 100 ms."""

    time_s: float
    capacity_bps: int
    estimate_bps: int
    queue_ms: float
    received_bps: int
    layer: Layer | None


class Bottleneck:
    """One shared link; `schedule` gives its capacity from each time (seconds) on."""

    def __init__(
        self,
        network: Network,
        schedule: Sequence[tuple[float, int]],
        *,
        queue_bytes: int = 60_000,
        delay_us: int = 20_000,
        jitter_us: int = 0,
        loss: float = 0.0,
    ) -> None:
        self.clock = network.clock
        self._receivers: dict[int, Callable[[int, int], None]] = {}
        self._send = network.link(
            self._route,
            capacity_bps=schedule[0][1],
            queue_bytes=queue_bytes,
            delay_us=delay_us,
            jitter_us=jitter_us,
            loss=loss,
        )
        start_us = self.clock.now_us
        for time_s, capacity_bps in schedule[1:]:
            self.clock.call_at(start_us + int(time_s * 1e6), lambda bps=capacity_bps: self._change(bps))

    @property
    def capacity_bps(self) -> int:
        assert self._send.link.capacity_bps is not None
        return self._send.link.capacity_bps

    @property
    def queue_ms(self) -> float:
        return self._send.link.queued_bytes(self.clock.now_us) * 8_000 / self.capacity_bps

    def attach(self, flow: int, receive: Callable[[int, int], None]) -> None:
        self._receivers[flow] = receive

    def send(self, flow: int, seq: int, size: int) -> None:
        self._send(_HEADER.pack(flow, seq) + bytes(size - _HEADER.size))

    def _change(self, capacity_bps: int) -> None:
        self._send.link.capacity_bps = capacity_bps

    def _route(self, packet: bytes) -> None:
        flow, seq = _HEADER.unpack_from(packet)
        receiver = self._receivers.get(flow)
        if receiver is not None:
            receiver(seq, len(packet))


class Viewer:
    """One subscribe transport with audio and one video, and the receiver at its far end.

    `layers` are the video's; None stands for an ideal source that always fills the estimate.
    """

    def __init__(
        self,
        network: Network,
        bottleneck: Bottleneck,
        *,
        flow: int = 1,
        layers: Sequence[tuple[Layer, int]] | None = None,
        wanted_bps: int = 4_000_000,
        estimator: Estimator | None = None,
        seed: int = 1,
    ) -> None:
        self.estimator = estimator or Estimator()
        self.layer: Layer | None = None
        self.switches: list[tuple[float, Layer | None]] = []
        self.samples: list[Sample] = []
        self.paced_us: list[int] = []
        self._rng = random.Random(seed)
        self._clock = bottleneck.clock
        self._start_us = self._clock.now_us
        self._bottleneck = bottleneck
        self._flow = flow
        self._layers = None if layers is None else tuple(layers)
        self._pacer: Pacer[tuple[int, int]] = Pacer(self.estimator.estimate_bps)
        self._history = SentHistory()
        self._sent_bytes = 0
        self._received_bytes = 0
        self._recorder = TwccRecorder()
        self._unfinished_key_bytes = 0
        self._timer_us: int | None = None
        self._feedback = network.link(self._on_feedback, delay_us=20_000)
        self.feedback_on = True
        if layers is None:
            self.estimator.set_wanted(wanted_bps)
        bottleneck.attach(flow, self._on_packet)
        self._tick()
        self._clock.every(TICK_US, self._tick)
        self._clock.every(AUDIO_US, lambda: self._offer(AUDIO_BYTES, Priority.AUDIO))
        self._clock.every(FRAME_US, self._frame)
        self._clock.every(10_000, self._report)
        self._clock.every(SAMPLE_US, self._sample)

    @property
    def time_s(self) -> float:
        return (self._clock.now_us - self._start_us) / 1e6

    def between(self, begin_s: float, end_s: float) -> list[Sample]:
        return [sample for sample in self.samples if begin_s <= sample.time_s < end_s]

    def _tick(self) -> None:
        now_us = self._clock.now_us
        estimator = self.estimator
        estimator.tick(now_us, self._sent_bytes)
        if self._layers is not None:
            self._allocate()
        self._pacer.set_estimate(estimator.estimate_bps)
        probe = estimator.probe(now_us)
        if probe is not None:
            self._pacer.start_probe(now_us, probe)
        self._pump()

    def _allocate(self) -> None:
        assert self._layers is not None
        audio = Wish("audio", "audio", 0, ((Layer(0, 0), AUDIO_BPS),))
        video = Wish("video", "video", 128, self._layers, current=self.layer)
        result = allocate(self.estimator.estimate_bps, [audio, video])
        self.estimator.set_wanted(result.wanted_bps)
        layer = result.layers["video"]
        if layer != self.layer:
            self.layer = layer
            self.switches.append((self.time_s, layer))
            if layer is not None:
                # A switch needs a keyframe, some four times a usual frame.
                self._unfinished_key_bytes = 3 * dict(self._layers)[layer] // 240

    def _frame(self) -> None:
        if self._layers is None:
            bps = self.estimator.estimate_bps - AUDIO_BPS
        else:
            bps = dict(self._layers)[self.layer] if self.layer is not None else 0
        size = int(bps * FRAME_US / 8e6 * self._rng.uniform(0.75, 1.25)) + self._unfinished_key_bytes
        self._unfinished_key_bytes = 0
        while size > 0:
            self._offer(min(max(size, 60), PACKET_BYTES), Priority.VIDEO)
            size -= PACKET_BYTES

    def _offer(self, size: int, priority: Priority) -> None:
        now_us = self._clock.now_us
        if self._pacer.enqueue(now_us, (size, now_us), size, priority):
            self._send(size)
        else:
            self._arm()

    def _pump(self) -> None:
        now_us = self._clock.now_us
        for size, offered_us in self._pacer.due(now_us):
            self.paced_us.append(now_us - offered_us)
            self._send(size)
        while padding := self._pacer.padding_bytes(now_us):
            size = padding + OVERHEAD_BYTES
            self._pacer.padded(size)
            self._send(size)
        self._arm()

    def _arm(self) -> None:
        next_us = self._pacer.next_us
        if next_us is not None and (self._timer_us is None or next_us < self._timer_us):
            self._timer_us = max(next_us, self._clock.now_us + 1_000)
            self._clock.call_at(self._timer_us, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_us = None
        self._pump()

    def _send(self, size: int) -> None:
        seq = self._history.sent(self._clock.now_us, size, self._pacer.cluster_id)
        self._bottleneck.send(self._flow, seq, size)
        self._sent_bytes += size

    def _on_packet(self, seq: int, size: int) -> None:
        self._received_bytes += size
        self._recorder.record(seq, self._clock.now_us)

    def _report(self) -> None:
        while (report := self._recorder.build(1, 2, self._clock.now_us)) is not None:
            if self.feedback_on:
                self._feedback(report)

    def _on_feedback(self, report: bytes) -> None:
        (feedback,) = parse_compound(report)
        assert isinstance(feedback, TransportWideFeedback)
        self.estimator.on_feedback(self._history.match(feedback), self._clock.now_us)

    def _sample(self) -> None:
        received_bps = self._received_bytes * 8_000_000 // SAMPLE_US
        self._received_bytes = 0
        self.samples.append(
            Sample(
                self.time_s,
                self._bottleneck.capacity_bps,
                self.estimator.estimate_bps,
                self._bottleneck.queue_ms,
                received_bps,
                self.layer,
            )
        )


class ConstantFlow:
    """A competitor that sends at a constant rate between two times and yields to nobody."""

    def __init__(
        self, bottleneck: Bottleneck, bps: int, begin_s: float, end_s: float, *, flow: int = 200
    ) -> None:
        self._bottleneck = bottleneck
        self._flow = flow
        self._interval_us = PACKET_BYTES * 8_000_000 // bps
        clock = bottleneck.clock
        self._end_us = clock.now_us + int(end_s * 1e6)
        clock.call_later(int(begin_s * 1e6), self._next)

    def _next(self) -> None:
        if self._bottleneck.clock.now_us < self._end_us:
            self._bottleneck.send(self._flow, 0, PACKET_BYTES)
            self._bottleneck.clock.call_later(self._interval_us, self._next)
