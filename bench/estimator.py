"""The bandwidth estimator on emulated links: traces as plots, and how far off and how fast it is.

Everything runs in virtual time and gives the same result every time. The plots need matplotlib (the
`plots` extra); without it the table is still made.

python bench/estimator.py --plots docs --json artifacts/estimator.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from bwe_simulation import SIMULCAST, Bottleneck, ConstantFlow, Sample, Viewer
from emulator import Network

SETTLED = 0.25
"""An estimate is settled once it stays within this of what is available for two seconds."""
SETTLED_S = 2.0

Schedule = tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Case:
    """One link and what happens on it; `available` is what it leaves for this viewer over time."""

    name: str
    capacity: Schedule
    available: Schedule
    duration_s: float
    competitor: tuple[int, float, float] | None = None
    jitter_us: int = 0
    loss: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Figures of one trace. Times are None where it never got there."""

    case: str
    source: str
    settle_s: float | None
    error_percent: float
    utilisation_percent: float
    fall_s: float | None
    rise_s: float | None
    queue_p95_ms: float
    queue_max_ms: float
    switches: int


STEP: Schedule = ((0, 3_000_000), (20, 500_000), (40, 3_000_000))
COMPETING: Schedule = ((0, 3_000_000), (20, 1_500_000), (40, 3_000_000))
CASES = (
    Case("constant 3 Mbit/s", ((0, 3_000_000),), ((0, 3_000_000),), 60),
    Case("constant 700 kbit/s", ((0, 700_000),), ((0, 700_000),), 60),
    Case("constant 150 kbit/s", ((0, 150_000),), ((0, 150_000),), 60),
    Case("step", STEP, STEP, 65),
    Case("competing flow", ((0, 3_000_000),), COMPETING, 65, competitor=(1_500_000, 20, 40)),
    Case("loss and jitter", ((0, 3_000_000),), ((0, 3_000_000),), 60, jitter_us=30_000, loss=0.02),
)


def run(case: Case, *, simulcast: bool) -> Viewer:
    """The trace of one case in `Viewer.samples`: an ideal source, or simulcast through the allocator."""
    network = Network(seed=1)
    bottleneck = Bottleneck(network, case.capacity, jitter_us=case.jitter_us, loss=case.loss)
    viewer = Viewer(network, bottleneck, layers=SIMULCAST if simulcast else None)
    if case.competitor is not None:
        ConstantFlow(bottleneck, *case.competitor)
    network.clock.run_for(int(case.duration_s * 1e6))
    return viewer


def judge(case: Case, viewer: Viewer, source: str) -> Outcome:
    samples = viewer.samples
    settled = [sample for sample in samples if _age_s(case.available, sample.time_s) >= 10]
    errors = [abs(s.estimate_bps / _at(case.available, s.time_s) - 1) for s in settled]
    available = statistics.fmean(_at(case.available, sample.time_s) for sample in settled)
    queues = sorted(sample.queue_ms for sample in samples)
    fall_s = rise_s = None
    if len(case.available) > 1:
        (_, high), (down_s, low), (up_s, _) = case.available
        fall_s = _first(samples, down_s, lambda sample: sample.estimate_bps <= 1.1 * low)
        rise_s = _first(samples, up_s, lambda sample: sample.estimate_bps >= 0.8 * high)
    return Outcome(
        case=case.name,
        source=source,
        settle_s=_settle_s(case, samples),
        error_percent=round(100 * statistics.fmean(errors), 1),
        utilisation_percent=round(100 * statistics.fmean(s.received_bps for s in settled) / available, 1),
        fall_s=fall_s,
        rise_s=rise_s,
        queue_p95_ms=round(queues[int(0.95 * len(queues))], 1),
        queue_max_ms=round(queues[-1], 1),
        switches=len([1 for time_s, _ in viewer.switches if time_s > 10]),
    )


def _at(schedule: Schedule, time_s: float) -> int:
    return next(bps for begin_s, bps in reversed(schedule) if time_s >= begin_s)


def _age_s(schedule: Schedule, time_s: float) -> float:
    """Time since the last change."""
    return time_s - max(begin_s for begin_s, _ in schedule if time_s >= begin_s)


def _first(samples: Sequence[Sample], begin_s: float, reached: Callable[[Sample], bool]) -> float | None:
    for sample in samples:
        if sample.time_s >= begin_s and reached(sample):
            return round(sample.time_s - begin_s, 1)
    return None


def _settle_s(case: Case, samples: Sequence[Sample]) -> float | None:
    since_s: float | None = None
    for sample in samples:
        if abs(sample.estimate_bps / _at(case.available, sample.time_s) - 1) > SETTLED:
            since_s = None
        elif since_s is None:
            since_s = sample.time_s
        elif sample.time_s - since_s >= SETTLED_S:
            return round(since_s, 1)
    return None


def plot(case: Case, traces: dict[str, Viewer], path: Path) -> None:
    """Estimate against what is available, what arrived, and the queue; one column for each source."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(traces), figsize=(12, 5), sharex=True, squeeze=False, height_ratios=(3, 1)
    )
    for column, (source, viewer) in enumerate(traces.items()):
        times = [sample.time_s for sample in viewer.samples]
        rate, queue = axes[0][column], axes[1][column]
        available = [_at(case.available, time_s) / 1e6 for time_s in times]
        received = [sample.received_bps / 1e6 for sample in viewer.samples]
        smooth = [statistics.fmean(received[max(0, i - 4) : i + 5]) for i in range(len(received))]
        rate.plot(times, available, color="black", linestyle="--", linewidth=1, label="available")
        rate.plot(times, smooth, color="tab:green", linewidth=1, alpha=0.8, label="received (1 s)")
        rate.plot(times, [s.estimate_bps / 1e6 for s in viewer.samples], color="tab:blue", label="estimate")
        rate.set_title(f"{case.name}: {source}")
        rate.set_ylabel("Mbit/s")
        rate.set_ylim(bottom=0)
        rate.legend(loc="lower right", fontsize="small")
        queue.fill_between(times, [sample.queue_ms for sample in viewer.samples], color="tab:red", alpha=0.5)
        queue.set_ylabel("queue, ms")
        queue.set_xlabel("seconds")
        queue.set_ylim(bottom=0, top=max(200, *(sample.queue_ms for sample in viewer.samples)))
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


def show(outcomes: Sequence[Outcome]) -> None:
    table = Table(title="estimator in virtual time")
    for heading in (
        "case",
        "source",
        "settles",
        "error",
        "used",
        "falls",
        "rises",
        "queue p95 / max",
        "switches",
    ):
        table.add_column(heading, justify="left" if heading in {"case", "source"} else "right")
    for x in outcomes:
        table.add_row(
            x.case,
            x.source,
            _seconds(x.settle_s),
            f"{x.error_percent:.0f} %",
            f"{x.utilisation_percent:.0f} %",
            _seconds(x.fall_s),
            _seconds(x.rise_s),
            f"{x.queue_p95_ms:.0f} / {x.queue_max_ms:.0f} ms",
            str(x.switches) if x.source == "simulcast" else "",
        )
    Console(stderr=True).print(table)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures here; - for standard output"
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write bandwidth-*.png here")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    for case in CASES:
        traces = {name: run(case, simulcast=name == "simulcast") for name in ("full source", "simulcast")}
        outcomes += [judge(case, viewer, source) for source, viewer in traces.items()]
        if arguments.plots is not None:
            arguments.plots.mkdir(parents=True, exist_ok=True)
            name = case.name.replace("/", "").replace(" ", "-").replace("bits", "bps")
            plot(case, traces, arguments.plots / f"bandwidth-{name}.png")
    show(outcomes)
    if arguments.json is not None:
        text = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
        if str(arguments.json) == "-":
            print(text)
        else:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
