"""Splitting one subscribe transport's estimate over its subscriptions. A pure function of plain data.

Audio comes first and always. Then every picture gets its lowest layer, by priority, before any gets
better: a bad picture is preferred over none. Then pictures are raised, the highest priority first, and
within one priority a step at a time in turn. What does not fit is passed over, and what follows may
still use the room.

Nothing flaps: a layer above the current one needs room for a margin more than everything costs with
it, while a layer is only taken away when it really no longer fits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sfu.media.plane import Layer
from sfu.rtp.parameters import Kind

UP_MARGIN_PERCENT = 12
"""An estimate saws by some 10 % around the capacity of a full link; less would follow it up and down."""
WARY_MARGIN_PERCENT = 50
"""For a layer that was too much a moment ago. A path that has become wider shows it by probes."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Wish(Generic[K]):
    """What one subscription would like.

    `layers` are those that flow now with their bits per second, lowest first, each including the layers
    it depends on; empty while nothing flows. `max_layer` is the best one worth having (by the size it is
    shown at), None without limit. `current` is what it has now, None if nothing; for one
    that has just begun, its lowest layer, for a first picture needs no margin. Speakers and screens are
    preferred by a higher `priority`; equals go by their place in the sequence. Layers of the
    spatial layer `wary_of` need plenty of room.
    """

    key: K
    kind: Kind
    priority: int
    layers: tuple[tuple[Layer, int], ...]
    max_layer: Layer | None = None
    current: Layer | None = None
    wary_of: int | None = None


@dataclass(frozen=True, slots=True)
class Allocation(Generic[K]):
    """A layer for each wish, None where there is nothing or no room (`starved` tells which).

    `spent_bps` is what the layers cost together. `wanted_bps` is the least budget that would satisfy
    every wish whatever it has now: an estimate below it is worth probing.
    """

    layers: Mapping[K, Layer | None]
    starved: frozenset[K]
    spent_bps: int
    wanted_bps: int


@dataclass(slots=True)
class _Ladder(Generic[K]):
    """The layers worth considering for one wish, and how far up it stands (0: nothing)."""

    wish: Wish[K]
    steps: list[tuple[Layer, int]]
    taken: int = 0
    blocked: bool = False

    @property
    def cost_bps(self) -> int:
        return self.steps[self.taken - 1][1] if self.taken else 0


def allocate(budget_bps: int, wishes: Sequence[Wish[K]]) -> Allocation[K]:
    """Split `budget_bps` (the estimate, everything included) over the wishes, whose keys are unique.

    Never spends more than the budget, except for audio, which is always given. With a larger budget no
    wish is worse off but by one that goes before it becoming better.
    """
    ladders = [_Ladder(wish, _steps(wish)) for wish in wishes]
    audio = [ladder for ladder in ladders if ladder.wish.kind == "audio"]
    video = sorted((x for x in ladders if x.wish.kind != "audio"), key=lambda x: -x.wish.priority)
    for ladder in audio:
        ladder.taken = len(ladder.steps)
    audio_bps = sum(ladder.cost_bps for ladder in audio)
    video_bps = _fill(budget_bps - audio_bps, video)
    top_bps = sum(ladder.steps[-1][1] for ladder in video if ladder.steps)
    return Allocation(
        layers={x.wish.key: x.steps[x.taken - 1][0] if x.taken else None for x in ladders},
        starved=frozenset(x.wish.key for x in ladders if x.steps and not x.taken),
        spent_bps=audio_bps + video_bps,
        wanted_bps=audio_bps + with_margin(top_bps),
    )


def _steps(wish: Wish[K]) -> list[tuple[Layer, int]]:
    """Layers within the wished size, without those that cost as much as a better one.

    Where even the lowest is larger than wished, it is the one: a picture too sharp beats none.
    """
    limit = wish.max_layer
    fitting = [
        step
        for step in wish.layers
        if limit is None or (step[0].spatial <= limit.spatial and step[0].temporal <= limit.temporal)
    ] or list(wish.layers[:1])
    kept: list[tuple[Layer, int]] = []
    for step in reversed(fitting):
        if not kept or step[1] < kept[-1][1]:
            kept.append(step)
    return kept[::-1]


def _fill(budget_bps: int, video: Sequence[_Ladder[K]]) -> int:
    """Take steps in order while they fit; returns what they cost together."""
    spent = 0
    for ladder in _order(video):
        step = ladder.steps[ladder.taken]
        total = spent - ladder.cost_bps + step[1]
        current = ladder.wish.current
        held = current is not None and step[0] <= current
        wary = step[0].spatial == ladder.wish.wary_of
        needed = total if held else with_margin(total, WARY_MARGIN_PERCENT if wary else UP_MARGIN_PERCENT)
        if needed > budget_bps:
            ladder.blocked = True
            continue
        ladder.taken += 1
        spent = total
    return spent


def _order(video: Sequence[_Ladder[K]]) -> Iterator[_Ladder[K]]:
    """The ladder whose next step comes next: every lowest step, then each priority's steps in turn."""
    for ladder in video:
        if ladder.steps:
            yield ladder
    for priority in sorted({ladder.wish.priority for ladder in video}, reverse=True):
        equals = [ladder for ladder in video if ladder.wish.priority == priority]
        climbing = True
        while climbing:
            climbing = False
            for ladder in equals:
                if not ladder.blocked and 0 < ladder.taken < len(ladder.steps):
                    climbing = True
                    yield ladder


def with_margin(bps: int, percent: int = UP_MARGIN_PERCENT) -> int:
    """What a rate needs of an estimate that is to be enough for it."""
    return -(-bps * (100 + percent) // 100)
