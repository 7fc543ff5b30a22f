"""What the Python client makes of an uplink that carries less than it was asked for."""

from __future__ import annotations

import fractions

import numpy as np
import pytest
from av import VideoFrame

from sfu_client import _aiortc
from sfu_client.adaptation import LOWEST_BPS, Adaptation, SentEncoding

WIDTH, HEIGHT, FPS = 640, 360, 20
CEILING_BPS = 1_500_000


class Encoder:
    """Keeps the rate it is set to, but never makes less than so many bits of each pixel."""

    def __init__(self, adaptation: Adaptation, least_bpp: float) -> None:
        self.adaptation = adaptation
        self.least_bpp = least_bpp
        self.now_s = 100.0

    def run(self, seconds: float) -> SentEncoding:
        for _ in range(int(seconds * FPS)):
            self.now_s += 1 / FPS
            if self.adaptation.takes(WIDTH, HEIGHT, self.now_s):
                width, height = WIDTH // self.adaptation.scale, HEIGHT // self.adaptation.scale
                bits = max(self.adaptation.encoder_bps / FPS, self.least_bpp * width * height)
                self.adaptation.made(width, height, int(bits / 8))
        return self.adaptation.sent("f")


def test_without_a_word_nothing_is_held_back() -> None:
    encoder = Encoder(Adaptation(CEILING_BPS), least_bpp=0.8)
    sent = encoder.run(10)
    assert sent.bitrate_bps == pytest.approx(3_700_000, rel=0.05)
    assert (sent.rid, sent.target_bps, sent.limited, sent.width) == ("f", None, "", WIDTH)


def test_a_wide_path_changes_nothing() -> None:
    encoder = Encoder(Adaptation(CEILING_BPS), least_bpp=0.8)
    encoder.adaptation.tell(100_000_000)
    sent = encoder.run(10)
    assert sent.frame_rate == pytest.approx(FPS, rel=0.05)
    assert (sent.width, sent.limited) == (WIDTH, "")


def test_a_simple_picture_gives_bits_alone() -> None:
    encoder = Encoder(Adaptation(CEILING_BPS), least_bpp=0.01)
    encoder.adaptation.tell(400_000)
    sent = encoder.run(20)
    assert sent.bitrate_bps == pytest.approx(400_000, rel=0.1)
    assert sent.frame_rate == pytest.approx(FPS, rel=0.05)
    assert (sent.width, sent.height, sent.limited, sent.target_bps) == (640, 360, "bandwidth", 400_000)


def test_a_detailed_picture_gives_frames_and_then_size() -> None:
    encoder = Encoder(Adaptation(CEILING_BPS), least_bpp=0.8)
    encoder.adaptation.tell(400_000)
    frames = encoder.run(1.9)
    assert frames.width == WIDTH
    sent = encoder.run(10)
    assert sent.bitrate_bps < 440_000
    assert sent.frame_rate > 0.6 * FPS
    assert (sent.width, sent.height, sent.limited) == (160, 90, "bandwidth")


def test_after_a_large_frame_nothing_is_waited_for_longer_than_a_second() -> None:
    encoder = Encoder(Adaptation(CEILING_BPS), least_bpp=0.8)
    encoder.adaptation.tell(100_000)
    encoder.adaptation.made(WIDTH, HEIGHT, 100_000)
    taken = [encoder.adaptation.takes(WIDTH, HEIGHT, 100 + number / FPS) for number in range(30)]
    assert taken.index(True) in range(14, 22)


def test_the_size_comes_back_with_the_path_and_is_tried_more_rarely_where_it_does_not_fit() -> None:
    encoder = Encoder(Adaptation(CEILING_BPS), least_bpp=0.3)
    encoder.adaptation.tell(400_000)
    changes, scale = 0, 1
    for _ in range(240):
        encoder.run(1)
        changes += encoder.adaptation.scale != scale
        scale = encoder.adaptation.scale
    assert 1 <= changes <= 9
    encoder.adaptation.tell(3_000_000)
    encoder.run(125)
    assert encoder.adaptation.sent().width == WIDTH


def test_larger_encodings_take_what_smaller_ones_leave() -> None:
    low, high = Adaptation(375_000), Adaptation(CEILING_BPS, below_bps=375_000)
    for each in (low, high):
        each.tell(900_000)
    assert (low.encoder_bps, high.encoder_bps) == (375_000, 525_000)
    for each in (low, high):
        each.tell(400_000)
    assert low.encoder_bps == 375_000
    assert not any(high.takes(WIDTH, HEIGHT, 100 + number / FPS) for number in range(100))
    high.tell(1_000_000)
    assert high.takes(WIDTH, HEIGHT, 110)


def test_the_encoder_is_not_begun_anew_with_every_report() -> None:
    adaptation = Adaptation(CEILING_BPS)
    adaptation.tell(400_000)
    rates = []
    for number in range(20):
        adaptation.tell(int(400_000 * 1.05**number))
        rates.append(adaptation.encoder_bps)
    assert len(set(rates)) <= 6
    assert rates == sorted(rates)
    adaptation.tell(1)
    assert adaptation.encoder_bps == LOWEST_BPS


@pytest.mark.parametrize("kind", [_aiortc._LimitedVp8, _aiortc._LimitedH264])
def test_a_real_encoder_keeps_to_a_narrow_path(
    kind: type[_aiortc._Adaptive], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(_aiortc.time, "monotonic", lambda: now_s)
    encoder = kind(CEILING_BPS)
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
    size = 0
    encoder.target_bitrate = 400_000
    for number in range(8 * FPS):
        now_s += 1 / FPS
        picture = np.kron(np.roll(noise, 3 * number, axis=1), np.ones((4, 4, 1), np.uint8))
        frame = VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = number * 90_000 // FPS, fractions.Fraction(1, 90_000)
        payloads, _ = encoder.encode(frame, number == 30)
        if number >= 4 * FPS:
            size += sum(map(len, payloads))
    assert size * 8 / 4 < 500_000
    assert encoder.adaptation.sent().width < WIDTH
