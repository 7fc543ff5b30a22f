"""Writing decoded frames to a media file, in a thread of its own, with true timestamps."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av import AudioFrame, AudioResampler, VideoFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

VIDEO_TIME_BASE = Fraction(1, 90_000)
RATE = 48_000
QUEUED_FRAMES = 300
"""Frames waiting for the encoder: ten seconds of sound and picture; pictures are dropped beyond it."""
GAP_S = 0.1
"""A hole in the sound longer than this is filled with silence; shorter ones are clock jitter."""
DRIFT_S = 1.0
"""A track whose own clock is off the arrival of its frames by more is put where they arrived."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Codecs:
    """What a container holds."""

    video: str
    video_options: dict[str, str]
    audio: str
    container_options: dict[str, str]


_X264 = {"preset": "veryfast", "crf": "23", "tune": "zerolatency"}
_VP8 = {"deadline": "realtime", "cpu-used": "6", "crf": "10", "b": "4M"}
FORMATS = {
    "mkv": Codecs("libx264", _X264, "aac", {}),
    # Fragments: playable up to the last one when the process is killed.
    "mp4": Codecs("libx264", _X264, "aac", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "webm": Codecs("libvpx", _VP8, "libopus", {}),
}


class Timeline:
    """Places the frames of one track on the file's clock.

    The track's own timestamps give the spacing, its first arrival the place. Returns seconds, never less
    than 0.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def place(self, media_s: float, arrival_s: float) -> float:
        placed_s = media_s + (self._offset_s or 0.0)
        if self._offset_s is None or abs(placed_s - arrival_s) > DRIFT_S:
            self._offset_s = arrival_s - media_s
            placed_s = arrival_s
        return max(0.0, placed_s)


class Recording:
    """One file. `put` from any thread; `close` finishes the file and waits for it.

    `size` makes the file hold video, scaled to it; `sound` makes it hold audio. The format follows from
    the suffix: `.mkv`, `.mp4` or `.webm`. Raises `ValueError` for another.
    """

    def __init__(self, path: Path, *, size: Size | None, sound: bool) -> None:
        if path.suffix[1:] not in FORMATS:
            raise ValueError(f"{path}: the suffix must be one of .{', .'.join(FORMATS)}")
        self.path = path
        self.pictures = 0
        self.dropped = 0
        self.error: Exception | None = None
        self._size = size
        self._sound = sound
        self._queue: queue.Queue[tuple[VideoFrame | AudioFrame, float] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name=f"record-{path.name}")
        self._thread.start()

    def put(self, frame: VideoFrame | AudioFrame, arrival_s: float) -> None:
        """Write `frame`, which arrived `arrival_s` seconds after the file's beginning."""
        if isinstance(frame, VideoFrame) and self._queue.qsize() > QUEUED_FRAMES:
            self.dropped += 1
            return
        if self.error is None:
            self._queue.put((frame, arrival_s))

    def close(self) -> None:
        """Write what is queued and the file's end. Blocks; the file is playable afterwards."""
        self._queue.put(None)
        self._thread.join()

    def size_bytes(self) -> int:
        """The file's length so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def _run(self) -> None:
        try:
            self._write()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.error = error
            logger.error("%s: %s", self.path, error)

    def _write(self) -> None:
        codecs = FORMATS[self.path.suffix[1:]]
        with av.open(str(self.path), "w", options=codecs.container_options) as container:
            pictures = _Pictures(container, codecs, self._size) if self._size else None
            sound = _Sound(container, codecs) if self._sound else None
            try:
                while (item := self._queue.get()) is not None:
                    frame, arrival_s = item
                    if isinstance(frame, VideoFrame) and pictures is not None:
                        pictures.write(frame, arrival_s)
                        self.pictures += 1
                    elif isinstance(frame, AudioFrame) and sound is not None:
                        sound.write(frame, arrival_s)
            finally:
                for stream in (pictures, sound):
                    if stream is not None:
                        stream.finish()


class _Pictures:
    def __init__(self, container: OutputContainer, codecs: Codecs, size: Size) -> None:
        self._container = container
        self._stream: VideoStream = container.add_stream(codecs.video, rate=30, options=codecs.video_options)  # type: ignore[assignment]
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = VIDEO_TIME_BASE
        self._size = size
        self._timeline = Timeline()
        self._last_pts = -1

    def write(self, frame: VideoFrame, arrival_s: float) -> None:
        media_s = frame.time if frame.time is not None else arrival_s
        # Containers count milliseconds: closer pictures would get the same time.
        pts = max(int(self._timeline.place(media_s, arrival_s) * 90_000), self._last_pts + 90)
        self._last_pts = pts
        scaled = frame.reformat(width=self._size[0], height=self._size[1], format="yuv420p")
        scaled.pts, scaled.time_base = pts, VIDEO_TIME_BASE
        scaled.pict_type = PictureType.NONE
        self._container.mux(self._stream.encode(scaled))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))


class _Sound:
    """A continuous sound track: what is missing becomes silence, what overlaps is left out."""

    def __init__(self, container: OutputContainer, codecs: Codecs) -> None:
        self._container = container
        self._stream: AudioStream = container.add_stream(codecs.audio, rate=RATE, layout="stereo")  # type: ignore[assignment]
        self._resampler = AudioResampler(format="s16", layout="stereo", rate=RATE)
        self._timeline = Timeline()
        self._written = 0

    def write(self, frame: AudioFrame, arrival_s: float) -> None:
        media_s = frame.time if frame.time is not None else arrival_s
        at = round(self._timeline.place(media_s, arrival_s) * RATE)
        frame.pts = None
        for resampled in self._resampler.resample(frame):
            samples = resampled.to_ndarray().reshape(-1, 2)
            missing = at - self._written
            if missing > GAP_S * RATE:
                self._append(np.zeros((missing, 2), np.int16))
            elif missing < -GAP_S * RATE:
                samples = samples[-missing:]
            self._append(samples)
            at += len(samples)

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))

    def _append(self, samples: Any) -> None:
        for begin in range(0, len(samples), RATE):
            block = np.ascontiguousarray(samples[begin : begin + RATE])
            frame = AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="stereo")
            frame.sample_rate, frame.pts = RATE, self._written
            frame.time_base = Fraction(1, RATE)
            self._written += len(block)
            self._container.mux(self._stream.encode(frame))
