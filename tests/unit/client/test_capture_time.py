"""The Python client's sender reports: capture times that do not shake with the load of the machine."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sfu_client import AudioSource, VideoSource
from sfu_client.capture_time import BUCKET_S, CaptureClock, ntp

FRAME_S = 0.04


def test_late_reads_do_not_move_the_clock() -> None:
    clock, rng = CaptureClock(), random.Random(1)
    clock.at(0.0, 100.0)
    for number in range(1, 500):
        late_s = rng.choice((0.0, 0.01, 0.3))
        assert clock.at(number * FRAME_S, 100 + number * FRAME_S + late_s) == pytest.approx(
            100 + number * FRAME_S, abs=1e-6
        )


def test_a_frame_that_is_less_late_than_the_first_puts_the_clock_right_at_once() -> None:
    clock = CaptureClock()
    assert clock.at(7.0, 100.2) == pytest.approx(100.2)
    assert clock.at(7.04, 100.04) == pytest.approx(100.04)
    assert clock.at(7.08, 100.3) == pytest.approx(100.08)


def test_a_gap_that_the_timestamps_left_out_is_followed() -> None:
    clock = CaptureClock()
    for number in range(100):
        clock.at(number * FRAME_S, number * FRAME_S)
    frames = int(2 * BUCKET_S / FRAME_S) + 1
    for number in range(100, 100 + frames):
        captured_s = clock.at(number * FRAME_S, number * FRAME_S + 5)
    assert captured_s == pytest.approx((100 + frames - 1) * FRAME_S + 5)


def test_ntp_has_fractions_of_32_bits() -> None:
    assert ntp(3.5) == 0x3_8000_0000


class Time:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_picture_is_as_old_as_its_push() -> None:
    time = Time()
    source = VideoSource(clock=time)
    source.push(np.zeros((16, 16, 3), np.uint8))
    time.now_s += 0.03
    await source.recv()
    assert source.delay_s == pytest.approx(0.03)


async def test_sound_was_captured_up_to_its_push_however_much_waits() -> None:
    time = Time()
    source = AudioSource(clock=time)
    await source.recv()
    assert source.delay_s == 0
    source.push(np.zeros(4800, np.int16))
    for _ in range(3):
        time.now_s += 0.02
        await source.recv()
        # A tenth of a second was pushed; it ended then, so what is read is as old as that, always.
        assert source.delay_s == pytest.approx(0.1 + 0.02, abs=1e-9)
