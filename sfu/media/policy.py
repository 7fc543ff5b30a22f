"""What each subscriber should get, decided every tick; how packets get there is the plane's affair.

A tick drains the plane's events, paces keyframe requests, follows the speakers, learns what layers flow and
sets each subscription's target. A target is a cap: the plane sends the best that flows below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media import allocator
from sfu.media.keyframes import KeyframeThrottle
from sfu.media.plane import (
    AudioLevel,
    EncodingStarted,
    EncodingStats,
    EncodingStopped,
    KeyframeWanted,
    Kind,
    Layer,
    MediaPlane,
    PlaneEvent,
    RembReceived,
    TransportFeedback,
)
from sfu.media.restraint import Restraint
from sfu.media.speakers import ActiveSpeakers
from sfu.media.viewer import Viewer

HIGHEST = Layer(7, 7)
"""The cap that caps nothing: no codec has more than eight spatial or temporal layers."""
LOWEST = Layer(0, 0)
"""The smallest picture at its lowest frame rate: what surely gets through."""
DEFAULT_PRIORITY = 128

_SURVEY_US = 200_000
"""How often sizes and layers are read: soon enough for a switch, cheap for hundreds of publications."""
_PEAK_KEPT = 0.97
"""Of a layer's peak from survey to survey: half of it is forgotten in 5 s."""
_SILENCE_US = 3_000_000


@dataclass(frozen=True, slots=True)
class PublicationSized:
    """The size in pixels of a video publication's largest encoding became known or changed."""

    publication: PublicationKey
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """A subscription stopped or began to flow by decision; `reason` is `client` or `bandwidth`, empty
    when it is not paused."""

    subscription: SubscriptionKey
    paused: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Speakers:
    """Audio publications in which somebody speaks, loudest first, with a level of 0 to 1."""

    speakers: tuple[tuple[PublicationKey, float], ...]


Notice = PublicationSized | SubscriptionState | Speakers


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber asks for: a picture of at least this size in pixels (0: any), or none at all."""

    priority: int = DEFAULT_PRIORITY
    width: int = 0
    height: int = 0
    paused: bool = False


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
    have, None for none. `reason` says what keeps it from more: `client` (paused by wish), `size` (a larger
    picture than asked for is of no use), `bandwidth`, or `source` (nothing better is published).
    `estimated_by` is what made the estimate: `start` (a guess), `delay`, `loss`, `probe` or `silence` of
    transport-wide feedback, `remb` or `loss` as the viewer reports them, `unlimited` where nothing tells.
    """

    estimate_bps: int | None
    target: Layer | None
    reason: str
    estimated_by: str = "unlimited"


@dataclass(slots=True)
class _Publication:
    kind: Kind
    size: tuple[int, int] = (0, 0)
    shape: tuple[tuple[Layer, int, int], ...] = ()
    layers: tuple[SizedLayer, ...] = ()
    subscriptions: set[SubscriptionKey] = field(default_factory=set)
    peaks: dict[Layer, float] = field(default_factory=dict)
    lowest_us: int = 0
    """When the smallest picture was last seen to flow."""


@dataclass(slots=True)
class _Subscription:
    publication: PublicationKey
    wish: Wish
    viewer: Viewer | None
    decision: Decision | None = None
    """By its wish alone: the best it may get."""
    applied: Decision | None = None
    restraint: Restraint = field(default_factory=Restraint)


def wished_layer(layers: Sequence[SizedLayer], width: int, height: int) -> Layer:
    """The cap for a picture of this size: the smallest layer that covers it, else no cap.

    `layers` are those that flow, lowest first. Layers of unknown size cover nothing.
    """
    if width or height:
        for sized in layers:
            if sized.width and sized.width >= width and sized.height >= height:
                return Layer(sized.layer.spatial, HIGHEST.temporal)
    return HIGHEST


def _size_of(stats: EncodingStats, spatial: int, lowest: int, highest: int) -> tuple[int, int]:
    """Picture size of a spatial layer of one stream, whose layers are `lowest` to `highest`."""
    if spatial - lowest < len(stats.sizes):
        return stats.sizes[spatial - lowest]
    # Not told: each halves the next, as every common mode does.
    return stats.width >> highest - spatial, stats.height >> highest - spatial


def _steps(layers: Sequence[SizedLayer]) -> list[SizedLayer]:
    """Those worth stepping through: frames are left out of the smallest picture only.

    A larger picture at a low frame rate costs as much as a smaller one that moves, and looks worse.
    """
    tops: dict[int, int] = {}
    for each in layers:
        tops[each.layer.spatial] = max(tops.get(each.layer.spatial, 0), each.layer.temporal)
    return [
        each for each in layers if not each.layer.spatial or each.layer.temporal == tops[each.layer.spatial]
    ]


def _cost_bps(layer: SizedLayer, current: Layer | None) -> int:
    """What is held costs what it costs now; what would be climbed to, what it may soon cost again."""
    held = current is not None and layer.layer <= current
    return layer.bitrate_bps if held else max(layer.bitrate_bps, layer.peak_bps)


class Policy:
    """The decisions of a whole plane. Keys it does not know are ignored: their owner may have left."""

    def __init__(self, plane: MediaPlane, keyframe_interval_us: int) -> None:
        self._plane = plane
        self._keyframes = KeyframeThrottle(keyframe_interval_us)
        self._keyframe_counts: dict[tuple[PublicationKey, str], int] = {}
        self._speakers = ActiveSpeakers()
        self._publications: dict[PublicationKey, _Publication] = {}
        self._subscriptions: dict[SubscriptionKey, _Subscription] = {}
        self._viewers: dict[TransportKey, Viewer] = {}
        self._undecided: set[SubscriptionKey] = set()
        self._survey_us: int | None = None

    def add_publication(self, publication: PublicationKey, kind: Kind) -> None:
        """Call after the plane opened it."""
        self._publications.setdefault(publication, _Publication(kind))

    def remove_publication(self, publication: PublicationKey) -> None:
        """Its subscriptions go with it."""
        removed = self._publications.pop(publication, None)
        if removed is None:
            return
        for subscription in tuple(removed.subscriptions):
            self.remove_subscription(subscription)
        self._speakers.remove(publication)
        self._keyframes.forget(publication)
        for key in [key for key in self._keyframe_counts if key[0] == publication]:
            del self._keyframe_counts[key]

    def add_subscription(
        self,
        subscription: SubscriptionKey,
        publication: PublicationKey,
        wish: Wish | None = None,
        *,
        transport: TransportKey | None = None,
        per_packet: bool = True,
    ) -> None:
        """Call after the plane opened it, and again when the plane opened it anew.

        `transport` is the subscriber's; without it the subscription gets what it wishes, whatever its network
        can take. `per_packet` is whether it sends transport-wide feedback.
        """
        owner = self._publications.get(publication)
        if owner is None:
            return
        self.remove_subscription(subscription)
        viewer = None
        if transport is not None:
            viewer = self._viewers.setdefault(transport, Viewer(self._plane, transport))
            if per_packet:
                viewer.expect_feedback()
            viewer.subscriptions.add(subscription)
            viewer.changed()
            if viewer.per_packet:
                # Until it is known what the path carries, the smallest picture is what surely gets through.
                self._plane.set_target(subscription, LOWEST)
        self._subscriptions[subscription] = _Subscription(publication, wish or Wish(), viewer)
        owner.subscriptions.add(subscription)
        self._undecided.add(subscription)

    def set_wish(self, subscription: SubscriptionKey, wish: Wish) -> None:
        """Replace what the subscriber asks for; acted on by the next tick."""
        known = self._subscriptions.get(subscription)
        if known is not None:
            known.wish = wish
            self._undecided.add(subscription)

    def remove_subscription(self, subscription: SubscriptionKey) -> None:
        removed = self._subscriptions.pop(subscription, None)
        if removed is None:
            return
        self._undecided.discard(subscription)
        owner = self._publications.get(removed.publication)
        if owner is not None:
            owner.subscriptions.discard(subscription)
        if removed.viewer is not None:
            removed.viewer.subscriptions.discard(subscription)
            removed.viewer.changed()

    def remove_transport(self, transport: TransportKey) -> None:
        """A subscriber's transport is gone."""
        self._viewers.pop(transport, None)

    def explain(self, subscription: SubscriptionKey) -> Explanation | None:
        """See `Explanation`; None for a subscription that is not known or not decided yet."""
        known = self._subscriptions.get(subscription)
        if known is None or known.applied is None:
            return None
        viewer = known.viewer
        return Explanation(
            viewer.estimate_bps if viewer is not None else None,
            known.applied.target,
            self._reason(known, known.applied),
            viewer.estimator.status.reason if viewer is not None else "unlimited",
        )

    def _reason(self, subscription: _Subscription, applied: Decision) -> str:
        if applied.target is None:
            return applied.reason
        flowing = self._publications[subscription.publication].layers
        if not flowing or flowing[-1].layer <= applied.target:
            return "source"
        wished = subscription.decision.target if subscription.decision is not None else None
        fitting = [each.layer for each in flowing if wished is None or each.layer.spatial <= wished.spatial]
        return "bandwidth" if fitting and fitting[-1] > applied.target else "size"

    def tick(self, now_us: int) -> list[Notice]:
        """One round of decisions. Call every 20 to 50 ms while anything is published."""
        notices: list[Notice] = []
        for event in self._plane.poll_events():
            self._observe(event, now_us)
        self._pace_keyframes(now_us)
        speakers = self._speakers.tick(now_us)
        if speakers is not None:
            notices.append(Speakers(speakers))
        if self._survey_us is None or now_us - self._survey_us >= _SURVEY_US:
            self._survey_us = now_us
            for key, publication in self._publications.items():
                notices.extend(self._survey(key, publication, now_us))
        decided: dict[SubscriptionKey, Decision] = {}
        for undecided in sorted(self._undecided):
            subscription = self._subscriptions[undecided]
            subscription.decision = self._decide(subscription)
            if subscription.viewer is None:
                decided[undecided] = subscription.decision
            else:
                subscription.viewer.changed()
        self._undecided.clear()
        for viewer in self._viewers.values():
            if viewer.due(now_us):
                decided |= self._share(viewer, now_us)
            viewer.tick(now_us)
        notices.extend(self._apply(decided))
        return notices

    def _share(self, viewer: Viewer, now_us: int) -> dict[SubscriptionKey, Decision]:
        """What each subscription of one transport gets of its estimate."""
        decided: dict[SubscriptionKey, Decision] = {}
        wishes: dict[SubscriptionKey, allocator.Wish[SubscriptionKey]] = {}
        for key in sorted(viewer.subscriptions):
            subscription = self._subscriptions[key]
            decision = subscription.decision
            if decision is None or decision.target is None:
                decided[key] = decision or Decision(None)
                continue
            publication = self._publications[subscription.publication]
            steps = _steps(publication.layers)
            if not steps:
                # What fell silent goes on as it was; a picture that has not begun yet begins small.
                beginning = Decision(LOWEST) if publication.kind == "video" else decision
                decided[key] = subscription.applied or beginning
                continue
            current = steps[0].layer if subscription.applied is None else subscription.applied.target
            layers = tuple((each.layer, _cost_bps(each, current)) for each in steps)
            wishes[key] = allocator.Wish(
                key,
                publication.kind,
                subscription.wish.priority,
                layers,
                decision.target,
                current,
                subscription.restraint.wary_of(now_us),
            )
        viewer.share(wishes, now_us)
        allocation = viewer.allocation
        assert allocation is not None
        for key, wish in wishes.items():
            layer = allocation.layers[key]
            if layer is None and wish.current is not None and self._silent(key, now_us):
                continue
            current, best = wish.current, wish.max_layer
            if current is None or best is None or current <= best:
                self._subscriptions[key].restraint.moved(current, layer, now_us)
            decided[key] = Decision(layer) if layer is not None else Decision(None, "bandwidth")
        return decided

    def _silent(self, key: SubscriptionKey, now_us: int) -> bool:
        """Whether the smallest picture has just fallen silent: nobody is paused for what may soon go on."""
        publication = self._publications[self._subscriptions[key].publication]
        flowing = publication.layers
        return bool(flowing) and flowing[0].layer.spatial > 0 and now_us - publication.lowest_us < _SILENCE_US

    def _observe(self, event: PlaneEvent, now_us: int) -> None:
        match event:
            case AudioLevel():
                if event.publication in self._publications:
                    self._speakers.observe(event.publication, event.level, now_us)
            case TransportFeedback():
                viewer = self._viewers.get(event.transport)
                if viewer is not None:
                    viewer.on_feedback(event.results, now_us)
            case RembReceived():
                viewer = self._viewers.get(event.transport)
                if viewer is not None:
                    viewer.on_remb(event.bitrate_bps, event.subscriptions, now_us)
            case KeyframeWanted():
                if event.publication in self._publications:
                    self._want_keyframe(event.publication, event.rid)
            case EncodingStarted():
                self._survey_us = None
            case EncodingStopped():
                self._survey_us = None
                self._keyframes.forget(event.publication, event.rid)
                self._keyframe_counts.pop((event.publication, event.rid), None)

    def _want_keyframe(self, publication: PublicationKey, rid: str) -> None:
        if (publication, rid) not in self._keyframe_counts:
            self._keyframe_counts[publication, rid] = self._count_keyframes(publication).get(rid, 0)
        self._keyframes.want(publication, rid)

    def _pace_keyframes(self, now_us: int) -> None:
        for publication, rid in self._keyframes.wishes():
            count = self._count_keyframes(publication).get(rid, 0)
            if count > self._keyframe_counts.get((publication, rid), count):
                self._keyframes.seen(publication, rid)
                self._keyframe_counts.pop((publication, rid), None)
        for publication, rid in self._keyframes.due(now_us):
            self._plane.request_keyframe(publication, rid, now_us)

    def _count_keyframes(self, publication: PublicationKey) -> dict[str, int]:
        return {stats.rid: stats.keyframes for stats in self._plane.publication_stats(publication)}

    def _survey(self, key: PublicationKey, publication: _Publication, now_us: int) -> list[Notice]:
        """Read what flows; a changed shape (not a changed bitrate) reopens the decisions."""
        stats = {entry.rid: entry for entry in self._plane.publication_stats(key)}
        flowing = self._plane.layers(key)
        spans: dict[str, tuple[int, int]] = {}
        for layer, rid, _ in flowing:
            spans[rid] = spans.get(rid, (layer.spatial, 0))[0], layer.spatial
        peaks = publication.peaks
        for layer in peaks:
            peaks[layer] *= _PEAK_KEPT
        layers = []
        for layer, rid, bitrate_bps in flowing:
            size = _size_of(stats[rid], layer.spatial, *spans[rid]) if rid in stats else (0, 0)
            peaks[layer] = max(bitrate_bps, peaks.get(layer, 0))
            layers.append(SizedLayer(layer, *size, bitrate_bps, int(peaks[layer])))
        if layers and not layers[0].layer.spatial:
            publication.lowest_us = now_us
        publication.layers = tuple(layers)
        for subscription in publication.subscriptions:
            viewer = self._subscriptions[subscription].viewer
            if viewer is not None and not publication.shape:
                viewer.changed()
        shape = tuple((sized.layer, sized.width, sized.height) for sized in layers)
        if shape != publication.shape:
            publication.shape = shape
            self._undecided |= publication.subscriptions
        size = max(((entry.width, entry.height) for entry in stats.values()), default=(0, 0))
        if size == publication.size or not all(size):
            return []
        publication.size = size
        return [PublicationSized(key, *size)]

    def _decide(self, subscription: _Subscription) -> Decision:
        wish = subscription.wish
        if wish.paused:
            return Decision(None, "client")
        layers = self._publications[subscription.publication].layers
        return Decision(wished_layer(layers, wish.width, wish.height))

    def _apply(self, decided: dict[SubscriptionKey, Decision]) -> list[Notice]:
        notices: list[Notice] = []
        for key, decision in decided.items():
            subscription = self._subscriptions[key]
            before = subscription.applied
            if decision == before:
                continue
            subscription.applied = decision
            viewer = subscription.viewer
            self._plane.set_target(key, decision.target, at_once=viewer is not None and viewer.overrun)
            was_paused = before is not None and before.target is None
            paused = decision.target is None
            if paused != was_paused or (before is not None and before.reason != decision.reason):
                notices.append(SubscriptionState(key, paused, decision.reason))
        return notices
