"""Reception statistics by the book, and timestamps carried over by sender reports."""

from __future__ import annotations

import random

import pytest

from sfu.media.reports import DUPLICATE, RESTARTED, Reception, SenderClock, round_trip_us
from sfu.rtp.rtcp import ReportBlock

SECOND = 1 << 32
CYCLE = 0x10000


D, R = "duplicate", "restarted"


@pytest.mark.parametrize(
    ("seqs", "accepted"),
    [
        ([5, 6, 7], [5, 6, 7]),
        ([5, 8, 6, 7], [5, 8, 6, 7]),
        ([5, 5, 6, 5], [5, D, 6, D]),
        ([65534, 65535, 0, 1], [65534, 65535, 65536, 65537]),
        ([65535, 1, 0, 65534], [65535, 65537, 65536, 65534]),
        ([0, 65535, 1], [0, -1, 1]),
        ([5, 3004, 957, 956], [5, 3004, 957, R]),  # what is older than the window may be a new beginning
        ([5, 30_000, 6], [5, R, 6]),
        ([5, 30_000, 6, 30_001], [5, R, 6, R]),
        # Begun anew is above all that was before, even what a wrap could still have brought.
        ([5, 30_000, 30_001, 30_002], [5, R, 2 * CYCLE + 30_001, 2 * CYCLE + 30_002]),
    ],
)
def test_numbers_are_unwrapped_once_each(seqs: list[int], accepted: list[int | str]) -> None:
    reception = Reception(90_000)
    # The first cycle is made up, so that what was reordered before the first packet has a number too.
    names: dict[int, int | str] = {DUPLICATE: D, RESTARTED: R}
    found = [reception.accept(seq) for seq in seqs]
    assert [names.get(number, number - CYCLE) for number in found] == accepted


@pytest.mark.parametrize("seed", range(5))
def test_no_number_is_accepted_twice_and_losses_add_up(seed: int) -> None:
    rng = random.Random(seed)
    reception = Reception(90_000)
    order = sorted(range(5000), key=lambda number: number + rng.random() * 20)
    lost = set(rng.sample(range(1, 4999), 100))
    accepted: list[int] = []
    for number in order:
        for _ in range(rng.choice((1, 1, 1, 2))):
            if number not in lost:
                accepted.append(reception.accept(number + 65_000 & 0xFFFF))
    new = [number for number in accepted if number >= 0]
    assert len(set(new)) == len(new) == 4900
    assert reception.duplicates == len(accepted) - 4900
    first = min(new)
    assert {number - first for number in new} == set(range(5000)) - lost
    # What came before the first packet by reordering was not expected by the count.
    assert 100 - 20 <= reception.lost <= 100


def test_only_what_is_missing_may_be_recovered() -> None:
    reception = Reception(90_000)
    assert not reception.is_missing(5)
    for seq in (5, 6, 9):
        reception.accept(seq)
    assert [seq for seq in range(12) if reception.is_missing(seq)] == [0, 1, 2, 3, 4, 7, 8]


def test_a_report_speaks_of_the_time_since_the_last_one() -> None:
    reception = Reception(90_000)
    for seq in (65_530, 65_531, 65_533, 1):
        reception.accept(seq)
    block = reception.report(9, 0)
    assert (block.ssrc, block.lost, block.fraction_lost) == (9, 4, 128)
    assert (block.highest_seq, block.lsr, block.dlsr) == (CYCLE + 1, 0, 0)
    reception.accept(2)
    assert reception.report(9, 0).fraction_lost == 0
    assert reception.report(9, 0).lost == 4
    for seq in (65_532, 65_534, 65_535, 0):
        reception.accept(seq)
    recovered = reception.report(9, 0)
    assert (recovered.lost, recovered.fraction_lost) == (0, 0)


def test_a_report_echoes_the_senders() -> None:
    reception = Reception(90_000)
    reception.accept(1)
    reception.sender_report = SenderClock(0x1234_5678_9ABC_DEF0, 0, 1_000_000)
    block = reception.report(9, 1_500_000)
    assert (block.lsr, block.dlsr) == (0x5678_9ABC, 32_768)


def test_jitter_is_that_of_the_standard() -> None:
    reception = Reception(8000)
    expected = 0.0
    transit = None
    rng = random.Random(4)
    for number in range(200):
        arrival_us = number * 20_000 + rng.randrange(5000)
        reception.arrived(number * 160, arrival_us)
        now = arrival_us * 8000 // 1_000_000 - number * 160
        if transit is not None:
            expected += (abs(now - transit) - expected) / 16
        transit = now
    assert reception.jitter == pytest.approx(expected)
    assert 5 < reception.jitter < 40


def test_packets_of_one_frame_and_a_wrap_of_timestamps_are_no_jitter() -> None:
    reception = Reception(90_000)
    for frame in range(100):
        for part in range(5):
            reception.arrived((1 << 32) - 9000 + frame * 3000 & 0xFFFFFFFF, frame * 33_333 + part)
    assert reception.jitter < 1


def test_a_senders_clock_is_carried_forward_on_its_own_line() -> None:
    clock = SenderClock(50 * SECOND, (1 << 32) - 45_000, 7_000_000)
    ntp, rtp_ts = clock.at(8_000_000, 90_000)
    assert (ntp, rtp_ts) == (51 * SECOND, 45_000)


def test_a_timestamp_is_told_on_the_line_of_another_stream() -> None:
    one = SenderClock(50 * SECOND, 1000, 0)
    other = SenderClock(51 * SECOND, (1 << 32) - 500, 12345)
    # One second apart, and then half a second on.
    assert one.translate(1000 + 90_000, other, 90_000) == (1 << 32) - 500
    assert one.translate(1000 + 135_000, other, 90_000) == 45_000 - 500
    assert other.translate(44_500, one, 90_000) == 1000 + 135_000


@pytest.mark.parametrize(("held", "expected_us"), [(0, 80_000), (65_536 // 20, 30_012), (65_536, 0)])
def test_the_round_trip_is_without_the_time_a_report_was_held(held: int, expected_us: int) -> None:
    block = ReportBlock(1, 0, 0, 0, 0, 5, held)
    assert round_trip_us(block, 1_000_000, 1_080_000) == pytest.approx(expected_us, abs=30)
