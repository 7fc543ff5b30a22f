"""Small media files, and what is in those that peers have written."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

RATE = 25
SECONDS = 4
SIZE = (320, 240)


def make_vp8(path: Path) -> Path:
    """A ball of light that goes across, as IVF."""
    width, height = SIZE
    with av.open(str(path), "w", format="ivf") as made:
        stream = made.add_stream("libvpx", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 300_000
        stream.gop_size = RATE
        stream.options = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}
        for number in range(RATE * SECONDS):
            picture = np.full((height, width, 3), 40, np.uint8)
            left = number * 2 % (width - 60)
            picture[80:140, left : left + 60] = (220, 180, 90)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        made.mux(stream.encode(None))
    return path


def make_opus(path: Path) -> Path:
    """440 Hz, as Ogg."""
    with av.open(str(path), "w", options={"page_duration": "20000"}) as made:
        stream = made.add_stream("libopus", rate=48_000, layout="mono")
        for block in range(50 * SECONDS):
            at = np.arange(block * 960, (block + 1) * 960)
            samples = (np.sin(at * 2 * np.pi * 440 / 48_000) * 12_000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None, :], "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, block * 960
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return path


def decoded_sizes(path: Path) -> list[tuple[int, int]]:
    """The size of each picture in a file that decodes, in order. A file whose end is cut off ends there."""
    sizes: list[tuple[int, int]] = []
    with av.open(str(path)) as opened:
        for packet in opened.demux(video=0):
            sizes += [(frame.width, frame.height) for frame in packet.decode()]
    return sizes


def decoded_samples(path: Path) -> int:
    """How many samples of sound a file decodes to."""
    with av.open(str(path)) as opened:
        return sum(frame.samples for frame in opened.decode(audio=0))
