"""The capture thread of a picture source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from av import VideoFrame

from sfu_client.backoff import Backoff
from sfu_client.capture import overlay
from sfu_client.capture.base import Grabber, Image, Pacer, UnusableSourceError, Worker, monotonic_s
from sfu_client.sources import VideoSource
from sfu_client.urls import without_password

logger = logging.getLogger(__name__)

Size = tuple[int, int]


def opener(source: str, size: Size | None, fps: float) -> Callable[[], Grabber]:
    """How to open `source`: `synthetic`, a device index, a `/dev/...` path, a URL, a folder or a file.

    Raises `UnusableSourceError` where it can be none of these.
    """
    # Imports are local: OpenCV is loaded only by what needs it.
    if source == "synthetic":
        from sfu_client.capture import synthetic

        return lambda: synthetic.SyntheticGrabber(size or synthetic.DEFAULT_SIZE, fps)
    if source.isdecimal() or source.startswith("/dev/"):
        from sfu_client.capture.devices import DeviceGrabber

        device: int | str = int(source) if source.isdecimal() else source
        return lambda: DeviceGrabber(device, size, fps)
    if Path(source).is_dir():
        from sfu_client.capture.folder import FolderGrabber

        return lambda: FolderGrabber(Path(source), fps)
    if "://" not in source and not Path(source).exists():
        raise UnusableSourceError(
            f"{source}: no such file; a source is a device number, a file, a folder, a URL or 'synthetic'"
        )
    from sfu_client.capture.files import MediaGrabber

    return lambda: MediaGrabber(source)


class VideoCapture:
    """Reads a source in a thread of its own into `track`; the newest picture wins everywhere.

    Reopens the source whenever it fails. `stages` are applied in order to every picture.
    """

    def __init__(
        self,
        name: str,
        open_source: Callable[[], Grabber],
        *,
        fps: float = 30.0,
        stages: Sequence[overlay.Stage] = (),
        backoff: Backoff | None = None,
        on_failure: Callable[[UnusableSourceError], None] | None = None,
    ) -> None:
        self.track = VideoSource(fps=fps)
        self._open = open_source
        self._fps = fps
        self._stages = tuple(stages)
        self._worker = Worker(without_password(name), self._attempt, backoff=backoff, on_failure=on_failure)

    @property
    def opened(self) -> int:
        """How often the source was opened, or tried to."""
        return self._worker.attempts

    def start(self) -> None:
        self._worker.start()

    async def close(self) -> None:
        """End the track and the thread (waits up to two seconds)."""
        self.track.stop()
        await self._worker.close()

    def _attempt(self) -> None:
        grabber = self._open()
        try:
            pacer = Pacer(self._fps, monotonic_s, self._worker.stopping.wait)
            first = True
            while not self._worker.stopping.is_set():
                grab = grabber.read()
                if not pacer.admit(grab.due_s):
                    continue
                frame = self._prepare(grab.picture)
                if first:
                    first = False
                    self._worker.worked()
                    logger.info("capturing %dx%d", frame.width, frame.height)
                self.track.push_frame(frame)
        finally:
            grabber.close()

    def _prepare(self, picture: Image | VideoFrame) -> VideoFrame:
        if isinstance(picture, VideoFrame) and not self._stages:
            even = (picture.width & ~1, picture.height & ~1)
            return picture.reformat(width=even[0], height=even[1], format="yuv420p")
        image: Image = (
            picture.to_ndarray(format="bgr24").astype("uint8", copy=False)
            if isinstance(picture, VideoFrame)
            else picture
        )
        for stage in self._stages:
            image = stage(image)
        return overlay.to_frame(image)
