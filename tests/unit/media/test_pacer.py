"""The egress pacer: unfelt in normal flow, even under a burst, bounded always."""

from __future__ import annotations

import random
from itertools import pairwise

from sfu.media.pacer import LONGEST_WAIT_US, MOST_PACKETS, Pacer, Priority
from sfu.media.plane import Probe

VIDEO, AUDIO, RTX = Priority.VIDEO, Priority.AUDIO, Priority.RETRANSMISSION


def drain(pacer: Pacer[int], now_us: int) -> list[tuple[int, int]]:
    """(time, packet) as an exact timer would release them."""
    out = []
    while (next_us := pacer.next_us) is not None:
        now_us = max(now_us, next_us)
        out += [(now_us, packet) for packet in pacer.due(now_us)]
    return out


def test_normal_flow_passes_straight_through_or_waits_under_5_ms() -> None:
    """1 Mbit/s at 30 Hz with frames up to half as large again, and an estimate that is just enough."""
    pacer: Pacer[int] = Pacer(1_000_000)
    rng = random.Random(1)
    now_us, straight, waits = 0, 0, [0]
    for _ in range(300):
        size = int(1_000_000 / 30 / 8 * rng.uniform(0.5, 1.5))
        for _ in range(0, size, 1_200):
            if pacer.enqueue(now_us, now_us, min(size, 1_200), VIDEO):
                straight += 1
            size -= 1_200
        waits += [left_us - entered_us for left_us, entered_us in drain(pacer, now_us)]
        now_us += 33_333
    assert max(waits) < 5_000
    assert straight > 0.8 * (straight + len(waits))


def test_a_keyframe_is_spread_at_two_and_a_half_times_the_estimate() -> None:
    pacer: Pacer[int] = Pacer(1_000_000)
    for index in range(60):
        pacer.enqueue(0, index, 1_200, VIDEO)
    released = drain(pacer, 0)
    assert [packet for _, packet in released] == list(range(60 - len(released), 60))
    last_us = released[-1][0]
    assert abs(last_us - (60 * 1_200 * 8 / 2.5 - 15_000)) < 4_000
    gaps = [b[0] - a[0] for a, b in pairwise(released)]
    assert max(gaps) <= 1_200 * 8 / 2.5 + 1


def test_a_huge_backlog_leaves_within_the_longest_wait() -> None:
    pacer: Pacer[int] = Pacer(100_000)
    for index in range(500):
        pacer.enqueue(0, index, 1_200, VIDEO)
    assert drain(pacer, 0)[-1][0] <= 1.05 * LONGEST_WAIT_US
    assert pacer.next_us is None
    assert pacer.queued_bytes == 0


def test_the_queue_is_bounded_and_drops_are_counted() -> None:
    pacer: Pacer[int] = Pacer(1_000_000)
    straight = sum(pacer.enqueue(0, index, 1_200, VIDEO) for index in range(2 * MOST_PACKETS))
    assert pacer.queued_packets == MOST_PACKETS
    assert pacer.dropped == MOST_PACKETS - straight


def test_audio_never_waits_and_retransmissions_go_before_video() -> None:
    pacer: Pacer[str] = Pacer(500_000)
    while pacer.enqueue(0, "video", 1_200, VIDEO):
        pass
    assert not pacer.enqueue(0, "again", 1_200, RTX)
    assert pacer.enqueue(0, "audio", 100, AUDIO)
    assert pacer.due(1_000_000)[0] == "again"


def test_order_within_a_priority_is_kept_when_the_rate_has_room_again() -> None:
    pacer: Pacer[int] = Pacer(500_000)
    sent = [index for index in range(10) if pacer.enqueue(0, index, 1_200, VIDEO)]
    late = pacer.enqueue(10_000_000, 10, 1_200, VIDEO)
    assert not late, "a newer packet must not overtake the queue"
    while (next_us := pacer.next_us) is not None:
        sent += pacer.due(max(next_us, 10_000_000))
    assert sent == list(range(11))


def test_a_late_timer_costs_no_throughput() -> None:
    pacer: Pacer[int] = Pacer(2_000_000)
    for index in range(200):
        pacer.enqueue(0, index, 1_200, VIDEO)
    now_us = 0
    while pacer.next_us is not None:
        now_us += 10_000
        pacer.due(now_us)
    assert now_us < 1.15 * 200 * 1_200 * 8 / 5


def test_a_probe_keeps_its_rate_and_its_length() -> None:
    pacer: Pacer[int] = Pacer(500_000)
    probe = Probe(7, 2_000_000, 5, 3_750, 15_000)
    pacer.start_probe(1_000, probe)
    sent, now_us = [], 1_000
    while (next_us := pacer.next_us) is not None:
        now_us = max(now_us, next_us)
        while padding := pacer.padding_bytes(now_us):
            assert pacer.cluster_id == 7
            pacer.padded(padding + 40)
            sent.append((now_us, padding + 40))
    assert pacer.cluster_id == 0
    size = sum(size for _, size in sent)
    assert 3_750 <= size < 3_750 + 300
    assert len(sent) >= 5
    rate = (size - sent[-1][1]) * 8e6 / (sent[-1][0] - sent[0][0])
    assert 0.9 < rate / 2_000_000 < 1.1


def test_media_counts_for_the_probe_and_the_last_packet_is_still_named() -> None:
    pacer: Pacer[int] = Pacer(5_000_000)
    pacer.start_probe(0, Probe(3, 2_000_000, 2, 2_000, 8_000))
    for _ in range(2):
        assert pacer.enqueue(0, 0, 1_200, VIDEO)
        assert pacer.cluster_id == 3
    assert pacer.padding_bytes(10_000) == 0
    assert pacer.cluster_id == 0


def test_padding_at_low_rates_is_small() -> None:
    pacer: Pacer[int] = Pacer(50_000)
    pacer.start_probe(0, Probe(1, 200_000, 5, 375, 15_000))
    assert pacer.padding_bytes(0) == 75


def test_padding_does_not_delay_media() -> None:
    pacer: Pacer[int] = Pacer(500_000)
    pacer.start_probe(0, Probe(1, 4_000_000, 5, 30_000, 60_000))
    while padding := pacer.padding_bytes(30_000):
        pacer.padded(padding)
    assert pacer.enqueue(30_000, 0, 1_200, VIDEO)


def test_clear_forgets_everything() -> None:
    pacer: Pacer[int] = Pacer(500_000)
    for index in range(9):
        pacer.enqueue(0, index, 1_200, VIDEO)
    pacer.start_probe(0, Probe(1, 4_000_000, 5, 30_000, 60_000))
    pacer.clear()
    assert (pacer.next_us, pacer.queued_packets, pacer.cluster_id) == (None, 0, 0)
