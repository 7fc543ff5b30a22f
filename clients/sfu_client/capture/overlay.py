"""What may be done to a picture before it is encoded."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from sfu_client.capture.base import Image

Stage = Callable[[Image], Image]
"""Takes a picture and returns it changed; may draw into it."""

MOTION_WIDTH = 160
MOTION_THRESHOLD = 22
"""Difference in grey levels that counts as change: above sensor noise, below a person in dim light."""
MOTION_AREA = 0.004
"""Share of the picture that must change."""
MOTION_HOLD = 15
"""Pictures without change until motion is over: half a second at 30 a second."""
BACKGROUND_WEIGHT = 0.1


def to_frame(picture: Image) -> VideoFrame:
    """The picture as planar 4:2:0, what encoders take; odd sizes lose a row or column."""
    even = np.ascontiguousarray(picture[: picture.shape[0] & ~1, : picture.shape[1] & ~1])
    planar: Image = cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)
    return VideoFrame.from_ndarray(planar, format="yuv420p")


def fit(size: tuple[int, int]) -> Stage:
    """Scale to `size` (width, height), with black bars where the shape differs."""
    width, height = size

    def stage(picture: Image) -> Image:
        old_height, old_width = picture.shape[:2]
        if (old_width, old_height) == size:
            return picture
        scale = min(width / old_width, height / old_height)
        inner = (max(1, round(old_width * scale)), max(1, round(old_height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled: Image = cv2.resize(picture, inner, interpolation=method).astype(np.uint8, copy=False)
        if inner == size:
            return scaled
        framed = np.zeros((height, width, 3), np.uint8)
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        framed[top : top + inner[1], left : left + inner[0]] = scaled
        return framed

    return stage


def timestamp(now: Callable[[], datetime.datetime] = datetime.datetime.now) -> Stage:
    """Write the local date and time into the lower left corner."""

    def stage(picture: Image) -> Image:
        scale = max(0.4, picture.shape[0] / 900)
        thickness = max(1, round(scale * 1.5))
        text = now().strftime("%Y-%m-%d %H:%M:%S")
        place = (round(12 * scale), picture.shape[0] - round(14 * scale))
        for colour, width in (((0, 0, 0), thickness + 2), ((255, 255, 255), thickness)):
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width, cv2.LINE_AA)
        return picture

    return stage


@dataclass(frozen=True, slots=True)
class Motion:
    """`box` is (left, top, width, height) in pixels, None when motion has just ended; `area` in 0..1."""

    moving: bool
    area: float
    box: tuple[int, int, int, int] | None


class MotionMark:
    """A stage that boxes what moves; `on_change` is called (from the capture thread) at start and end."""

    def __init__(self, on_change: Callable[[Motion], None]) -> None:
        self._on_change = on_change
        self._background: NDArray[np.float32] | None = None
        self._still = MOTION_HOLD
        self._moving = False

    def __call__(self, picture: Image) -> Image:
        height, width = picture.shape[:2]
        scale = MOTION_WIDTH / width
        inner = (MOTION_WIDTH, max(1, round(height * scale)))
        small = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
        grey = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (5, 5), 0).astype(np.float32)
        if self._background is None or self._background.shape != grey.shape:
            self._background = grey
            return picture
        changed = np.abs(grey - self._background) > MOTION_THRESHOLD
        self._background += BACKGROUND_WEIGHT * (grey - self._background)
        area = float(changed.mean())
        if area >= MOTION_AREA:
            box = _bounds(changed, 1 / scale)
            self._still = 0
            self._report(Motion(True, area, box))
            left, top, wide, high = box
            corner = (left + wide, top + high)
            cv2.rectangle(picture, (left, top), corner, (40, 60, 255), max(1, width // 400))
        else:
            self._still += 1
            if self._still >= MOTION_HOLD:
                self._report(Motion(False, area, None))
        return picture

    def _report(self, motion: Motion) -> None:
        if motion.moving != self._moving:
            self._moving = motion.moving
            self._on_change(motion)


def _bounds(changed: NDArray[np.bool_], scale: float) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    left, top = int(columns[0] * scale), int(rows[0] * scale)
    return left, top, int((columns[-1] + 1) * scale) - left, int((rows[-1] + 1) * scale) - top
