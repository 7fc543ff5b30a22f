"""The native plane over time: latency at half load, one core and two, large rooms and many, memory.

The server and its peers are those of `bench/planes.py`. Some of the subscribers are read: each of their
packets is decrypted, its order and gaps are checked, and the time from the publisher's making it to its
arrival at the subscriber's socket is taken (the kernel's clock). Lost by us is what was sent and not
forwarded to everybody, or is missing at who is read.

- *Latency*: in as many rooms as cost half a core for each thread, while others chat, come and go
  (`calls/people.py`): 300 packets a second, evenly or in frames of ten at once, or what Chromium's simulcast
  sent. The last packet of a frame waits until those before it have gone to everybody: that takes the plane
  longer than a millisecond where everybody are a hundred. How late the publishers themselves sent is told
  beside it: that is what the machine does to anybody who sleeps.
- *Reports*: what it costs that subscribers tell what arrived: feedback is for policy, which is Python.
- *Cores*: what a packet costs one thread, and two threads that forward twice as many. These are no real-time
  threads: those would interrupt the senders, which share their cores here, at each packet of a burst.
- *Long*: one publisher with 1,000 subscribers, and 100 rooms of ten who all see each other, at half of what
  two cores can by that.
- *Memory*: what a subscriber adds to the process, without a DTLS session.

Everything, the peers too, runs on this machine's cores.

python bench/holding.py --seconds 60 --json artifacts/holding.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from calls.forwarders import Round, Server, Shape, has_cargo, has_native_plane
from calls.packets import SIMULCAST, VIDEO, Medium, Script, frames, paced, trace

READ = 8
TRIAL_PER_S, TRIAL_S, WARM_S = 100_000, 2.0, 2.0
LOAD = 0.5
FEW_SENT_PER_S = 60_000
LATENCY_SUBSCRIBERS = (9, 99, 499)
FRAMES_PER_S = 30
QUANTILES = ("p50", "p99", "p99.9")
CORES_SHAPES = (
    Shape(VIDEO, 9, 2),
    Shape(VIDEO, 9, 10),
    Shape(VIDEO, 9, 100),
    Shape(VIDEO, 100, 2),
    Shape(VIDEO, 200),
    Shape(VIDEO, 1000),
    Shape(VIDEO, 9, 100, mutual=True),
)
LATENCY_S = 8.0
CORES_LOAD, CORES_S, PAIRS = 0.4, 2.0, 5
LONG_SHAPES = CORES_SHAPES[-2:]
REPORTS_SHAPE = (20, 9)
CLIMB_S = 20.0
"""Until estimates have grown to what flows."""
MEMORY_SUBSCRIBERS = (100, 1100)


@dataclass(frozen=True)
class Held:
    """`publishers` of each room, and `subscribers` of each publisher. `lost` and `disordered` by us.

    `load` is of one core, the server's process as a whole.
    """

    what: str
    rooms: int
    publishers: int
    subscribers: int
    threads: int
    sent_per_s: int
    load: float
    us_per_packet: float
    lost: int
    disordered: int
    latency_us: dict[str, int]
    late_us: dict[str, int]
    control: dict[str, int]


def load_of(done: Round) -> float:
    """Of one core."""
    return done.cpu_us / 1e6 / float(done.drive["took_s"])


def held(what: str, shape: Shape, threads: int, done: Round, control: dict[str, int]) -> Held:
    return Held(
        what=what,
        rooms=shape.rooms,
        publishers=shape.publishers,
        subscribers=shape.subscribers,
        threads=threads,
        sent_per_s=round(done.sent_per_s),
        load=round(load_of(done), 2),
        us_per_packet=round(done.us_per_packet, 2),
        lost=done.lost,
        disordered=done.drive["disordered"],
        latency_us=done.drive["latency_us"],
        late_us=done.drive["late_us"],
        control=control,
    )


def even(shape: Shape, sent_per_s: float) -> Script:
    return frames(shape.medium, sent_per_s / shape.sent_per_frame / shape.publishers / shape.rooms)


@contextmanager
def serving(shape: Shape, threads: int, *, realtime: bool = True) -> Iterator[Server]:
    """The server with its calls, warm."""
    with closing(Server(shape, "rust", threads, realtime=realtime)) as server:
        script = even(shape, TRIAL_PER_S) if shape.mutual else frames(shape.medium, FRAMES_PER_S)
        server.play(script, WARM_S, keyframes=True)
        yield server


def cost_us(server: Server) -> float:
    """Of a packet, where nothing else happens."""
    return server.round(even(server.shape, TRIAL_PER_S), TRIAL_S).us_per_packet


@contextmanager
def people(url: str, done: dict[str, int]) -> Iterator[None]:
    """The control plane at work; `done` tells afterwards what that was."""
    command = [sys.executable, str(Path(__file__).parent / "calls/people.py"), url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        told, _ = process.communicate(timeout=60)
        done.update(json.loads(told))


@dataclass(frozen=True)
class Traffic:
    """What each publisher sends."""

    name: str
    medium: Medium
    script: Script

    def sent_per_s(self, subscribers: int) -> float:
        """Packets that leave in a second for one publisher, where each encoding goes to as many."""
        seconds = self.script.period_us / 1e6
        return len(self.script.steps) * subscribers / len(self.medium.bursts) / seconds


def latency(traffic: Traffic, subscribers: int, threads: int, seconds: float) -> Held:
    """With as many rooms as that load takes, by what a few of them take."""
    few = max(1, round(FEW_SENT_PER_S / traffic.sent_per_s(subscribers)))
    with serving(Shape(traffic.medium, subscribers, few), threads) as server:
        each = load_of(server.round(traffic.script, TRIAL_S)) / few
    shape = Shape(traffic.medium, subscribers, max(1, round(threads * LOAD / each)), READ)
    done: dict[str, int] = {}
    with serving(shape, threads) as server, people(server.url, done):
        server.play(traffic.script, WARM_S)
        round_ = server.round(traffic.script, seconds)
    return held(traffic.name, shape, threads, round_, done)


def reports(traffic: Traffic, feedback: bool, seconds: float) -> Held:
    """Every subscriber is read, so that each can report."""
    rooms, subscribers = REPORTS_SHAPE
    shape = Shape(traffic.medium, subscribers, rooms, rooms * subscribers, feedback)
    with serving(shape, 1) as server:
        server.play(traffic.script, CLIMB_S)
        round_ = server.round(traffic.script, seconds)
    return held("reports" if feedback else "no reports", shape, 1, round_, {})


@dataclass(frozen=True)
class Cores:
    """Microseconds of CPU for each packet, of one thread, and of two that forward twice as many."""

    rooms: int
    publishers: int
    subscribers: int
    one_us: float
    two_us: float

    @property
    def times(self) -> float:
        """Packets that two cores forward for one of one."""
        return 2 * self.one_us / self.two_us

    @property
    def two_per_s(self) -> float:
        """Packets in a second of two cores."""
        return 2e6 / self.two_us


def cores(shape: Shape) -> Cores:
    """Pairs alternate; the figures are medians."""
    with serving(shape, 1, realtime=False) as one, serving(shape, 2, realtime=False) as two:
        per_s = CORES_LOAD * 1e6 / cost_us(one)
        rounds = [
            (one.round(even(shape, per_s), CORES_S), two.round(even(shape, 2 * per_s), CORES_S))
            for _ in range(PAIRS)
        ]
    if any(done.lost or done.dropped for pair in rounds for done in pair):
        raise RuntimeError(f"packets were lost: {rounds}")
    by_threads = zip(*rounds, strict=True)
    ours, both = (round(statistics.median(done.us_per_packet for done in each), 2) for each in by_threads)
    return Cores(shape.rooms, shape.publishers, shape.subscribers, ours, both)


def long(shape: Shape, per_s: float, seconds: float) -> Held:
    with serving(shape, 2) as server:
        return held("long", shape, 2, server.round(even(shape, per_s), seconds), {})


def memory() -> float:
    """Bytes that one more subscriber adds, of those who are sent video."""
    resident = []
    for subscribers in MEMORY_SUBSCRIBERS:
        shape = Shape(VIDEO, subscribers)
        with serving(shape, 1) as server:
            server.play(even(shape, TRIAL_PER_S), WARM_S)
            resident.append(server.counts().rss_bytes)
    few, many = MEMORY_SUBSCRIBERS
    return (resident[1] - resident[0]) / (many - few)


def print_held(rows: list[Held]) -> None:
    table = Table(title="Video; latency, and how late publishers sent, p50 / p99 / p99.9 in microseconds")
    shape = ("", "rooms", "of", "each", "threads")
    for title in (*shape, "sent/s", "core", "us", "lost", "disordered", "latency", "late"):
        table.add_column(title, justify="right")
    for row in rows:
        shape = tuple(map(str, (row.what, row.rooms, row.publishers, row.subscribers, row.threads)))
        sent = (f"{row.sent_per_s:,}", f"{row.load:.0%}", str(row.us_per_packet))
        times = (" / ".join(str(each[name]) for name in QUANTILES) for each in (row.latency_us, row.late_us))
        table.add_row(*shape, *sent, str(row.lost), str(row.disordered), *times)
    Console(width=140).print(table)


def print_cores(rows: list[Cores]) -> None:
    table = Table(title="Microseconds of CPU for each packet")
    titles = ("rooms", "of", "each", "one thread", "two threads", "two cores, packets/s", "times one")
    for title in titles:
        table.add_column(title, justify="right")
    for row in rows:
        shape = map(str, (row.rooms, row.publishers, row.subscribers))
        costs = (f"{row.one_us:.2f}", f"{row.two_us:.2f}")
        table.add_row(*shape, *costs, f"{row.two_per_s:,.0f}", f"{row.times:.2f}")
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="for each of the long calls")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    if not (has_cargo() and has_native_plane()):
        raise SystemExit("what is measured is native: cargo and pysfu-plane are needed")
    bytes_each = memory()
    Console().print(f"one more subscriber takes {bytes_each / 1024:.0f} KiB")
    bursts = frames(VIDEO, FRAMES_PER_S)
    burst, pace = Traffic("bursts", VIDEO, bursts), Traffic("paced", VIDEO, paced(bursts))
    recorded = Traffic("trace", SIMULCAST, trace())
    latencies = [
        latency(traffic, subscribers, threads, LATENCY_S)
        for threads in (1, 2)
        for traffic in (pace, burst, recorded)
        for subscribers in LATENCY_SUBSCRIBERS
    ]
    latencies += [reports(recorded, feedback, LATENCY_S) for feedback in (False, True)]
    print_held(latencies)
    scaling = {shape: cores(shape) for shape in CORES_SHAPES}
    print_cores(list(scaling.values()))
    stretches = [
        long(replace(shape, read=READ), LOAD * scaling[shape].two_per_s, arguments.seconds)
        for shape in LONG_SHAPES
    ]
    print_held(stretches)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "bytes_per_subscriber": round(bytes_each),
            "latency": [asdict(row) for row in latencies],
            "cores": [asdict(row) for row in scaling.values()],
            "long": [asdict(row) for row in stretches],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
