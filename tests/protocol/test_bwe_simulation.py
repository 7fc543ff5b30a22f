"""The estimator with allocator and pacer behind emulated bottlenecks, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import pytest
from bwe_simulation import SIMULCAST, Bottleneck, ConstantFlow, Sample, Viewer
from emulator import Network

from sfu.media.plane import Layer


@pytest.fixture
def network() -> Network:
    return Network(seed=1)


LOWEST, LOW, MIDDLE, TOP = (layer for layer, _ in SIMULCAST)


def received_bps(samples: Sequence[Sample]) -> float:
    return mean(sample.received_bps for sample in samples)


def worst_queue_ms(samples: Sequence[Sample]) -> float:
    return max(sample.queue_ms for sample in samples)


@pytest.mark.parametrize("capacity_bps", [3_000_000, 700_000, 150_000])
def test_a_constant_cap_is_found_and_used_without_a_queue(network: Network, capacity_bps: int) -> None:
    viewer = Viewer(network, Bottleneck(network, [(0, capacity_bps)]))
    network.clock.run_for(40_000_000)
    settled = viewer.between(10, 40)
    assert received_bps(settled) >= 0.85 * capacity_bps
    assert all(0.7 < sample.estimate_bps / capacity_bps < 1.15 for sample in settled)
    assert mean(sample.queue_ms for sample in settled) < 60
    assert worst_queue_ms(settled) < 200


@pytest.mark.parametrize(("capacity_bps", "layer"), [(3_000_000, TOP), (700_000, MIDDLE), (150_000, LOWEST)])
def test_simulcast_holds_the_highest_layer_that_fits(
    network: Network, capacity_bps: int, layer: Layer
) -> None:
    viewer = Viewer(network, Bottleneck(network, [(0, capacity_bps)]), layers=SIMULCAST)
    network.clock.run_for(60_000_000)
    settled = viewer.between(10, 60)
    assert {sample.layer for sample in settled} == {layer}
    assert received_bps(settled) >= 0.7 * capacity_bps
    assert worst_queue_ms(settled) < 200


def test_three_megabits_are_reached_within_a_few_seconds(network: Network) -> None:
    viewer = Viewer(network, Bottleneck(network, [(0, 3_000_000)]))
    network.clock.run_for(4_000_000)
    assert next(sample.time_s for sample in viewer.samples if sample.estimate_bps >= 2_400_000) < 2


@pytest.mark.parametrize("layers", [None, SIMULCAST])
@pytest.mark.parametrize("queue_bytes", [20_000, 60_000])
def test_a_step_down_is_followed_within_a_second_and_back_up_within_fifteen(
    network: Network, layers: Sequence[tuple[Layer, int]] | None, queue_bytes: int
) -> None:
    schedule = [(0, 3_000_000), (15, 500_000), (35, 3_000_000)]
    viewer = Viewer(network, Bottleneck(network, schedule, queue_bytes=queue_bytes), layers=layers)
    network.clock.run_for(60_000_000)
    fell_s = next(sample.time_s for sample in viewer.between(15, 35) if sample.estimate_bps <= 500_000)
    assert fell_s < 16
    assert worst_queue_ms(viewer.between(18.5, 35)) < 200
    if layers is None:
        assert received_bps(viewer.between(20, 35)) >= 0.7 * 500_000
    rose_s = next(sample.time_s for sample in viewer.between(35, 60) if sample.estimate_bps >= 2_400_000)
    assert rose_s < 50
    if layers is not None:
        assert {sample.layer for sample in viewer.between(50, 60)} == {TOP}
        assert len(viewer.switches) <= 9


def test_a_competing_flow_is_given_room_and_its_room_taken_back(network: Network) -> None:
    bottleneck = Bottleneck(network, [(0, 3_000_000)])
    viewer = Viewer(network, bottleneck)
    ConstantFlow(bottleneck, 1_500_000, 10, 30)
    network.clock.run_for(50_000_000)
    assert 0.7 * 1_500_000 <= received_bps(viewer.between(15, 30)) <= 1_500_000
    assert worst_queue_ms(viewer.between(12, 30)) < 250
    assert received_bps(viewer.between(45, 50)) >= 0.7 * 3_000_000


def test_two_viewers_behind_one_bottleneck_both_live(network: Network) -> None:
    bottleneck = Bottleneck(network, [(0, 3_000_000)])
    first = Viewer(network, bottleneck, flow=1, seed=1)
    network.clock.run_for(10_000_000)
    second = Viewer(network, bottleneck, flow=2, seed=2)
    network.clock.run_for(60_000_000)
    shares = [received_bps(first.between(40, 70)), received_bps(second.between(30, 60))]
    assert sum(shares) >= 0.8 * 3_000_000
    assert min(shares) >= 0.1 * sum(shares)


def test_random_loss_of_five_percent_and_jitter_of_50_ms_keep_the_layer(network: Network) -> None:
    bottleneck = Bottleneck(network, [(0, 3_000_000)], loss=0.05, jitter_us=50_000)
    viewer = Viewer(network, bottleneck, layers=SIMULCAST)
    network.clock.run_for(40_000_000)
    layers = [sample.layer for sample in viewer.between(10, 40)]
    assert all(layer is not None for layer in layers)
    assert sum(layer >= MIDDLE for layer in layers if layer is not None) > 0.9 * len(layers)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_jitter_alone_is_no_congestion(seed: int) -> None:
    network = Network(seed)
    viewer = Viewer(
        network, Bottleneck(network, [(0, 3_000_000)], jitter_us=50_000), layers=SIMULCAST, seed=seed
    )
    network.clock.run_for(30_000_000)
    layers = [sample.layer for sample in viewer.between(10, 30)]
    assert layers.count(TOP) > 0.9 * len(layers)
    assert None not in layers


def test_a_policer_without_a_queue_is_obeyed_by_its_losses(network: Network) -> None:
    schedule = [(0, 3_000_000), (10, 600_000)]
    viewer = Viewer(network, Bottleneck(network, schedule, queue_bytes=6_000))
    network.clock.run_for(30_000_000)
    assert next(s.time_s for s in viewer.between(10, 30) if s.estimate_bps <= 700_000) < 12
    assert received_bps(viewer.between(15, 30)) >= 0.7 * 600_000


def test_missing_feedback_backs_off_and_recovers(network: Network) -> None:
    viewer = Viewer(network, Bottleneck(network, [(0, 3_000_000)]))
    network.clock.run_for(10_000_000)
    before = viewer.estimator.estimate_bps
    viewer.feedback_on = False
    network.clock.run_for(450_000)
    assert viewer.estimator.estimate_bps >= 0.8 * before
    network.clock.run_for(2_500_000)
    assert viewer.estimator.estimate_bps <= 0.5 * before
    assert viewer.estimator.status.reason == "silence"
    viewer.feedback_on = True
    network.clock.run_for(6_000_000)
    assert viewer.estimator.estimate_bps >= 0.8 * before


def test_an_application_that_sends_little_learns_its_room_by_probes_only(network: Network) -> None:
    """Audio alone: while nobody wants more, the estimate stands; when somebody does, probes find the room."""
    viewer = Viewer(network, Bottleneck(network, [(0, 3_000_000)]), layers=())
    network.clock.run_for(10_000_000)
    assert viewer.estimator.estimate_bps <= 400_000
    viewer._layers = SIMULCAST
    network.clock.run_for(5_000_000)
    assert viewer.layer == TOP


def test_the_same_seed_gives_the_same_trace() -> None:
    traces = []
    for _ in range(2):
        network = Network(7)
        bottleneck = Bottleneck(network, [(0, 900_000)], loss=0.02, jitter_us=10_000)
        viewer = Viewer(network, bottleneck, layers=SIMULCAST)
        network.clock.run_for(8_000_000)
        traces.append(viewer.samples)
    assert traces[0] == traces[1]


def test_pacing_is_not_felt_while_one_layer_flows(network: Network) -> None:
    viewer = Viewer(network, Bottleneck(network, [(0, 3_000_000)]), layers=SIMULCAST)
    network.clock.run_for(5_000_000)
    viewer.paced_us.clear()
    network.clock.run_for(20_000_000)
    assert max(viewer.paced_us, default=0) < 5_000
