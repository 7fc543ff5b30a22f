from __future__ import annotations

from itertools import pairwise

import pytest
from emulator import GilbertElliott, Link, Network, VirtualClock, network

__all__ = ["network"]

MS = 1000
PACKETS = 20_000


def pass_through(link: Link, *, packets: int = PACKETS, spacing_us: int = MS) -> list[tuple[int, int, int]]:
    """`(index, sent_us, arrival_us)` of each arrival, in order of arrival."""
    for index in range(packets):
        link.send(index * spacing_us, index.to_bytes(4, "big") + bytes(96))
    arrivals = []
    for arrival_us, packet in link.deliver(10**12):
        index = int.from_bytes(packet[:4], "big")
        arrivals.append((index, index * spacing_us, arrival_us))
    return arrivals


def test_a_perfect_link_delivers_all_in_order_at_once() -> None:
    assert pass_through(Link(seed=1)) == [(index, index * MS, index * MS) for index in range(PACKETS)]


def test_the_same_seed_does_the_same_and_another_does_not() -> None:
    def run(seed: int) -> list[tuple[int, int, int]]:
        return pass_through(
            Link(seed=seed, loss=0.1, jitter_us=30 * MS, reorder=0.02, duplicate=0.01), packets=2000
        )

    assert run(5) == run(5)
    assert run(5) != run(6)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.3])
def test_independent_loss(loss: float) -> None:
    link = Link(seed=2, loss=loss)
    received = len(pass_through(link))
    assert 1 - received / PACKETS == pytest.approx(loss, abs=0.01)
    assert link.counters.lost == PACKETS - received


def test_burst_loss_has_the_mean_and_the_burst_length_asked_for() -> None:
    burst = GilbertElliott(to_bad=0.01, to_good=0.2)
    arrivals = pass_through(Link(seed=3, burst=burst))
    assert 1 - len(arrivals) / PACKETS == pytest.approx(burst.mean_loss, abs=0.01)
    gaps = [later[0] - earlier[0] - 1 for earlier, later in pairwise(arrivals)]
    bursts = [gap for gap in gaps if gap]
    assert sum(bursts) / len(bursts) == pytest.approx(1 / burst.to_good, rel=0.1)


def test_jitter_stays_within_its_bounds_uses_them_and_keeps_order() -> None:
    arrivals = pass_through(Link(seed=4, delay_us=20 * MS, jitter_us=50 * MS))
    delays = [arrival_us - sent_us for _, sent_us, arrival_us in arrivals]
    assert min(delays) >= 20 * MS
    assert max(delays) <= 70 * MS
    assert min(delays) < 25 * MS
    assert max(delays) > 65 * MS
    assert sum(delays) / len(delays) == pytest.approx(45 * MS, rel=0.1)
    assert [index for index, _, _ in arrivals] == list(range(PACKETS))


def test_reordering_holds_back_the_share_asked_for() -> None:
    link = Link(seed=5, reorder=0.05, reorder_us=10 * MS)
    arrivals = pass_through(link)
    assert link.counters.reordered / PACKETS == pytest.approx(0.05, abs=0.01)
    late = sum(later[0] < earlier[0] for earlier, later in pairwise(arrivals))
    assert 0.02 < late / PACKETS < 0.06
    assert max(arrival_us - sent_us for _, sent_us, arrival_us in arrivals) <= 10 * MS
    assert len(arrivals) == PACKETS


def test_duplicates() -> None:
    link = Link(seed=6, duplicate=0.1)
    assert len(pass_through(link)) == PACKETS + link.counters.duplicated
    assert link.counters.duplicated / PACKETS == pytest.approx(0.1, abs=0.01)


def test_capacity_limits_what_passes_and_the_queue_delays_the_rest() -> None:
    # 100 bytes each ms are 800 kbit/s into 400 kbit/s: half must be dropped once 5000 bytes wait.
    link = Link(seed=7, capacity_bps=400_000, queue_bytes=5000)
    arrivals = pass_through(link, packets=10_000)
    duration_s = (arrivals[-1][2] - arrivals[0][2]) / 1e6
    assert len(arrivals) * 800 / duration_s == pytest.approx(400_000, rel=0.01)
    assert link.counters.overflowed == 10_000 - len(arrivals)
    assert max(arrival_us - sent_us for _, sent_us, arrival_us in arrivals) == pytest.approx(
        100 * MS, rel=0.05
    )


def test_below_capacity_only_the_time_on_the_wire_is_added() -> None:
    arrivals = pass_through(Link(seed=8, capacity_bps=1_600_000), packets=100)
    assert {arrival_us - sent_us for _, sent_us, arrival_us in arrivals} == {500}


def test_capacity_may_change_under_way() -> None:
    link = Link(seed=9, capacity_bps=800_000, queue_bytes=1000)
    link.send(0, bytes(1000))
    assert link.queued_bytes(0) == 1000
    assert link.send(0, bytes(1)) is None
    link.capacity_bps = 8_000_000
    assert link.send(10 * MS, bytes(1000)) == 11 * MS


def test_what_is_delivered_once_is_gone() -> None:
    link = Link(seed=10, delay_us=10)
    assert link.next_arrival_us is None
    link.send(0, b"a")
    link.send(5, b"b")
    assert link.next_arrival_us == 10
    assert link.deliver(9) == []
    assert link.deliver(10) == [(10, b"a")]
    assert link.deliver(100) == [(15, b"b")]
    assert link.deliver(100) == []


def test_the_clock_calls_in_order_and_stands_where_told() -> None:
    clock = VirtualClock(0)
    called: list[tuple[str, int]] = []
    clock.call_at(20, lambda: called.append(("second", clock.now_us)))
    clock.call_at(10, lambda: clock.call_later(0, lambda: called.append(("nested", clock.now_us))))
    clock.call_at(20, lambda: called.append(("third", clock.now_us)))
    clock.every(8, lambda: called.append(("tick", clock.now_us)))
    clock.run_until(20)
    assert called == [("tick", 8), ("nested", 10), ("tick", 16), ("second", 20), ("third", 20)]
    clock.run_for(3)
    assert clock.now_us == 23
    clock.call_at(5, lambda: called.append(("late", clock.now_us)))
    clock.run_for(0)
    assert called[-1] == ("late", 23)


def test_a_network_brings_packets_to_their_receivers(network: Network) -> None:
    received: list[tuple[int, bytes]] = []
    send = network.link(lambda packet: received.append((network.clock.now_us, packet)), delay_us=30 * MS)
    start_us = network.clock.now_us
    send(b"one")
    network.clock.run_for(10 * MS)
    send(b"two")
    network.clock.run_for(100 * MS)
    assert received == [(start_us + 30 * MS, b"one"), (start_us + 40 * MS, b"two")]


def test_the_links_of_a_network_do_not_share_their_luck() -> None:
    network = Network(seed=1)
    results: list[list[bytes]] = [[], []]
    links = [network.link(result.append, loss=0.5) for result in results]
    for index in range(64):
        for link in links:
            link(bytes((index,)))
    network.clock.run_for(MS)
    assert results[0] != results[1]
