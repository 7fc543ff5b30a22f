"""A test picture that moves and tells the time, and a quiet tone."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from sfu_client.capture.base import Grab, Image
from sfu_client.sources import AudioSource

DEFAULT_SIZE = (1280, 720)
TONE_HZ = (220.0, 277.0, 330.0)
TONE_LEVEL = 0.05
"""Of full scale: heard, and no nuisance."""


class SyntheticGrabber:
    """Gradient, colour bars, a bouncing ball, the wall clock and a frame counter.

    What stays the same is drawn once; a frame costs one copy and a few small strokes.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: float,
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        self._width, self._height = size
        self._fps = fps
        self._now = now
        self._number = 0
        self._background = _background(*size)
        self._scale = self._height / 720

    def read(self) -> Grab:
        picture = self._background.copy()
        self._draw_ball(picture)
        text = self._now().strftime("%H:%M:%S.%f")[:-3]
        self._write(picture, text, 0.42, 3.0)
        self._write(picture, f"frame {self._number}", 0.54, 1.3)
        self._number += 1
        return Grab(picture, (self._number - 1) / self._fps)

    def close(self) -> None:
        """Nothing to free."""

    def _draw_ball(self, picture: Image) -> None:
        radius = max(4, self._height // 12)
        seconds = self._number / self._fps
        left = _bounce(seconds * self._width / 4, self._width - 2 * radius) + radius
        top = _bounce(seconds * self._height / 2.7, self._height * 3 // 4 - 2 * radius) + radius
        cv2.circle(picture, (left, top), radius, (60, 200, 255), -1, cv2.LINE_AA)

    def _write(self, picture: Image, text: str, at: float, size: float) -> None:
        scale = max(0.3, size * self._scale)
        thickness = max(1, round(3 * self._scale))
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
        place = ((self._width - width) // 2, round(self._height * at))
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, scale, (245, 245, 245), thickness)


def _bounce(distance: float, room: int) -> int:
    """A position in 0..room of something that runs to and fro."""
    if room <= 0:
        return 0
    turned = distance % (2 * room)
    return int(turned if turned <= room else 2 * room - turned)


def _background(width: int, height: int) -> Image:
    rows = np.linspace(0, 1, height)[:, None]
    columns = np.linspace(0, 1, width)[None, :]
    picture = np.empty((height, width, 3), np.uint8)
    picture[..., 0] = 70 + 60 * (1 - rows) + 20 * columns
    picture[..., 1] = 30 + 30 * columns
    picture[..., 2] = 40 + 50 * rows * columns
    colours = ((235, 235, 235), (40, 220, 220), (220, 220, 40), (60, 200, 60), (200, 60, 200), (50, 50, 220))
    edges = np.linspace(0, width, len(colours) + 1).astype(int)
    for colour, left, right in zip(colours, edges, edges[1:], strict=False):
        picture[height * 7 // 8 :, left:right] = colour
    return picture


class ToneSource(AudioSource):
    """A soft chord that swells and fades every two seconds, made of a prepared loop."""

    def __init__(self) -> None:
        super().__init__(48_000, 1)
        self._loop_samples = _tone_loop(self.rate)
        self._at = 0

    def _take(self) -> NDArray[np.int16]:
        taken = self._loop_samples[self._at : self._at + self._block]
        self._at = (self._at + self._block) % len(self._loop_samples)
        return taken[:, None]


def _tone_loop(rate: int) -> NDArray[np.int16]:
    """Two seconds; whole periods of every tone (whole hertz), so that it repeats without a click."""
    seconds = np.arange(2 * rate) / rate
    chord = sum(np.sin(2 * math.pi * hz * seconds) for hz in TONE_HZ) / len(TONE_HZ)
    swell = 0.6 + 0.4 * np.sin(math.pi * seconds)
    return np.asarray(chord * swell * TONE_LEVEL * 32767, np.int16)
