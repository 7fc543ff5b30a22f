"""Sound of a microphone or a file, read in a thread of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import av
from av import AudioFrame, AudioResampler
from av.container import InputContainer

from sfu_client.capture.base import CaptureError, UnusableSourceError, Worker
from sfu_client.capture.files import is_live, is_url, open_container
from sfu_client.sources import AudioSource
from sfu_client.urls import without_password

RATE = 48_000
AHEAD_S = 0.2
"""Decoded sound kept ahead of a file's playing."""
DEVICES = {"linux": (("pulse", "default"), ("alsa", "default")), "darwin": (("avfoundation", ":0"),)}


class AudioCapture:
    """`source` is `default` (the microphone), a file (looped) or a URL; `track` is stereo at 48 kHz."""

    def __init__(
        self, source: str, *, on_failure: Callable[[UnusableSourceError], None] | None = None
    ) -> None:
        self.track = AudioSource(RATE, 2)
        self._source = source
        self._worker = Worker(f"audio {without_password(source)}", self._attempt, on_failure=on_failure)

    def start(self) -> None:
        self._worker.start()

    async def close(self) -> None:
        """End the track and the thread (waits up to two seconds)."""
        self.track.stop()
        await self._worker.close()

    def _attempt(self) -> None:
        container = open_microphone() if self._source == "default" else open_container(self._source)
        try:
            if not container.streams.audio:
                raise UnusableSourceError(f"{without_password(self._source)} has no sound")
            live = self._source == "default" or is_live(container, self._source)
            self._play(container, live)
        except (av.FFmpegError, OSError) as error:
            raise CaptureError(f"{without_password(self._source)}: {error.strerror}") from error
        finally:
            container.close()

    def _play(self, container: InputContainer, live: bool) -> None:
        resampler = AudioResampler(format="s16", layout="stereo", rate=RATE)
        stopping = self._worker.stopping
        for frame in self._frames(container, live):
            for resampled in resampler.resample(frame):
                while not live and self.track.buffered_s > AHEAD_S and not stopping.wait(0.02):
                    pass
                self.track.push(resampled.to_ndarray().reshape(-1, 2))
            if stopping.is_set():
                return
            self._worker.worked()
        raise CaptureError(f"{without_password(self._source)} has ended")

    def _frames(self, container: InputContainer, live: bool) -> Iterator[AudioFrame]:
        while True:
            heard = False
            for frame in container.decode(audio=0):
                heard = True
                frame.pts = None  # the resampler must not see time jump back at the loop's seam
                yield frame
            if live or is_url(self._source) or not heard:
                return
            container.seek(0)


def open_microphone() -> InputContainer:
    """The system's default input. Raises `CaptureError` where there is none now."""
    refused = []
    for name, device in DEVICES.get(sys.platform, ()):
        try:
            return av.open(device, format=name)
        except (av.FFmpegError, OSError, ValueError) as error:
            refused.append(f"{name}: {error}")
    raise CaptureError(f"no microphone ({'; '.join(refused) or 'unknown on this system'})")
