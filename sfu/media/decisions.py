"""What policy decides, and what about: plain data that it takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfu.ids import PublicationKey, SubscriptionKey
from sfu.media.plane import EncodingStats, Layer, PlaneFault

HIGHEST = Layer(7, 7)
"""The cap that caps nothing: no codec has more than eight spatial or temporal layers."""
LOWEST = Layer(0, 0)
"""The smallest picture at its lowest frame rate: what surely gets through."""
DEFAULT_PRIORITY = 128


@dataclass(frozen=True, slots=True)
class PublicationSized:
    """The size in pixels of a video publication's largest encoding became known or changed."""

    publication: PublicationKey
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A subscription stopped or began to flow by decision; `reason` is `client`, `last_n` or `bandwidth`,
    empty when it is not paused."""

    subscription: SubscriptionKey
    paused: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Speakers:
    """Audio publications in which somebody speaks, loudest first, with a level of 0 to 1."""

    speakers: tuple[tuple[PublicationKey, float], ...]


@dataclass(frozen=True, slots=True)
class LayersWanted:
    """The encodings of a video publication that its publisher should send; the others are of no use to
    anybody. Without simulcast the only rid is empty."""

    publication: PublicationKey
    rids: tuple[str, ...]


Notice = PublicationSized | SubscriptionState | Speakers | LayersWanted | PlaneFault
"""A fault of the plane is no decision, but it goes the same way."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber asks for: a picture of at least this size in pixels (0: any), or none at all.

    One that is `silent` takes what is sent for others: the publisher is asked for nothing on its behalf.
    """

    priority: int = DEFAULT_PRIORITY
    width: int = 0
    height: int = 0
    paused: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True)
class SizedLayer:
    """A layer that flows, with its picture size in pixels (0: not known yet) and bits per second.

    `peak_bps` is what it has lately been: what climbing to it may come to cost.
    """

    layer: Layer
    width: int
    height: int
    bitrate_bps: int
    peak_bps: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """The cap of one subscription, None to send nothing, and why nothing is sent."""

    target: Layer | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a subscription gets what it gets.

    `estimate_bps` is what its transport's path carries, None where nothing tells; `target` the layer it may
    have, None for none. `reason` says what keeps it from more: `client` (paused by wish), `last_n` (others
    spoke later), `size` (a larger picture than asked for is of no use), `bandwidth`, or `source` (nothing
    better is published). `estimated_by` is what made the estimate: `start` (a guess), `delay`, `loss`,
    `probe` or `silence` of transport-wide feedback, `remb` or `loss` as the viewer reports them, `unlimited`
    where nothing tells.
    """

    estimate_bps: int | None
    target: Layer | None
    reason: str
    estimated_by: str = "unlimited"


def wished_layer(layers: Sequence[SizedLayer], width: int, height: int) -> Layer:
    """The cap for a picture of this size: the best layer of the smallest size that covers it, else no cap.

    `layers` are those that flow, lowest first. Layers of unknown size cover nothing.
    """
    cover: SizedLayer | None = None
    if width or height:
        for sized in layers:
            if cover is not None and (sized.width, sized.height) != (cover.width, cover.height):
                break
            if sized.width and sized.width >= width and sized.height >= height:
                cover = sized
    return HIGHEST if cover is None else Layer(cover.layer.spatial, HIGHEST.temporal)


def size_of(stats: EncodingStats, spatial: int, lowest: int, highest: int) -> tuple[int, int]:
    """Picture size of a spatial layer of one stream, whose layers are `lowest` to `highest`."""
    if spatial - lowest < len(stats.sizes):
        return stats.sizes[spatial - lowest]
    # Not told: each halves the next, as every common mode does.
    return stats.width >> highest - spatial, stats.height >> highest - spatial


def steps(layers: Sequence[SizedLayer]) -> list[SizedLayer]:
    """Those worth stepping through: frames are left out of the smallest picture only.

    A larger picture at a low frame rate costs as much as a smaller one that moves, and looks worse.
    """
    tops: dict[int, int] = {}
    for each in layers:
        tops[each.layer.spatial] = max(tops.get(each.layer.spatial, 0), each.layer.temporal)
    return [
        each for each in layers if not each.layer.spatial or each.layer.temporal == tops[each.layer.spatial]
    ]


def affordable(layers: Sequence[SizedLayer], current: Layer | None) -> list[SizedLayer]:
    """Those whose cost is known. What has just begun is not given before, but for the smallest picture."""
    return [
        each
        for each in layers
        if not each.layer.spatial or each.bitrate_bps or (current is not None and each.layer <= current)
    ]


def cost_bps(layer: SizedLayer, current: Layer | None) -> int:
    """What is held costs what it costs now; what would be climbed to, what it may soon cost again."""
    held = current is not None and layer.layer <= current
    return layer.bitrate_bps if held else max(layer.bitrate_bps, layer.peak_bps)
