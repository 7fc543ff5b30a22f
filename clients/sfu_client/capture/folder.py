"""A folder of pictures, shown in the order of their names, for ever."""

from __future__ import annotations

from pathlib import Path

import cv2

from sfu_client.capture.base import CaptureError, Grab, Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


class FolderGrabber:
    """Shows `fps` pictures a second; the folder is read again at each round, so that it may change."""

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder = folder
        self._interval_s = 1 / fps
        self._waiting: list[Path] = []
        self._shown = 0

    def read(self) -> Grab:
        unreadable = 0
        while True:
            if not self._waiting:
                self._waiting = self._scan()
            path = self._waiting.pop(0)
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is not None:
                break
            unreadable += 1
            if unreadable > 100:
                raise CaptureError(f"{self._folder} has only unreadable pictures")
        image: Image = picture.astype("uint8", copy=False)
        self._shown += 1
        return Grab(image, (self._shown - 1) * self._interval_s)

    def close(self) -> None:
        self._waiting.clear()

    def _scan(self) -> list[Path]:
        try:
            found = sorted(path for path in self._folder.iterdir() if path.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise CaptureError(f"{self._folder}: {error}") from error
        if not found:
            raise CaptureError(f"{self._folder} has no pictures")
        return found
