"""How one encoding keeps to what its path carries: fewer bits, then fewer frames, then a smaller picture.

Sans-IO: the encoder asks about every frame and tells what it made of it; times are monotonic seconds. An
encoder alone does not keep a low rate: at its coarsest it makes several times as much of a detailed picture.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWEST_BPS = 100_000
"""Below this aiortc's encoders give no usable picture at any size."""
STEP_UP = 1.25
"""aiortc begins anew, with a keyframe, where the rate changes by a tenth: upwards it goes in fewer steps."""
LATE_S = 0.15
"""What has been made and needs so long to be sent goes first: a frame more would only come later."""
LONGEST_S = 1.0
"""No longer is anything waited for: an estimate is made of what arrives, and recovers by that alone."""
WINDOW_S = 2.0
FEW_FRAMES = 0.6
"""With fewer than this share of its frames, a smaller picture that moves is better."""
ALL_FRAMES = 0.9
COARSE_BPP, SHARP_BPP = 0.012, 0.06
"""Bits of each pixel of each frame: with less a smaller picture is better, with more a larger one may be."""
LARGEST_SCALE = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 8.0, 120.0
"""After the picture has become smaller. Each time that a larger one was a mistake the wait doubles."""
FAILED_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEncoding:
    """What is sent of one encoding of a publication, over the last seconds.

    `rid` is empty without simulcast. `target_bps` is what the server says the path carries of it, None while
    nothing was said. `limited` is empty, or `bandwidth` where the path keeps it from what was asked for: by a
    lower rate, and, once that is not enough, by fewer frames and a smaller picture.
    """

    rid: str
    bitrate_bps: int
    target_bps: int | None
    width: int
    height: int
    frame_rate: float
    limited: str


class Adaptation:
    """See the module's text. `below_bps` goes to smaller encodings of the same picture first."""

    def __init__(self, ceiling_bps: int, below_bps: int = 0) -> None:
        self.scale = 1
        """Divides both sides of the picture."""
        self.encoder_bps = ceiling_bps
        """What the encoder is set to."""
        self._ceiling_bps = ceiling_bps
        self._below_bps = below_bps
        self._path_bps: int | None = None
        self._debt_bits = 0.0
        self._drained_s: float | None = None
        self._window_s: float | None = None
        self._offered = self._taken = 0
        self._bits = 0
        self._size = (0, 0)
        self._sent = (0, 0.0)
        self._share = 1.0
        self._wait_s = FIRST_WAIT_S
        self._shrunk_s: float | None = None
        self._grew_s: float | None = None

    def tell(self, path_bps: int) -> None:
        """The receiver says that the path carries so much, smaller encodings included."""
        own_bps = max(path_bps - self._below_bps, 0)
        self._path_bps = own_bps
        wanted_bps = min(max(own_bps, LOWEST_BPS), self._ceiling_bps)
        up = wanted_bps >= min(STEP_UP * self.encoder_bps, self._ceiling_bps)
        if wanted_bps < self.encoder_bps or up:
            self.encoder_bps = wanted_bps

    def takes(self, width: int, height: int, now_s: float) -> bool:
        """Whether a frame of this size is to be encoded now."""
        self._turn(width, height, now_s)
        self._offered += 1
        path_bps = self._path_bps
        if path_bps is None:
            return True
        if self._below_bps and path_bps < LOWEST_BPS:
            return False  # the smaller encodings need all of it
        elapsed_s = 0.0 if self._drained_s is None else now_s - self._drained_s
        self._drained_s = now_s
        self._debt_bits = max(min(self._debt_bits, path_bps * LONGEST_S) - path_bps * elapsed_s, 0.0)
        return self._debt_bits <= path_bps * LATE_S

    def made(self, width: int, height: int, size_bytes: int) -> None:
        """A frame has become so many bytes, in a picture of this size."""
        self._taken += 1
        self._bits += 8 * size_bytes
        self._debt_bits += 8 * size_bytes
        self._size = (width, height)

    def sent(self, rid: str = "") -> SentEncoding:
        """What has been sent lately."""
        bitrate_bps, frame_rate = self._sent
        path_bps = self._path_bps
        short = path_bps is not None and (path_bps < self._ceiling_bps or self._share < ALL_FRAMES)
        limited = "bandwidth" if short or self.scale > 1 else ""
        return SentEncoding(
            rid=rid, bitrate_bps=bitrate_bps, target_bps=path_bps, width=self._size[0], height=self._size[1],
            frame_rate=frame_rate, limited=limited,
        )  # fmt: skip

    def _turn(self, width: int, height: int, now_s: float) -> None:
        """Look at what the last seconds were like."""
        if self._window_s is None:
            self._window_s = now_s
        elapsed_s = now_s - self._window_s
        if elapsed_s < WINDOW_S:
            return
        offered_fps = self._offered / elapsed_s
        self._share = self._taken / max(self._offered, 1)
        self._sent = int(self._bits / elapsed_s), self._taken / elapsed_s
        self._window_s = now_s
        self._offered = self._taken = self._bits = 0
        if self._path_bps is not None:
            self._choose_scale(width * height * offered_fps, now_s)

    def _choose_scale(self, pixels_per_s: float, now_s: float) -> None:
        """`pixels_per_s` are those of the whole picture with all its frames."""
        bits_per_pixel = self.encoder_bps / max(pixels_per_s, 1.0)
        coarse = bits_per_pixel * self.scale**2 < COARSE_BPP
        if self._share < FEW_FRAMES or coarse:
            if self.scale < LARGEST_SCALE:
                self.scale *= 2
                failed = self._grew_s is not None and now_s - self._grew_s < FAILED_S
                self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S) if failed else FIRST_WAIT_S
                self._shrunk_s = now_s
            return
        waited = self._shrunk_s is None or now_s - self._shrunk_s >= self._wait_s
        sharp = bits_per_pixel * (self.scale // 2) ** 2 >= SHARP_BPP
        if self.scale > 1 and self._share >= ALL_FRAMES and waited and sharp:
            self.scale //= 2
            self._grew_s = self._shrunk_s = now_s
