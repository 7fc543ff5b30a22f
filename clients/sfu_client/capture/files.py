"""Files and network streams, through PyAV."""

from __future__ import annotations

from collections.abc import Generator

import av
from av.container import InputContainer

from sfu_client.capture.base import CaptureError, Grab, UnusableSourceError
from sfu_client.urls import without_password

OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 10.0
"""A network camera that says nothing for this long is taken for gone."""


def is_url(source: str) -> bool:
    """Whether `source` is read over the network."""
    return "://" in source


def open_container(source: str) -> InputContainer:
    """Open a file or URL. Raises `CaptureError`, or `UnusableSourceError` for a file that is no media."""
    options = {"rtsp_transport": "tcp"} if source.startswith(("rtsp://", "rtsps://")) else {}
    timeout = (OPEN_TIMEOUT_S, READ_TIMEOUT_S) if is_url(source) else None
    try:
        return av.open(source, options=options, timeout=timeout)
    except av.InvalidDataError as error:
        if is_url(source):
            raise CaptureError(f"{without_password(source)} gives no media: {error.strerror}") from error
        raise UnusableSourceError(f"{source} is no media file") from error
    except (av.FFmpegError, OSError) as error:
        raise CaptureError(f"{without_password(source)}: {error.strerror}") from error


def is_live(container: InputContainer, source: str) -> bool:
    """Whether the stream comes at its own pace; what has a length is a recording."""
    return is_url(source) and not container.duration


class MediaGrabber:
    """Decoded pictures of a file (looped) or of a stream."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._container = open_container(source)
        if not self._container.streams.video:
            self._container.close()
            raise UnusableSourceError(f"{without_password(source)} has no video")
        self._container.streams.video[0].thread_type = "AUTO"
        self._live = is_live(self._container, source)
        self._frames = self._decode()

    def read(self) -> Grab:
        try:
            return next(self._frames)
        except StopIteration:
            raise CaptureError(f"{without_password(self._source)} has ended") from None
        except (av.FFmpegError, OSError) as error:
            raise CaptureError(f"{without_password(self._source)}: {error.strerror}") from error

    def close(self) -> None:
        self._frames.close()
        self._container.close()

    def _decode(self) -> Generator[Grab, None, None]:
        origin_s = 0.0
        while True:
            first_s = last_s = None
            step_s = 0.04
            for frame in self._container.decode(video=0):
                time_s = frame.time
                if self._live or time_s is None:
                    yield Grab(frame, None if self._live else origin_s)
                    origin_s += step_s
                    continue
                if first_s is None:
                    first_s = time_s
                if last_s is not None and time_s > last_s:
                    step_s = time_s - last_s
                last_s = time_s
                yield Grab(frame, origin_s + time_s - first_s)
            if self._live or is_url(self._source):
                return
            if first_s is not None and last_s is not None:
                origin_s += last_s - first_s + step_s
            elif last_s is None and origin_s == 0:
                raise CaptureError(f"{without_password(self._source)} has no pictures")
            self._container.seek(0)
