"""Why a picture is what it is: the server's view of each subscription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sfu_client.model import Participant, Publication

REASONS = {
    "client": "paused by this client",
    "last_n": "only the latest speakers are shown",
    "size": "the size wished needs no more",
    "bandwidth": "bandwidth",
    "source": "the publisher sends no more",
}
"""What keeps a subscription from more, in words; see `stats` in docs/protocol.md."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """A spatial and a temporal layer, counted from 0, the smallest."""

    spatial: int
    temporal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionQuality:
    """What arrives of one publication, and why not more.

    `estimate_bps` is what the path to this client carries, for everything together; None where nothing tells.
    `current` is the layer that flows and `rid` its encoding (None and empty while paused, or before the
    first packet), `target` the layer allowed (None: paused), `reason` what keeps it from more: a key of
    `REASONS`, or empty where nothing was decided yet. `fraction_lost` (0 to 1, of the last report), `lost`
    (packets, ever) and `jitter_ms` are what this client reported, `rtt_ms` is None before the first report.
    """

    publication: Publication
    participant: Participant
    bitrate_bps: int
    estimate_bps: int | None
    current: Layer | None
    rid: str
    target: Layer | None
    reason: str
    fraction_lost: float
    lost: int
    rtt_ms: float | None
    jitter_ms: float

    @classmethod
    def parse(
        cls, publication: Publication, participant: Participant, message: dict[str, Any]
    ) -> SubscriptionQuality:
        """From one of the protocol's `stats.subscriptions`; raises `KeyError`, `TypeError`, `ValueError`."""
        estimate, rtt = message.get("estimate_bps"), message.get("rtt_ms")
        return cls(
            publication=publication,
            participant=participant,
            bitrate_bps=int(message["bitrate_bps"]),
            estimate_bps=None if estimate is None else int(estimate),
            current=_layer(message.get("current")),
            rid=str(message.get("current_rid") or ""),
            target=_layer(message.get("target")),
            reason=str(message.get("reason") or ""),
            fraction_lost=float(message["fraction_lost"]),
            lost=int(message["lost"]),
            rtt_ms=None if rtt is None else float(rtt),
            jitter_ms=float(message["jitter_ms"]),
        )

    def __str__(self) -> str:
        """One line for a terminal."""
        layer = "nothing" if self.current is None else f"layer {self.current.spatial}.{self.current.temporal}"
        parts = [
            f"{layer}{f' ({self.rid})' if self.rid else ''} at {_rate(self.bitrate_bps)}",
            f"limited by: {REASONS.get(self.reason, self.reason)}" if self.reason else "",
            "" if self.estimate_bps is None else f"path carries {_rate(self.estimate_bps)}",
            f"loss {self.fraction_lost:.1%}",
            "" if self.rtt_ms is None else f"RTT {self.rtt_ms:.0f} ms",
            f"jitter {self.jitter_ms:.0f} ms",
        ]
        return f"{self.participant.name} {self.publication.source}: " + ", ".join(filter(None, parts))


def _layer(value: Any) -> Layer | None:
    return None if value is None else Layer(int(value["spatial"]), int(value["temporal"]))


def _rate(bps: int) -> str:
    return f"{bps / 1e6:.1f} Mbit/s" if bps >= 1_000_000 else f"{bps / 1e3:.0f} kbit/s"
