"""What publishers of a bench send, packet by packet, and the keys of everybody in it."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass, replace
from pathlib import Path

from sfu.media.plane import Codec, ExtensionIds, Kind, SrtpKeys

IDS = ExtensionIds(mid=4, rid=5, transport_cc=3, abs_send_time=2, audio_level=1)
RIDS = ("q", "h", "f")
SIZES = ((320, 180), (640, 360), (1280, 720))
PUBLISHER_SSRC = 1
PEER_PWD = "q" * 24
"""The `ice-pwd` of every peer."""
KEY_SEED = 7
TRACE = Path(__file__).parents[1] / "traces/chromium-simulcast.csv"
AROUND_BYTES = 44
"""Header, extensions and tag of a packet as the peers here make it."""


@dataclass(frozen=True)
class Medium:
    """`payload_bytes` count without header and tag. `bursts` has of each encoding the packets of a frame,
    which come at once; there are three with simulcast, smallest first."""

    name: str
    kind: Kind
    codec: Codec
    payload_bytes: int
    bursts: tuple[int, ...]

    @property
    def simulcast(self) -> bool:
        return len(self.bursts) > 1


_VP8 = Codec(name="vp8", payload_type=96, clock_rate=90_000, rtx_payload_type=97)
_OPUS = Codec(name="opus", payload_type=111, clock_rate=48_000)
VIDEO = Medium("video", "video", _VP8, 1156, (10,))
SIMULCAST = Medium("simulcast", "video", _VP8, 1156, (1, 3, 10))
AUDIO = Medium("audio", "audio", _OPUS, 160, (1,))
MEDIA = {medium.name: medium for medium in (VIDEO, SIMULCAST, AUDIO)}


@dataclass(frozen=True)
class Step:
    """One packet. `first` and `last` of a frame."""

    at_us: int
    encoding: int
    payload_bytes: int
    first: bool
    last: bool


@dataclass(frozen=True)
class Script:
    """What a publisher sends, and after how long it begins again."""

    kind: Kind
    period_us: int
    steps: tuple[Step, ...]


def frames(medium: Medium, per_s: float) -> Script:
    """So many frames a second at an even pace, those of all encodings together."""
    steps = tuple(
        Step(0, encoding, medium.payload_bytes, first=place == 0, last=place == burst - 1)
        for encoding, burst in enumerate(medium.bursts)
        for place in range(burst)
    )
    return Script(medium.kind, round(1e6 / per_s), steps)


def paced(script: Script) -> Script:
    """The same packets evenly over the time, as from behind a pacer."""
    apart_us = script.period_us / len(script.steps)
    steps = tuple(replace(step, at_us=round(place * apart_us)) for place, step in enumerate(script.steps))
    return replace(script, steps=steps)


def trace() -> Script:
    """What Chromium's simulcast sent, packet by packet. See `bench/traces/record.py`."""
    with TRACE.open(newline="") as file:
        lines = [{name: int(value) for name, value in line.items()} for line in csv.DictReader(file)]
    steps = tuple(
        Step(
            at_us=line["us"],
            encoding=line["encoding"],
            payload_bytes=line["bytes"] - AROUND_BYTES,
            first=bool(line["first"]),
            last=bool(line["last"]),
        )
        for line in lines
    )
    return Script("video", steps[-1].at_us + 1000, steps)


def make_keys(number: int) -> SrtpKeys:
    """Those of the server towards peer `number`, the same in every process."""
    rng = random.Random(KEY_SEED * 100_000 + number)
    return SrtpKeys(profile="AEAD_AES_128_GCM", receive=rng.randbytes(28), send=rng.randbytes(28))
