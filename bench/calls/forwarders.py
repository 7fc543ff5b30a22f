"""What forwards in a bench, as processes with the same sockets around them: the server and the limit."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calls.packets import Medium, Stream, make_keys
from sfu.transport import stun

ROOT = Path(__file__).parents[2]
ANSWER_S = 10.0
LEAST_INTERVAL_S = 0.001
"""A sender in Python keeps no finer beat; more packets come at once instead."""
SETTLE_S = 0.15
SINK_BYTES = 1
"""The kernel makes the least of it that it has: what nobody reads is soon dropped where it arrives."""


@dataclass(frozen=True)
class Counts:
    cpu_us: float
    received: int
    forwarded: int
    dropped: Any


@dataclass(frozen=True)
class Round:
    """`lost` were sent to it and not received, or received and not forwarded to everybody."""

    cpu_us: float
    forwarded: int
    lost: int
    dropped: Any

    @property
    def us_per_packet(self) -> float:
        return self.cpu_us / self.forwarded


class Forwarder:
    """A process that forwards from one publisher, and the sockets of its peers, which nobody reads."""

    def __init__(self, medium: Medium, subscribers: int) -> None:
        self.medium = medium
        self.subscribers = subscribers
        self.sockets = [_peer_socket() for _ in range(subscribers + 1)]
        self._stream = Stream(medium)
        self._process: subprocess.Popen[str]

    def start(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line: str = "") -> Any:
        """The answer to a line. Raises `RuntimeError` where the process has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("what was to forward has ended")
        return json.loads(line)

    def counts(self) -> Counts:
        return Counts(**self.ask())

    def round(self, packets_per_s: float, seconds: float) -> Round:
        """Send for so long at an even pace, frame by frame, and see what that cost."""
        burst = max(self.medium.burst, round(packets_per_s * LEAST_INTERVAL_S))
        bursts = max(2, round(packets_per_s * seconds / burst))
        packets = self._stream.take(bursts * burst)
        before = self.counts()
        send_paced(self.sockets[0], packets, burst, burst / packets_per_s)
        time.sleep(SETTLE_S)
        after = self.counts()
        received, forwarded = after.received - before.received, after.forwarded - before.forwarded
        lost = (len(packets) - received) * self.subscribers + received * self.subscribers - forwarded
        return Round(after.cpu_us - before.cpu_us, forwarded, lost, after.dropped)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        for sock in self.sockets:
            sock.close()


class Server(Forwarder):
    """The server with one of its planes. Each peer proves its address by a check."""

    def __init__(self, medium: Medium, subscribers: int, plane: str, threads: int = 1) -> None:
        super().__init__(medium, subscribers)
        self.start([sys.executable, str(ROOT / "bench/calls/server.py")])
        order = {"plane": plane, "threads": threads, "medium": medium.kind, "rooms": 1}
        opened = self.ask(json.dumps(order | {"subscribers": subscribers}))
        for sock, (ufrag, password) in zip(self.sockets, opened["credentials"], strict=True):
            sock.connect(("127.0.0.1", opened["port"]))
            check(sock, ufrag, password)


class Limit(Forwarder):
    """Receive, unprotect, rewrite, protect, send, and nothing else."""

    def __init__(self, medium: Medium, subscribers: int, program: Path) -> None:
        super().__init__(medium, subscribers)
        ports = [str(sock.getsockname()[1]) for sock in self.sockets[1:]]
        self.start([str(program), make_keys(0).receive.hex(), *ports])
        port = self.hear()
        for sock in self.sockets:
            sock.connect(("127.0.0.1", port))


def build_limit() -> Path | None:
    """The limit's program, None without cargo."""
    if shutil.which("cargo") is None:
        return None
    rust = ROOT / "rust"
    build = ["cargo", "build", "-q", "--release", "--locked", "-p", "pysfu-plane-io", "--example", "limit"]
    subprocess.run(build, cwd=rust, check=True)
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
    found = subprocess.run(metadata, cwd=rust, check=True, capture_output=True).stdout
    return Path(json.loads(found)["target_directory"]) / "release/examples/limit"


def send_paced(sock: socket.socket, packets: list[bytes], burst: int, interval_s: float) -> None:
    """`burst` packets every `interval_s`; who is late catches up."""
    send, due = sock.send, time.perf_counter()
    for start in range(0, len(packets), burst):
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        for packet in packets[start : start + burst]:
            send(packet)
        due += interval_s


def check(sock: socket.socket, ufrag: str, password: str) -> None:
    """A connectivity check, answered. Spec: RFC 8445 section 7."""
    attributes = [(stun.USERNAME, f"{ufrag}:peer".encode()), (stun.ICE_CONTROLLING, bytes(8))]
    attributes.append((stun.USE_CANDIDATE, b""))
    identity = secrets.token_bytes(12)
    sock.settimeout(ANSWER_S)
    sock.send(stun.build(stun.BINDING_REQUEST, identity, attributes, password))
    while (data := sock.recv(2048))[0] > 3:
        pass
    answer = stun.parse(data)
    if (answer.message_type, answer.transaction_id) != (stun.BINDING_SUCCESS, identity):
        raise RuntimeError("a check was refused")


def _peer_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SINK_BYTES)
    sock.bind(("127.0.0.1", 0))
    return sock
