"""CPU time per forwarded packet of both planes, beside what the machine allows.

The limit is a small native program that unprotects a packet once, and for each subscriber copies it, rewrites
its header, protects it and sends it, and does nothing else (`rust/io/examples/limit.rs`). The planes do their
whole work with it: demultiplexing, sequence and picture ids, extensions, transport-wide numbers, pacing,
cache, statistics, and their ticks. All use AES-128-GCM and send over loopback to a socket that nobody reads;
what comes in is made beforehand and handed over in memory. Rounds alternate; the figures are medians, of the
user and system time of the process.

python bench/planes.py --json artifacts/planes.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from forwarding import PAYLOAD_BYTES, Call, Sink

from sfu.media.plane import RoutedEgress, Routes
from sfu.media.python_plane import PythonPlane

PAIRS = 5
SUBSCRIBERS = (10, 100, 500)
NATIVE_SENT, PYTHON_SENT = 200_000, 20_000
"""Packets sent in a round: enough for a hundred milliseconds of CPU time."""


@dataclass(frozen=True)
class Row:
    """Microseconds of CPU time for each packet sent; None for what cannot be had here."""

    subscribers: int
    limit_us: float | None
    rust_us: float | None
    python_us: float


class RoutedSink(Sink):
    """Lets a plane send by itself, to the same socket that nobody reads."""

    def follow(self, routes: Routes) -> None:
        for number in range(max(SUBSCRIBERS)):
            routes.set_route(10 + number, self._socket.fileno(), *self._address, 0)


def _native_call(subscribers: int, sink: RoutedSink) -> Call | None:
    try:
        from sfu.media.native_plane import NativePlane
    except ImportError:
        return None
    assert isinstance(sink, RoutedEgress)
    return Call(subscribers, sink, NativePlane)


def build_limit() -> Path | None:
    """The limit's program, None without cargo."""
    if shutil.which("cargo") is None:
        return None
    build = ["cargo", "build", "-q", "--release", "--locked", "-p", "pysfu-plane-io", "--example", "limit"]
    subprocess.run(
        [*build, "--message-format=json"], cwd=ROOT / "rust", check=True, stdout=subprocess.DEVNULL
    )
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    found = subprocess.run(metadata, cwd=ROOT / "rust", check=True, capture_output=True).stdout
    return Path(json.loads(found)["target_directory"]) / "release/examples/limit"


def limit_us(program: Path, subscribers: int, sent: int) -> float:
    count = sent // subscribers
    arguments = [str(number) for number in (subscribers, PAYLOAD_BYTES + 4, count, 2)]
    printed = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
    return float(printed.split()[1])


def measure(subscribers: int, program: Path | None) -> Row:
    """All alternate, so that a machine that slows down slows every one."""
    sink, plain = RoutedSink(), Sink()
    try:
        native, python = _native_call(subscribers, sink), Call(subscribers, plain, PythonPlane)
        rounds: dict[str, list[float]] = {"limit": [], "rust": [], "python": []}
        if native is not None:
            native.round(NATIVE_SENT // subscribers // 4)
        python.round(max(100, PYTHON_SENT // subscribers // 4))
        for _ in range(PAIRS):
            if program is not None:
                rounds["limit"].append(limit_us(program, subscribers, NATIVE_SENT))
            if native is not None:
                rounds["rust"].append(native.round(NATIVE_SENT // subscribers))
            rounds["python"].append(python.round(max(40, PYTHON_SENT // subscribers)))
        for call in (native, python):
            if call is not None and call.plane.counters().dropped:
                raise RuntimeError(f"a plane dropped packets: {call.plane.counters().dropped}")
    finally:
        sink.close()
        plain.close()
    medians = [round(statistics.median(rounds[name]), 3) if rounds[name] else None for name in rounds]
    limit, rust, reference = medians
    assert reference is not None
    return Row(subscribers, limit, rust, reference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    program = build_limit()
    rows = [measure(subscribers, program) for subscribers in SUBSCRIBERS]
    table = Table(title="CPU microseconds per forwarded packet of 1200 bytes, AES-128-GCM")
    for title in ("subscribers", "limit", "rust", "of the limit", "python", "rust / python"):
        table.add_column(title, justify="right")
    for row in rows:
        share = f"{row.limit_us / row.rust_us:.0%}" if row.limit_us and row.rust_us else "-"
        times = f"{row.python_us / row.rust_us:.1f} x" if row.rust_us else "-"
        figures = [f"{each:.2f}" if each else "-" for each in (row.limit_us, row.rust_us)]
        table.add_row(str(row.subscribers), *figures, share, f"{row.python_us:.2f}", times)
    Console().print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "profile": "AEAD_AES_128_GCM",
            "payload_bytes": PAYLOAD_BYTES,
            "pairs": PAIRS,
            "rows": [asdict(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
