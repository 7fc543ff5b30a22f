"""CPU time per forwarded packet of both planes in the real server, beside what the machine allows.

The server is a process with everything that `sfu serve` starts (`calls/server.py`), of which user and system
time count in full. The limit is a small native program that receives, unprotects each packet once, for each
subscriber rewrites its header, protects it and sends it as the plane does, and does nothing else
(`rust/io/examples/limit.rs`). Their peers are another native program (`rust/io/examples/drive`): it sends
frame by frame at an even pace, and asks for packets again where the row says so. All send to sockets of the
same kind that nobody reads, with AES-128-GCM. A row's three are measured in turns; the figures are medians. A
round in which a packet was lost ends the run.

With simulcast a third of the subscribers gets each encoding. A retransmission counts as a forwarded packet;
the limit resends nothing.

python bench/planes.py --json artifacts/planes.json --plots artifacts
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from calls.forwarders import Forwarder, Limit, Server, Shape, has_cargo, has_native_plane
from calls.packets import AUDIO, SIMULCAST, VIDEO, Medium, frames

SUBSCRIBERS = (10, 100, 500)
PAIRS, QUICK_PAIRS = 5, 2
ROUND_S, QUICK_ROUND_S = 1.5, 0.7
WARM_S = 0.5
NATIVE_SENT_PER_S, PYTHON_SENT_PER_S = 200_000, 15_000
"""Packets that leave in a second: some 40 % of one core."""


@dataclass(frozen=True)
class Scenario:
    """Each subscriber asks for a share `nacks` of its packets again."""

    name: str
    medium: Medium
    nacks: float = 0


SCENARIOS = (
    Scenario("video", VIDEO),
    Scenario("video, 2 % NACKs", VIDEO, nacks=0.02),
    Scenario("simulcast", SIMULCAST),
    Scenario("audio", AUDIO),
)


@dataclass(frozen=True)
class Row:
    """Microseconds of CPU time for each packet sent; None for what cannot be had here."""

    scenario: str
    subscribers: int
    limit_us: float | None
    rust_us: float | None
    python_us: float

    @property
    def share_of_limit(self) -> float | None:
        return self.limit_us / self.rust_us if self.limit_us and self.rust_us else None

    @property
    def times_python(self) -> float | None:
        return self.python_us / self.rust_us if self.rust_us else None

    @property
    def rust_packets_per_core(self) -> int | None:
        """In a second."""
        return round(1e6 / self.rust_us) if self.rust_us else None


@contextmanager
def forwarders(scenario: Scenario, subscribers: int) -> Iterator[dict[str, Forwarder]]:
    """All there is to compare, running."""
    with ExitStack() as stack:
        shape = Shape(scenario.medium, subscribers)
        running: dict[str, Forwarder] = {"limit": stack.enter_context(closing(Limit(shape)))}
        if has_native_plane():
            running["rust"] = stack.enter_context(closing(Server(shape, "rust")))
        running["python"] = stack.enter_context(closing(Server(shape, "python")))
        yield running


def measure(scenario: Scenario, subscribers: int, pairs: int, seconds: float) -> Row:
    """All alternate, so that a machine that slows down slows every one."""
    rounds: dict[str, list[float]] = {"limit": [], "rust": [], "python": []}
    with forwarders(scenario, subscribers) as running:
        for number in range(-1, pairs):
            for name, forwarder in running.items():
                sent_per_s = PYTHON_SENT_PER_S if name == "python" else NATIVE_SENT_PER_S
                script = frames(forwarder.shape.medium, sent_per_s / forwarder.shape.sent_per_frame)
                nacks = 0 if name == "limit" else scenario.nacks
                if number < 0:
                    forwarder.play(script, WARM_S, keyframes=True)
                    continue
                done = forwarder.round(script, seconds, nacks=nacks)
                if done.lost or done.dropped:
                    raise RuntimeError(f"{name} lost packets: {done}")
                rounds[name].append(done.us_per_packet)
    limit, rust, python = (
        round(statistics.median(rounds[name]), 3) if rounds[name] else None for name in rounds
    )
    assert python is not None
    return Row(scenario.name, subscribers, limit, rust, python)


def print_table(rows: list[Row]) -> None:
    table = Table(title="CPU microseconds per forwarded packet, AES-128-GCM")
    for title in (
        "",
        "subscribers",
        "limit",
        "rust",
        "of the limit",
        "packets/s/core",
        "python",
        "rust / python",
    ):
        table.add_column(title, justify="right")
    for row in rows:
        limit, rust = (f"{each:.2f}" if each else "-" for each in (row.limit_us, row.rust_us))
        share = f"{row.share_of_limit:.0%}" if row.share_of_limit else "-"
        rate = f"{row.rust_packets_per_core:,}" if row.rust_packets_per_core else "-"
        times = f"{row.times_python:.1f} x" if row.times_python else "-"
        named = (row.scenario, str(row.subscribers))
        table.add_row(*named, limit, rust, share, rate, f"{row.python_us:.2f}", times)
    Console(width=110).print(table)


def plot(rows: list[Row], folder: Path) -> None:
    """A picture for each scenario: `planes-video.png`, ..."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for scenario in SCENARIOS:
        some = [row for row in rows if row.scenario == scenario.name]
        figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
        bars = {
            "limit": [row.limit_us or 0 for row in some],
            "native plane": [row.rust_us or 0 for row in some],
            "Python plane": [row.python_us for row in some],
        }
        for place, (name, values) in enumerate(bars.items()):
            drawn = axes.bar([at + 0.27 * (place - 1) for at in range(len(some))], values, 0.25, label=name)
            axes.bar_label(drawn, fmt="%.2f", fontsize=8)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
        axes.set_ylabel("CPU microseconds per forwarded packet")
        axes.set_xticks(range(len(some)), [f"{row.subscribers} subscribers" for row in some])
        axes.set_title(f"{scenario.name}, {scenario.medium.payload_bytes} bytes")
        figure.legend(loc="outside lower center", ncols=len(bars))
        named = re.sub(r"\W+", "-", scenario.name)
        figure.savefig(folder / f"planes-{named}.png", dpi=130)
        pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--plots", type=Path, help="also draw them, into this folder (pysfu[plots])")
    arguments = parser.parse_args()
    pairs, seconds = (QUICK_PAIRS, QUICK_ROUND_S) if arguments.quick else (PAIRS, ROUND_S)
    if not has_cargo():
        raise SystemExit("the limit and the peers are native programs: cargo is needed")
    rows = [
        measure(scenario, subscribers, pairs, seconds)
        for scenario in SCENARIOS
        for subscribers in SUBSCRIBERS
    ]
    print_table(rows)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "profile": "AEAD_AES_128_GCM",
            "payload_bytes": {each.name: each.medium.payload_bytes for each in SCENARIOS},
            "pairs": pairs,
            "rows": [asdict(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    if arguments.plots:
        plot(rows, arguments.plots)


if __name__ == "__main__":
    main()
