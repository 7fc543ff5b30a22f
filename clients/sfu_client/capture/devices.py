"""Cameras of this machine, through OpenCV."""

from __future__ import annotations

import sys

import cv2
import numpy as np

from sfu_client.capture.base import CaptureError, Grab, Image

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # reported in our words


class DeviceGrabber:
    """A device by index, or by V4L2 path. The size and rate are wishes: the driver picks what it can."""

    def __init__(self, device: int | str, size: tuple[int, int] | None, fps: float) -> None:
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        self._capture = cv2.VideoCapture(device, backend)
        if not self._capture.isOpened():
            raise CaptureError(f"camera {device} cannot be opened (unplugged, busy, or no permission)")
        # Uncompressed YUYV does not fit through USB 2 above 640x480 at full rate.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        if size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        self._capture.set(cv2.CAP_PROP_FPS, fps)
        # Pictures queued in the driver are delay.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> Grab:
        good, picture = self._capture.read()
        if not good or picture is None:
            raise CaptureError("the camera gives no picture any more")
        image: Image = picture.astype(np.uint8, copy=False)
        return Grab(image, None)

    def close(self) -> None:
        self._capture.release()
