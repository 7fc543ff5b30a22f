from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.media.plane import BURST_US, BurstResult
from sfu.media.twcc import EARLY_PACKETS, FEEDBACK_INTERVAL_US, SentHistory, TwccRecorder
from sfu.rtp.rtcp import TransportWideFeedback, parse_compound
from sfu.rtp.transport_cc import REFERENCE_SPAN_US


def drain(recorder: TwccRecorder, now_us: int) -> list[TransportWideFeedback]:
    reports = []
    while (data := recorder.build(1, 2, now_us)) is not None:
        assert len(data) <= 1200
        (report,) = parse_compound(data)
        assert isinstance(report, TransportWideFeedback)
        reports.append(report)
    return reports


def statuses(reports: list[TransportWideFeedback]) -> list[tuple[int, int | None]]:
    return [packet for report in reports for packet in report.packets]


def test_nothing_is_due_before_the_interval_or_without_packets() -> None:
    recorder = TwccRecorder()
    assert recorder.build(1, 2, 10**9) is None
    recorder.record(5, 1_000_000)
    assert recorder.build(1, 2, 1_000_000 + FEEDBACK_INTERVAL_US - 1) is None
    assert recorder.build(1, 2, 1_000_000 + FEEDBACK_INTERVAL_US) is not None
    assert recorder.build(1, 2, 1_000_000 + 2 * FEEDBACK_INTERVAL_US) is None


def test_many_packets_are_reported_early() -> None:
    recorder = TwccRecorder()
    for seq in range(EARLY_PACKETS):
        recorder.record(seq, 1_000_000 + seq)
    assert len(statuses(drain(recorder, 1_000_100))) == EARLY_PACKETS


def test_losses_and_wrap_are_reported_across_reports() -> None:
    recorder = TwccRecorder()
    for seq in (65533, 65534, 0, 2):
        recorder.record(seq, 64_000_000 + ((seq + 10) & 0xFFFF) * 250)
    (first,) = drain(recorder, 65_000_000)
    assert first.base_seq == 65533
    assert [seq for seq, arrival in first.packets if arrival is None] == [65535, 1]
    recorder.record(5, 65_000_000)
    (second,) = drain(recorder, 65_100_000)
    assert second.packets == ((3, None), (4, None), (5, 65_000_000))
    assert second.feedback_count == (first.feedback_count + 1) & 0xFF


def test_a_late_packet_is_reported_again_with_what_followed() -> None:
    recorder = TwccRecorder()
    for seq in (10, 12, 13):
        recorder.record(seq, 64_000_000)
    drain(recorder, 64_100_000)
    recorder.record(11, 64_120_000)
    (report,) = drain(recorder, 64_200_000)
    assert report.packets == ((11, 64_120_000), (12, 64_000_000), (13, 64_000_000))


def test_what_was_forgotten_is_never_called_lost() -> None:
    recorder = TwccRecorder()
    recorder.record(10, 1_000_000)
    recorder.record(12, 1_000_000)
    drain(recorder, 1_100_000)
    recorder.record(13, 2_000_000)
    drain(recorder, 2_100_000)
    recorder.record(11, 2_110_000)
    assert drain(recorder, 2_200_000) == []


def test_a_duplicate_keeps_the_first_arrival() -> None:
    recorder = TwccRecorder()
    for seq, now_us in ((1, 64_000_000), (2, 64_000_250), (1, 64_009_000), (2, 64_009_000)):
        recorder.record(seq, now_us)
    (report,) = drain(recorder, 65_000_000)
    assert report.packets == ((1, 64_000_000), (2, 64_000_250))


def test_a_jump_of_the_numbers_makes_no_flood_of_losses() -> None:
    recorder = TwccRecorder()
    recorder.record(0, 0)
    recorder.record(40_000, 10_000)
    recorder.record(30_000, 20_000)
    reports = drain(recorder, 1_000_000)
    assert [report.packets[-1][0] for report in reports] == [0, 40_000, 30_000]
    assert len(statuses(reports)) == 3


def test_a_hostile_sender_takes_bounded_memory_and_gets_bounded_reports() -> None:
    rng = random.Random(1)
    recorder = TwccRecorder()
    for step in range(30_000):
        recorder.record(rng.randrange(0x10000), step * 10)
        if step % 3000 == 0:
            assert len(drain(recorder, step * 10)) <= 8
    assert len(recorder._arrivals) <= 2048
    # Once the numbers run on, so do the reports.
    drain(recorder, 1_000_000)
    first = recorder._highest + 1
    for index in range(10):
        recorder.record((first + index) & 0xFFFF, 2_000_000)
    assert [seq for seq, _ in statuses(drain(recorder, 3_000_000))] == [
        (first + index) & 0xFFFF for index in range(10)
    ]


def test_arrivals_too_far_apart_for_one_report_go_into_two() -> None:
    recorder = TwccRecorder()
    recorder.record(1, 0)
    recorder.record(2, 60_000_000)
    reports = drain(recorder, 61_000_000)
    assert statuses(reports) == [(1, 0), (2, 60_000_000)]
    assert len(reports) == 2


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(0, 0xFFFF), st.integers(0, 3))
def test_sender_and_receiver_agree_on_every_packet(seed: int, first: int, reordering: int) -> None:
    rng = random.Random(seed)
    history = SentHistory(1024)
    history._next = first
    recorder = TwccRecorder()
    now_us = rng.randrange(REFERENCE_SPAN_US * 2)
    arrivals: list[tuple[int, int, int]] = []
    expected: dict[int, tuple[int, int]] = {}
    for index in range(rng.randrange(1, 400)):
        now_us += BURST_US + rng.randrange(1, 5000)
        seq = history.sent(now_us, 100 + index)
        if rng.random() < 0.9:
            arrivals.append((now_us + 20_000 + rng.randrange(1 + 10_000 * reordering), seq, index))
            expected[now_us] = (arrivals[-1][0], 100 + index)
    outcome: dict[int, BurstResult] = {}
    for arrival_us, seq, _ in sorted(arrivals):
        recorder.record(seq, arrival_us)
        for report in drain(recorder, arrival_us):
            outcome.update((result.sent_us, result) for result in history.match(report))
    for report in drain(recorder, now_us + 10**6):
        outcome.update((result.sent_us, result) for result in history.match(report))
    received = {sent_us: result for sent_us, result in outcome.items() if result.arrival_us is not None}
    first_reported = min(received, default=0)
    # The first arrivals start the window: what overtook them before is too old only if it came first.
    for sent_us, (arrival_us, size) in expected.items():
        if sent_us >= first_reported:
            result = received[sent_us]
            assert result.size_bytes == size
            assert result.arrival_us is not None
            assert 0 <= (arrival_us - result.arrival_us) % REFERENCE_SPAN_US < 250
    assert all(sent_us in expected for sent_us in received)


def feedback(*packets: tuple[int, int | None], reference_us: int = 0) -> TransportWideFeedback:
    return TransportWideFeedback(1, 2, packets[0][0], 0, reference_us, packets)


def test_each_outcome_is_told_once() -> None:
    history = SentHistory(16)
    assert [history.sent(100 * seq, 1000 + seq) for seq in range(3)] == [0, 1, 2]
    lost_first = feedback((0, 500), (1, None), (2, 700))
    assert history.match(lost_first) == (
        BurstResult(0, 500, 1000),
        BurstResult(100, None, 1001),
        BurstResult(200, 700, 1002),
    )
    assert history.match(lost_first) == ()
    assert history.match(feedback((1, 900))) == (BurstResult(100, 900, 1001),)
    assert history.match(feedback((1, 900))) == ()


def test_what_was_sent_and_arrived_as_a_burst_is_told_as_one() -> None:
    history = SentHistory(16)
    for sent_us in (0, 100, 200, BURST_US, BURST_US + 1, BURST_US + 2, BURST_US + 3, BURST_US + 4):
        history.sent(sent_us, 10)
    late = feedback(
        (0, 500), (1, 500), (2, None), (3, 9_000), (4, 10_000), (5, 9_750), (6, 11_000), (7, 14_751)
    )
    assert history.match(late) == (
        BurstResult(0, 500, 20, packets=2, sent_span_us=100),
        BurstResult(200, None, 10),
        BurstResult(BURST_US, 9_000, 20, packets=2, sent_span_us=1, arrival_span_us=1_000),
        BurstResult(BURST_US + 2, 9_750, 20, packets=2, sent_span_us=1, arrival_span_us=1_250),
        BurstResult(BURST_US + 4, 14_751, 10),
    )


def test_what_was_called_lost_and_what_is_of_a_probe_is_told_alone() -> None:
    history = SentHistory(16)
    for cluster in (0, 0, 0, 1, 1, 0):
        history.sent(0, 10, cluster)
    history.match(feedback((0, None), (1, None)))
    told = history.match(feedback(*((seq, 500) for seq in range(6))))
    assert [(result.packets, result.probe_cluster) for result in told] == [
        (1, 0),
        (1, 0),
        (1, 0),
        (1, 1),
        (1, 1),
        (1, 0),
    ]


@given(st.data())
def test_bursts_keep_every_packet_and_byte(data: st.DataObject) -> None:
    bursts, alone = SentHistory(64), SentHistory(64)
    steps = st.lists(st.tuples(st.integers(0, 4_000), st.integers(1, 1_500)), min_size=1, max_size=64)
    now_us = 0
    arrivals: list[tuple[int, int | None]] = []
    for seq, (apart_us, size) in enumerate(data.draw(steps)):
        now_us += apart_us
        bursts.sent(now_us, size)
        alone.sent(now_us, size, 1)
        arrivals.append((seq, data.draw(st.none() | st.integers(now_us, now_us + 20_000))))
    told = [result for result in bursts.match(feedback(*arrivals)) if result.arrival_us is not None]
    each = iter(result for result in alone.match(feedback(*arrivals)) if result.arrival_us is not None)
    for burst in told:
        of_it = list(itertools.islice(each, burst.packets))
        first, last = of_it[0], of_it[-1]
        assert burst.size_bytes == sum(packet.size_bytes for packet in of_it)
        assert (burst.sent_us, burst.arrival_us) == (first.sent_us, first.arrival_us)
        assert burst.sent_us + burst.sent_span_us == last.sent_us <= burst.sent_us + BURST_US
        assert burst.arrival_us is not None
        assert burst.arrival_us + burst.arrival_span_us == last.arrival_us
        assert 0 <= burst.arrival_span_us <= BURST_US
    assert next(each, None) is None


def test_numbers_never_sent_or_overwritten_are_left_out() -> None:
    history = SentHistory(16)
    assert history.match(feedback((0, 1), (65535, 1))) == ()
    for seq in range(20):
        history.sent(2 * BURST_US * seq, 1)
    matched = history.match(feedback(*((seq & 0xFFFF, 5) for seq in range(-3, 30))))
    assert [result.sent_us for result in matched] == [2 * BURST_US * seq for seq in range(4, 20)]


def test_arrival_times_run_on_where_the_reference_time_wraps() -> None:
    history = SentHistory(16)
    history.sent(0, 1)
    history.sent(1, 1)
    history.sent(2, 1)
    last = REFERENCE_SPAN_US - 64_000
    (before,) = history.match(feedback((0, last + 1000), reference_us=last))
    (after,) = history.match(feedback((1, 1000), reference_us=0))
    (back,) = history.match(feedback((2, last + 2000), reference_us=last))
    assert (before.arrival_us, after.arrival_us) == (last + 1000, REFERENCE_SPAN_US + 1000)
    assert back.arrival_us == last + 2000


def test_the_ring_has_a_size_that_divides_the_numbers() -> None:
    with pytest.raises(ValueError, match="power of two"):
        SentHistory(1000)
