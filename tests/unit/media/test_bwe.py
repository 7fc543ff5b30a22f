"""The estimator's parts on hand-made arrivals, and the whole under garbage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.media.bwe import Estimator
from sfu.media.bwe.acked import AckedBitrate
from sfu.media.bwe.aimd import BETA, AimdRate
from sfu.media.bwe.delay import DelayDetector, Groups, QueueDelay, Usage
from sfu.media.bwe.loss import LossController
from sfu.media.bwe.probe import MIN_PACKETS, ProbeController
from sfu.media.plane import BurstResult

S = 1_000_000


def steady(
    begin_us: int, duration_us: int, bps: int, *, slope: float = 0.0, size: int = 1_000
) -> Iterator[tuple[int, int]]:
    """(sent, arrival) at a constant rate, each second `slope` seconds of queue more."""
    interval = size * 8 * S // bps
    for offset in range(0, duration_us, interval):
        yield begin_us + offset, begin_us + 7_000_000 + offset + int(slope * offset)


# --- acknowledged bitrate ------------------------------------------------------------------------


def acked(packets: Iterator[tuple[int, int]] | list[tuple[int, int]], size: int = 1_000) -> AckedBitrate:
    rate = AckedBitrate()
    for sent_us, arrival_us in packets:
        rate.add(sent_us, arrival_us, size)
    return rate


@pytest.mark.parametrize("bps", [60_000, 500_000, 5_000_000])
def test_the_acked_bitrate_is_the_rate(bps: int) -> None:
    assert acked(steady(0, S, bps)).bitrate_bps() == pytest.approx(bps, rel=0.03)


def test_too_little_says_nothing() -> None:
    assert AckedBitrate().bitrate_bps() is None
    assert acked([(0, 0), (S, S)]).bitrate_bps() is None
    assert acked([(0, 5)] * 30).bitrate_bps() is None


def test_packets_held_back_and_released_do_not_raise_it() -> None:
    bunched = [(sent_us, arrival_us // 200_000 * 200_000) for sent_us, arrival_us in steady(0, S, 500_000)]
    bitrate_bps = acked(bunched).bitrate_bps()
    assert bitrate_bps is not None
    assert bitrate_bps <= 520_000


def test_a_receiver_cannot_claim_more_than_it_was_sent() -> None:
    squeezed = [(sent_us, arrival_us // 5) for sent_us, arrival_us in steady(0, 3 * S, 500_000)]
    assert acked(squeezed).bitrate_bps() == pytest.approx(500_000, rel=0.03)


def test_reordered_arrivals_change_nothing() -> None:
    packets = list(steady(0, S, 800_000))
    packets[60], packets[61] = packets[61], packets[60]
    assert acked(packets).bitrate_bps() == pytest.approx(800_000, rel=0.03)


def test_a_new_clock_starts_over() -> None:
    rate = acked(steady(100 * S, S, 500_000))
    for sent_us, arrival_us in steady(101 * S, S, 900_000):
        rate.add(sent_us, arrival_us - 90 * S, 1_000)
    assert rate.bitrate_bps() == pytest.approx(900_000, rel=0.03)


def test_the_capacity_is_what_the_latest_arrivals_came_at() -> None:
    rate = acked(list(steady(0, S, 200_000)) + list(steady(S, 120_000, 2_000_000)))
    assert rate.capacity_bps() == pytest.approx(2_000_000, rel=0.05)


# --- delay ---------------------------------------------------------------------------------------


def test_groups_take_what_is_sent_within_five_ms_and_yield_differences() -> None:
    groups = Groups()
    packets = [(0, 100), (4_000, 4_500), (20_000, 22_000), (24_000, 27_000), (60_000, 60_100)]
    assert [groups.add(*packet) for packet in packets] == [None, None, None, None, (20_000, 22_500)]


def test_packets_that_arrive_back_to_back_after_a_stall_are_one_group() -> None:
    groups = Groups()
    deltas = [
        groups.add(*packet) for packet in [(0, 0), (20_000, 20_000), (40_000, 90_000), (60_000, 91_000)]
    ]
    assert deltas == [None, None, (20_000, 20_000), None]
    assert deltas.count(None) == 3


@pytest.mark.parametrize(
    ("slope", "usage"), [(0.0, Usage.NORMAL), (0.3, Usage.OVERUSE), (-0.3, Usage.UNDERUSE)]
)
def test_the_trend_of_the_delay_is_the_signal(slope: float, usage: Usage) -> None:
    detector = DelayDetector()
    for packet in steady(0, S, 1_000_000, slope=slope):
        detector.add(*packet)
    assert detector.usage is usage


def test_the_threshold_learns_from_noise_and_forgets() -> None:
    detector = DelayDetector()
    for index, (sent_us, arrival_us) in enumerate(steady(0, 20 * S, 1_000_000)):
        detector.add(sent_us, arrival_us + (12_000 if index // 25 % 2 else 0))
    learnt = detector.threshold
    for packet in steady(20 * S, 20 * S, 1_000_000):
        detector.add(*packet)
    assert detector.threshold < learnt


def test_a_standing_queue_is_measured_against_the_least_delay_seen() -> None:
    queue = QueueDelay()
    for index, delay_us in enumerate([900_000_000, 899_990_000, 900_200_000, 900_260_000]):
        queue.add(delay_us, index * 50_000)
    assert queue.us == 270_000
    assert queue.deep
    for index in range(500):
        queue.add(900_260_000, S + index * 50_000)
    assert queue.us == 0, "a new route is no queue for ever"


# --- rate control --------------------------------------------------------------------------------


def rate_after(usage: Usage, *, start_bps: int, acked_bps: int, queue_us: int = 0) -> AimdRate:
    rate = AimdRate(start_bps, 30_000, 10_000_000)
    arrivals = acked(steady(0, S, acked_bps))
    for now_us in (0, S):
        rate.update(usage, arrivals, now_us, rtt_us=100_000, queue_us=queue_us)
    return rate


def test_overuse_falls_to_a_part_of_what_arrives() -> None:
    rate = rate_after(Usage.OVERUSE, start_bps=1_000_000, acked_bps=800_000)
    assert rate.bps == pytest.approx(BETA * 800_000, rel=0.05)


def test_a_deep_queue_is_drained_and_the_rate_resumed() -> None:
    rate = rate_after(Usage.OVERUSE, start_bps=1_000_000, acked_bps=800_000, queue_us=900_000)
    assert rate.bps == pytest.approx(0.5 * 800_000, rel=0.05)
    rate.update(Usage.NORMAL, acked(steady(0, S, 400_000)), 3 * S, rtt_us=100_000, queue_us=10_000)
    assert rate.bps == pytest.approx(BETA * 800_000, rel=0.1)


def test_growth_is_eight_percent_a_second_and_bound_by_what_arrives() -> None:
    assert rate_after(Usage.NORMAL, start_bps=1_000_000, acked_bps=1_000_000).bps == pytest.approx(
        1_080_000, 0.01
    )
    assert rate_after(Usage.NORMAL, start_bps=1_000_000, acked_bps=200_000).bps == 1_000_000


def test_near_the_last_overuse_growth_is_additive() -> None:
    rate = AimdRate(2_000_000, 30_000, 10_000_000)
    arrivals = acked(steady(0, S, 2_000_000))
    rate.update(Usage.OVERUSE, arrivals, 0, rtt_us=100_000)
    before = rate.bps
    rate.update(Usage.NORMAL, arrivals, S, rtt_us=100_000)
    assert rate.bps - before < 0.03 * before


def test_loss_forbids_growth_but_not_decrease() -> None:
    rate = AimdRate(500_000, 30_000, 10_000_000)
    arrivals = acked(steady(0, S, 500_000))
    for now_us in (0, S):
        rate.update(Usage.NORMAL, arrivals, now_us, rtt_us=0, may_increase=False)
    assert rate.bps == 500_000


def run_loss(controller: LossController, lost_of_100: int, begin_s: int, seconds: int) -> None:
    for step in range(seconds * 10):
        now_us = begin_s * S + step * 100_000
        controller.add(lost_of_100 * (step % 2) // 5, 20, now_us)
        controller.update(1_000_000, AckedBitrate(), now_us, 50_000)


def test_loss_has_three_zones() -> None:
    controller = LossController(30_000)
    run_loss(controller, 10, 0, 3)
    assert controller.limit_bps is None, "5 % neither lowers"
    assert not controller.may_increase, "nor lets grow"
    run_loss(controller, 60, 3, 3)
    lowered = controller.limit_bps
    assert lowered is not None
    assert lowered < 900_000
    run_loss(controller, 0, 6, 2)
    recovering = controller.limit_bps
    assert recovering is not None
    run_loss(controller, 0, 8, 2)
    assert controller.limit_bps is not None
    assert controller.limit_bps > 1.1 * recovering
    run_loss(controller, 0, 10, 30)
    assert controller.limit_bps is None


def test_one_bad_window_is_forgiven() -> None:
    controller = LossController(30_000)
    controller.add(6, 40, 0)
    controller.update(1_000_000, AckedBitrate(), 500_000, 50_000)
    run_loss(controller, 0, 1, 2)
    assert controller.limit_bps is None


# --- probing -------------------------------------------------------------------------------------


def answer(probes: ProbeController, cluster: int, bps: int, capacity_bps: int, now_us: int) -> int | None:
    """Send a whole cluster at `bps` through a link; what it proves."""
    sent_us, free_us = float(now_us), float(now_us)
    for _ in range(60):
        free_us = max(free_us, sent_us) + 300 * 8 * S / capacity_bps
        probes.add(cluster, int(sent_us), int(free_us), 300)
        sent_us += 300 * 8 * S / bps
    result = probes.result(now_us + 200_000)
    return None if result is None else result.bps


def test_initial_probes_climb_and_go_on_while_they_succeed() -> None:
    probes = ProbeController(400_000, 20_000_000)
    estimate, now_us, targets = 400_000, 0, []
    for _ in range(100):
        now_us += 100_000
        probe = probes.next_probe(estimate, 4_000_000, now_us, calm=True)
        if probe is not None:
            targets.append(probe.target_bps)
            assert probe.min_packets >= MIN_PACKETS
            proven = answer(probes, probe.cluster_id, probe.target_bps, 50_000_000, now_us)
            assert proven == pytest.approx(probe.target_bps, rel=0.02)
            estimate = max(estimate, proven or 0)
    assert targets[:3] == [1_200_000, 2_400_000, 4_800_000]
    assert estimate >= 4_000_000
    assert len(targets) <= 4, "nothing is probed beyond what is wanted"


def test_a_full_link_answers_with_its_capacity_and_is_asked_ever_more_rarely() -> None:
    probes = ProbeController(400_000, 20_000_000)
    times = []
    for now_us in range(0, 60 * S, 100_000):
        probe = probes.next_probe(500_000, 4_000_000, now_us, calm=True)
        if probe is not None:
            times.append(now_us)
            proven = answer(probes, probe.cluster_id, probe.target_bps, 450_000, now_us)
            assert proven is None or proven <= 450_000
    gaps = [(b - a) / S for a, b in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert 1.9 < gaps[0] < 3
    assert gaps[-1] < 10.5


def test_an_unsent_or_lost_probe_proves_nothing_and_blocks_nothing() -> None:
    probes = ProbeController(400_000, 20_000_000)
    first = probes.next_probe(400_000, 4_000_000, 0, calm=True)
    assert first is not None
    for index in range(30):
        probes.add(first.cluster_id, index * 1_000, None, 300)
    assert probes.result(100_000) is None
    assert probes.next_probe(400_000, 4_000_000, 10 * S, calm=True) is not None


def test_no_probe_without_need_or_calm() -> None:
    probes = ProbeController(400_000, 20_000_000)
    assert probes.next_probe(400_000, 400_000, 0, calm=True) is None
    assert probes.next_probe(400_000, 4_000_000, 0, calm=False) is None


# --- the whole -----------------------------------------------------------------------------------


def test_bounds_are_checked() -> None:
    with pytest.raises(ValueError, match="start_bps"):
        Estimator(start_bps=10, min_bps=30_000)


def test_remb_is_a_cap_that_expires() -> None:
    estimator = Estimator(start_bps=600_000)
    estimator.on_feedback([BurstResult(0, 100, 1_000)], 50_000)
    estimator.on_remb(200_000, 60_000)
    assert estimator.estimate_bps == 200_000
    assert estimator.status.reason == "remb"
    estimator.on_remb(50_000_000, 70_000)
    assert estimator.estimate_bps == 600_000
    estimator.on_remb(200_000, 80_000)
    estimator.tick(20 * S, 1_000)
    assert estimator.estimate_bps == 600_000


def test_silence_counts_only_while_something_is_out() -> None:
    estimator = Estimator()
    estimator.on_feedback([BurstResult(0, 100, 1_000)], 50_000)
    for now_us in range(100_000, 5 * S, 20_000):
        estimator.tick(now_us, 1_000)
    after_one = estimator.estimate_bps
    estimator.on_feedback([BurstResult(90_000, 90_100, 1_000)], 5 * S)
    for now_us in range(5 * S, 30 * S, 20_000):
        estimator.tick(now_us, 1_000)
    assert estimator.estimate_bps == after_one


def test_what_comes_late_is_not_lost_though_both_are_told_at_once() -> None:
    """After a pause several reports wait for the estimator."""
    sent = range(0, 300_000, 10_000)
    first = [BurstResult(each, None if each % 30_000 == 0 else each + 500, 1_000) for each in sent]
    second = [BurstResult(each, 310_000, 1_000) for each in sent if each % 30_000 == 0]
    estimator, lossy = Estimator(), Estimator()
    estimator.on_feedback([*first, *second], S)
    lossy.on_feedback(first, S)
    for each in (estimator, lossy):
        each.on_feedback([BurstResult(S, S + 500, 1_000)], 2 * S)
    assert estimator.status.loss == 0
    assert lossy.status.loss > 0.3


results = st.builds(
    BurstResult,
    st.integers(0, 2**40),
    st.none() | st.integers(-(2**62), 2**62),
    st.integers(0, 65_535),
    st.integers(0, 3),
)


@given(st.lists(st.tuples(st.lists(results, max_size=40), st.integers(0, 2 * S)), max_size=15))
def test_garbage_neither_raises_nor_leaves_the_bounds(reports: list[tuple[list[BurstResult], int]]) -> None:
    estimator = Estimator(max_bps=5_000_000)
    estimator.set_wanted(50_000_000)
    now_us = sent = 0
    for report, pause_us in reports:
        now_us += pause_us
        sent += 1_000
        estimator.on_feedback(report, now_us)
        estimator.on_remb(pause_us, now_us)
        estimator.tick(now_us, sent)
        probe = estimator.probe(now_us)
        assert probe is None or probe.target_bps <= 5_000_000
        assert 30_000 <= estimator.estimate_bps <= 5_000_000
        assert estimator.status.estimate_bps == estimator.estimate_bps


def test_a_lying_receiver_gains_little_without_probes() -> None:
    """Arrivals squeezed to a tenth of the time: growth stays bound to what was really sent."""
    estimator = Estimator()
    for now_us in range(100_000, 60 * S, 50_000):
        report = [
            BurstResult(sent_us, sent_us // 10, 600)
            for sent_us in range(now_us - 100_000, now_us - 50_000, 10_000)
        ]
        estimator.on_feedback(report, now_us)
    assert estimator.estimate_bps <= 1.6 * 480_000 + 10_000
