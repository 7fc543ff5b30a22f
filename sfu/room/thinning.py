"""Fewer points that look the same: for who comes later, and for a room with many series."""

from __future__ import annotations

from collections.abc import Sequence

from sfu.room.alarms import Sample


def thinned(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    """At most `most` (at least 3) of samples in the order of time: the newest, and least and greatest values.

    Time is cut into equal steps, and of each its extremes stay: no peak is lost, whatever lies around it.
    """
    if len(samples) <= most:
        return tuple(samples)
    newest = samples[-1]
    steps = (most - 1) // 2
    start_ms = samples[0].at_ms
    span_ms = max(1, newest.at_ms - start_ms + 1)
    extremes: dict[int, tuple[Sample, Sample]] = {}
    for sample in samples:
        step = (sample.at_ms - start_ms) * steps // span_ms
        least, most_of = extremes.get(step, (sample, sample))
        if sample.value < least.value:
            least = sample
        if sample.value > most_of.value:
            most_of = sample
        extremes[step] = (least, most_of)
    kept = {id(each): each for pair in extremes.values() for each in pair} | {id(newest): newest}
    return tuple(each for each in samples if id(each) in kept)
