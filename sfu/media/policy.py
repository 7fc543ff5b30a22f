"""What each subscriber should get, decided every tick; how packets get there is the plane's affair.

A tick drains the plane's events, paces keyframe requests, follows the speakers, learns what layers flow, sets
each subscription's target and tells what nobody needs. A target is a cap: the plane sends the best that flows
below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media import allocator
from sfu.media.attention import Attention, Candidate, beyond_places, rank
from sfu.media.decisions import (
    LOWEST,
    Decision,
    Explanation,
    LayersWanted,
    Notice,
    PublicationSized,
    SizedLayer,
    Speakers,
    SubscriptionState,
    Wish,
    affordable,
    cost_bps,
    size_of,
    steps,
    wished_layer,
)
from sfu.media.demand import Demand, KnownEncoding, needed
from sfu.media.keyframes import KeyframeThrottle
from sfu.media.plane import (
    Arrivals,
    AudioLevel,
    BurstResult,
    EncodingStarted,
    EncodingStopped,
    KeyframeWanted,
    Kind,
    Layer,
    MediaPlane,
    PlaneEvent,
    PlaneFault,
    RembReceived,
    TransportFeedback,
)
from sfu.media.restraint import Restraint
from sfu.media.speakers import ActiveSpeakers
from sfu.media.uplink import Uplink
from sfu.media.viewer import Viewer

_SURVEY_US = 200_000
"""How often sizes and layers are read: soon enough for a switch, cheap for hundreds of publications."""
_PEAK_KEPT = 0.97
"""Of a layer's peak from survey to survey: half of it is forgotten in 5 s."""
_SILENCE_US = 3_000_000
_UNSIZED_US = 1_000_000
"""A newcomer that names no size is given this long to do so before it counts as wanting the largest."""
_ANY_PICTURE = (1, 1)


@dataclass(slots=True)
class _Publication:
    kind: Kind
    participant: str
    source: str
    demand: Demand
    muted: bool = False
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The size of each encoding that ever came, by rid."""
    wanted_sizes: frozenset[tuple[int, int]] | None = None
    """Of its subscribers' pictures, None while that must be found out anew."""
    newcomers: bool = False
    """Whether some of its subscribers have not named a size yet."""
    size: tuple[int, int] = (0, 0)
    shape: tuple[tuple[Layer, int, int], ...] = ()
    layers: tuple[SizedLayer, ...] = ()
    subscriptions: set[SubscriptionKey] = field(default_factory=set)
    peaks: dict[tuple[str, int, int], float] = field(default_factory=dict)
    """By rid, and by the layer within that encoding: encodings may change places."""
    lowest_us: int = 0
    """When the smallest picture was last seen to flow."""


@dataclass(slots=True)
class _Subscription:
    publication: PublicationKey
    wish: Wish
    viewer: Viewer | None
    since_us: int = -1
    """When it was first decided."""
    left_out: bool = False
    """By the number of pictures one subscriber may have."""
    decision: Decision | None = None
    """By its wish alone: the best it may get."""
    applied: Decision | None = None
    restraint: Restraint = field(default_factory=Restraint)


class Policy:
    """The decisions of a whole plane. Keys it does not know are ignored: their owner may have left."""

    def __init__(self, plane: MediaPlane, keyframe_interval_us: int, last_n: int = 0) -> None:
        """`last_n` is how many pictures of people one subscriber gets at most, 0 for any number."""
        self._plane = plane
        self._last_n = last_n
        self.attention = Attention()
        """Who speaks, and who spoke last."""
        self._keyframes = KeyframeThrottle(keyframe_interval_us)
        self._keyframe_counts: dict[tuple[PublicationKey, str], int] = {}
        self._speakers = ActiveSpeakers()
        self._publications: dict[PublicationKey, _Publication] = {}
        self._subscriptions: dict[SubscriptionKey, _Subscription] = {}
        self._viewers: dict[TransportKey, Viewer] = {}
        self._uplinks: dict[TransportKey, Uplink] = {}
        self._undecided: set[SubscriptionKey] = set()
        self._survey_us: int | None = None
        self._unobserved: list[PlaneEvent] = []

    def add_publication(
        self,
        publication: PublicationKey,
        kind: Kind,
        *,
        participant: str = "",
        source: str = "other",
        rids: Sequence[str] = (),
    ) -> None:
        """Call after the plane opened it.

        `participant` tells which publications are one person's, `source` what is seen or heard in it, and
        `rids` names its encodings, empty without simulcast.
        """
        added = _Publication(kind, participant, source, Demand(rids or ("",)))
        self._publications.setdefault(publication, added)

    def set_muted(self, publication: PublicationKey, muted: bool) -> None:
        """A muted picture takes no place among those that a subscriber may have."""
        known = self._publications.get(publication)
        if known is not None:
            known.muted = muted
            self._undecided |= known.subscriptions

    def remove_publication(self, publication: PublicationKey) -> None:
        """Its subscriptions go with it."""
        removed = self._publications.pop(publication, None)
        if removed is None:
            return
        for subscription in tuple(removed.subscriptions):
            self.remove_subscription(subscription)
        self._speakers.remove(publication)
        if removed.kind == "audio":
            self.attention.forget(removed.participant)
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
        can take and however many it has. `per_packet` is whether it sends transport-wide feedback.
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
            owner.wanted_sizes = None
        if removed.viewer is not None:
            removed.viewer.subscriptions.discard(subscription)
            removed.viewer.changed()
            if self._last_n:
                # Its place is free for another.
                self._undecided |= removed.viewer.subscriptions

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
        publication = self._publications[subscription.publication]
        flowing = publication.layers
        if not flowing or flowing[-1].layer <= applied.target:
            # Encodings that nobody needs are not sent: then it is not the publisher that has none.
            saved = flowing and len(publication.demand.wanted) < len(publication.demand.rids)
            return "size" if saved else "source"
        wished = subscription.decision.target if subscription.decision is not None else None
        fitting = [each.layer for each in flowing if wished is None or each.layer.spatial <= wished.spatial]
        return "bandwidth" if fitting and fitting[-1] > applied.target else "size"

    def tick(self, now_us: int) -> list[Notice]:
        """One round of decisions. Call every 20 to 50 ms while anything is published."""
        events = self._unobserved + self._plane.poll_events()
        faults: list[Notice] = [event for event in events if isinstance(event, PlaneFault)]
        if faults:
            # A plane tells each once, and what it left behind may fail all that follows: that is for later.
            self._unobserved = [event for event in events if not isinstance(event, PlaneFault)]
            return faults
        self._unobserved = []
        notices: list[Notice] = []
        reported: dict[TransportKey, list[BurstResult]] = {}
        for event in events:
            if isinstance(event, TransportFeedback):
                reported.setdefault(event.transport, []).extend(event.results)
            else:
                self._observe(event, now_us)
        for transport, results in reported.items():
            if (viewer := self._viewers.get(transport)) is not None:
                viewer.on_feedback(results, now_us)
        self._tell_publishers(now_us)
        self._pace_keyframes(now_us)
        speakers = self._speakers.tick(now_us)
        if speakers is not None:
            notices.append(Speakers(speakers))
        self._attend(speakers, now_us)
        surveys = self._survey_us is None or now_us - self._survey_us >= _SURVEY_US
        if surveys:
            self._survey_us = now_us
            for key, publication in self._publications.items():
                notices.extend(self._survey(key, publication, now_us))
        decided = self._decide_all(now_us)
        for viewer in self._viewers.values():
            if viewer.due(now_us):
                decided |= self._share(viewer, now_us)
            viewer.tick(now_us)
        notices.extend(self._apply(decided))
        for key, publication in self._publications.items():
            if publication.kind == "video" and (surveys or publication.wanted_sizes is None):
                notices.extend(self._follow_demand(key, publication, now_us))
        return notices

    def _tell_publishers(self, now_us: int) -> None:
        """What those may send who estimate nothing by themselves."""
        for transport, uplink in list(self._uplinks.items()):
            bitrate_bps = uplink.due(now_us)
            if bitrate_bps is not None:
                self._plane.send_remb(transport, bitrate_bps)
            elif uplink.is_forgotten(now_us):
                del self._uplinks[transport]

    def _attend(self, speakers: tuple[tuple[PublicationKey, float], ...] | None, now_us: int) -> None:
        """Follow who speaks, and who of a large room is left out for it."""
        came = False
        if speakers is not None:
            heard = [self._publications[key] for key, _ in speakers if key in self._publications]
            people = (each.participant for each in heard if each.source != "screen_audio")
            came = self.attention.follow(tuple(dict.fromkeys(people)))
        self.attention.go_on(now_us)
        if not self._last_n:
            return
        for viewer in self._viewers.values():
            crowded = came and len(viewer.subscriptions) > self._last_n
            if crowded or not self._undecided.isdisjoint(viewer.subscriptions):
                self._leave_out(sorted(viewer.subscriptions))

    def _leave_out(self, subscriptions: Iterable[SubscriptionKey]) -> None:
        people: list[Candidate] = []
        screens: list[Candidate] = []
        for key in subscriptions:
            subscription = self._subscriptions[key]
            publication = self._publications[subscription.publication]
            if publication.kind == "video" and not publication.muted and not subscription.wish.paused:
                spoke_us = self.attention.spoke_us(publication.participant)
                candidate = Candidate(key, subscription.wish.priority, spoke_us)
                (screens if publication.source == "screen" else people).append(candidate)
        left_out = beyond_places(people, screens, self._last_n)
        for key in subscriptions:
            subscription = self._subscriptions[key]
            if subscription.left_out != (key in left_out):
                subscription.left_out = key in left_out
                self._undecided.add(key)

    def _decide_all(self, now_us: int) -> dict[SubscriptionKey, Decision]:
        """By wishes alone; those of a viewer whose network is measured are shared out afterwards."""
        decided: dict[SubscriptionKey, Decision] = {}
        for key in sorted(self._undecided):
            subscription = self._subscriptions[key]
            if subscription.since_us < 0:
                subscription.since_us = now_us
            subscription.decision = self._decide(subscription)
            self._publications[subscription.publication].wanted_sizes = None
            if subscription.viewer is None:
                decided[key] = subscription.decision
            else:
                subscription.viewer.changed()
        self._undecided.clear()
        return decided

    def _follow_demand(self, key: PublicationKey, publication: _Publication, now_us: int) -> list[Notice]:
        """What of a publication its subscribers have use for, network permitting."""
        sizes = publication.wanted_sizes
        if sizes is None or publication.newcomers:
            sizes = publication.wanted_sizes = self._wanted_sizes(publication, now_us)
        demand = publication.demand
        known = [KnownEncoding(rid, *publication.seen.get(rid, (0, 0))) for rid in demand.rids]
        if not demand.update(needed(known, sizes), now_us):
            return []
        return [LayersWanted(key, tuple(rid for rid in demand.rids if rid in demand.wanted))]

    def _wanted_sizes(self, publication: _Publication, now_us: int) -> frozenset[tuple[int, int]]:
        sizes = set()
        publication.newcomers = False
        for key in publication.subscriptions:
            subscription = self._subscriptions[key]
            wish = subscription.wish
            if wish.paused or wish.silent or subscription.left_out:
                continue
            if not wish.width and not wish.height and now_us - subscription.since_us < _UNSIZED_US:
                publication.newcomers = True
                sizes.add(_ANY_PICTURE)
            else:
                sizes.add((wish.width, wish.height))
        return frozenset(sizes)

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
            applied = subscription.applied
            climb = steps(affordable(publication.layers, applied.target if applied is not None else None))
            if not climb:
                # What fell silent goes on as it was; a picture that has not begun yet begins small.
                beginning = Decision(LOWEST) if publication.kind == "video" else decision
                goes_on = applied is not None and applied.reason in ("", "bandwidth")
                decided[key] = applied if applied is not None and goes_on else beginning
                continue
            current = climb[0].layer if applied is None else applied.target
            priority = rank(
                subscription.wish.priority,
                screen=publication.source == "screen",
                speaks=self.attention.speaks(publication.participant, now_us),
            )
            wishes[key] = allocator.Wish(
                key,
                publication.kind,
                priority,
                tuple((each.layer, cost_bps(each, current)) for each in climb),
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
                if known := self._publications.get(event.publication):
                    self._speakers.observe(event.publication, known.participant, event.level, now_us)
            case RembReceived():
                viewer = self._viewers.get(event.transport)
                if viewer is not None:
                    viewer.on_remb(event.bitrate_bps, event.subscriptions, now_us)
            case Arrivals():
                self._uplinks.setdefault(event.transport, Uplink()).on_arrivals(event, now_us)
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
        wishes = self._keyframes.wishes()
        counts = {
            publication: self._count_keyframes(publication) for publication in {key[0] for key in wishes}
        }
        for publication, rid in wishes:
            count = counts[publication].get(rid, 0)
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
        for place in peaks:
            peaks[place] *= _PEAK_KEPT
        layers = []
        for layer, rid, bitrate_bps in flowing:
            size = size_of(stats[rid], layer.spatial, *spans[rid]) if rid in stats else (0, 0)
            place = rid, layer.spatial - spans[rid][0], layer.temporal
            peaks[place] = max(bitrate_bps, peaks.get(place, 0))
            layers.append(SizedLayer(layer, *size, bitrate_bps, int(peaks[place])))
        if layers and not layers[0].layer.spatial:
            publication.lowest_us = now_us
        publication.layers = tuple(layers)
        publication.seen.update(
            (entry.rid, (entry.width, entry.height)) for entry in stats.values() if entry.width
        )
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
        if subscription.left_out:
            return Decision(None, "last_n")
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
