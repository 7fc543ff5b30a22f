"""What forwards in a bench, as processes with the same peers around them: the server and the limit."""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calls.packets import PEER_PWD, Medium, Script, make_keys
from sfu.transport import stun

ROOT = Path(__file__).parents[2]
ANSWER_S = 10.0
SETTLE_S = 0.15
SINK_BYTES = 1
"""The kernel makes the least of it that it has: what nobody reads is soon dropped where it arrives."""
READ_BYTES = 8 << 20
"""Receive buffer asked for where somebody reads: what comes while the reader waits for a core waits there."""
SO_TIMESTAMPNS = 35
ORDINARY = ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"]
"""What root runs a program by that may not be real-time."""


@dataclass(frozen=True)
class Peer:
    """Whether it publishes, and the number of the publisher whose packets are looked at where it is read."""

    publishes: bool
    source: int | None


@dataclass(frozen=True)
class Shape:
    """Rooms, and how many subscribe to each publisher there; `read` of all peers are read.

    A room has one publisher, who subscribes to nobody; with `mutual` each publishes and gets all the others.
    """

    medium: Medium
    subscribers: int
    rooms: int = 1
    read: int = 0
    feedback: bool = False
    mutual: bool = False

    @property
    def peers(self) -> list[Peer]:
        """Room by room, publisher first."""
        size = self.subscribers + 1
        found = []
        for room in range(self.rooms):
            for place in range(size):
                if self.mutual:
                    found.append(Peer(True, room * size + (place + 1) % size))
                else:
                    found.append(Peer(place == 0, None if place == 0 else room))
        return found

    @property
    def publishers(self) -> int:
        """Of each room."""
        return self.subscribers + 1 if self.mutual else 1

    @property
    def sent_per_frame(self) -> int:
        """Packets that leave for a frame of one publisher, of all its encodings."""
        bursts = self.medium.bursts
        return sum(bursts[place % len(bursts)] for place in range(self.subscribers))

    def read_peers(self) -> set[int]:
        """Places of those who are read, evenly spread."""
        subscribers = [number for number, peer in enumerate(self.peers) if peer.source is not None]
        return set(subscribers[:: max(1, len(subscribers) // self.read)][: self.read]) if self.read else set()


@dataclass(frozen=True)
class Counts:
    cpu_us: float
    received: int
    forwarded: int
    dropped: dict[str, int]
    rss_bytes: int = 0


@dataclass(frozen=True)
class Round:
    """What a run cost, and what became of its packets.

    `lost` by us were not forwarded to everybody (where each gets everything), or are missing at those who are
    read. `dropped` counts by reason what the server dropped. `drive` is what the driver tells of its run.
    """

    cpu_us: float
    forwarded: int
    lost: int
    dropped: dict[str, int]
    drive: dict[str, Any]

    @property
    def us_per_packet(self) -> float:
        return self.cpu_us / self.forwarded

    @property
    def sent_per_s(self) -> float:
        return self.forwarded / self.drive["took_s"]


class Talk:
    """A process that answers lines with lines of JSON."""

    def __init__(self, command: Sequence[str], keep: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=keep
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def ask(self, line: str = "") -> Any:
        """The answer to a line. Raises `RuntimeError` where the process has ended."""
        self.tell(line)
        assert self._process.stdin is not None
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the bench has ended")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Forwarder:
    """A process that forwards, and the driver of its peers.

    `process` answers with its counts. `ssrcs` has what each peer is sent of its source, anything
    where it has none.
    """

    def __init__(self, shape: Shape, process: Talk, sockets: list[socket.socket], ssrcs: list[int]) -> None:
        self.shape = shape
        self._process = process
        # One for each part that a peer plays: each is closed by who has it.
        sends = [sock.fileno() for sock in sockets]
        reads = [os.dup(handle) for handle in sends]
        self._drive = Talk([str(build("drive"))], sends + reads)
        read = shape.read_peers()
        for number, peer in enumerate(shape.peers):
            keys = make_keys(number)
            if peer.publishes:
                self._drive.tell(f"publisher {sends[number]} {keys.receive.hex()}")
            if peer.source is not None:
                ours = f"{keys.send.hex()} {keys.receive.hex()}"
                watched = f"{peer.source} {ssrcs[number]} {int(number in read)}"
                self._drive.tell(f"subscriber {reads[number]} {ours} {watched}")
        for handle in reads:
            os.close(handle)
        for sock in sockets:
            sock.close()

    def counts(self) -> Counts:
        return Counts(**self._process.ask())

    def play(self, script: Script, seconds: float, *, keyframes: bool = False, nacks: float = 0) -> Any:
        """Have everybody do their part for so long; what the driver tells."""
        self._drive.tell(f"script {script.kind} {script.period_us}")
        for step in script.steps:
            packet = f"{step.encoding} {step.payload_bytes} {int(step.first)} {int(step.last)}"
            self._drive.tell(f"step {step.at_us} {packet}")
        self._drive.tell("end")
        asked = round(nacks * 1e6)
        return self._drive.ask(f"run {seconds} {int(keyframes)} {asked} {int(self.shape.feedback)}")

    def round(self, script: Script, seconds: float, *, nacks: float = 0) -> Round:
        """The same with what that cost. Each subscriber asks for a share `nacks` of its packets again."""
        before = self.counts()
        drive = self.play(script, seconds, nacks=nacks)
        time.sleep(SETTLE_S)
        after = self.counts()
        forwarded = after.forwarded - before.forwarded
        dropped = {
            name: count - before.dropped.get(name, 0)
            for name, count in after.dropped.items()
            if count != before.dropped.get(name, 0)
        }
        lost = drive["missing"]
        if not self.shape.medium.simulcast:
            lost += max(0, drive["sent"] * self.shape.subscribers - forwarded)
        return Round(after.cpu_us - before.cpu_us, forwarded, lost, dropped, drive)

    def close(self) -> None:
        self._drive.close()
        self._process.close()


class Server(Forwarder):
    """The server with one of its planes. Each peer proves its address by a check.

    With `realtime` off no thread of it may be a real-time one.
    """

    def __init__(self, shape: Shape, plane: str, threads: int = 1, *, realtime: bool = True) -> None:
        raise_file_limit()
        within = [] if realtime or os.geteuid() else ORDINARY
        process = Talk([*within, sys.executable, str(ROOT / "bench/calls/server.py")])
        order = {"plane": plane, "threads": threads, "medium": shape.medium.name, "rooms": shape.rooms}
        order |= {"subscribers": shape.subscribers, "feedback": shape.feedback, "mutual": shape.mutual}
        opened = process.ask(json.dumps(order))
        self.url: str = opened["url"]
        sockets, read = [], shape.read_peers()
        for number, (ufrag, password) in enumerate(opened["credentials"]):
            sockets.append(sock := peer_socket(read=number in read))
            sock.connect(("127.0.0.1", opened["port"]))
            check(sock, ufrag, password)
        super().__init__(shape, process, sockets, opened["ssrcs"])


class Limit(Forwarder):
    """Receive, unprotect, rewrite, protect, send, and nothing else."""

    def __init__(self, shape: Shape) -> None:
        sockets = [peer_socket(read=False) for _ in shape.peers]
        ports = [str(sock.getsockname()[1]) for sock in sockets[1:]]
        process = Talk(
            [str(build("limit")), make_keys(0).receive.hex(), str(len(shape.medium.bursts)), *ports]
        )
        port = process.hear()
        for sock in sockets:
            sock.connect(("127.0.0.1", port))
        super().__init__(shape, process, sockets, [0] * len(sockets))


_built: dict[str, Path] = {}


def raise_file_limit() -> None:
    """Each peer is a socket, and every process may have many of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def has_cargo() -> bool:
    return shutil.which("cargo") is not None


def has_native_plane() -> bool:
    try:
        import sfu_plane  # noqa: F401
    except ImportError:
        return False
    return True


def build(example: str) -> Path:
    """One of the programs of `rust/io/examples`, which takes cargo."""
    if example not in _built:
        rust = ROOT / "rust"
        command = [
            "cargo",
            "build",
            "-q",
            "--release",
            "--locked",
            "-p",
            "pysfu-plane-io",
            "--example",
            example,
        ]
        subprocess.run(command, cwd=rust, check=True)
        metadata = ["cargo", "metadata", "--format-version=1", "--no-deps"]
        found = subprocess.run(metadata, cwd=rust, check=True, capture_output=True).stdout
        _built[example] = Path(json.loads(found)["target_directory"]) / "release/examples" / example
    return _built[example]


def check(sock: socket.socket, ufrag: str, password: str) -> None:
    """A connectivity check, answered, and the answer to the server's own. Spec: RFC 8445 section 7."""
    attributes = [(stun.USERNAME, f"{ufrag}:peer".encode()), (stun.ICE_CONTROLLING, bytes(8))]
    attributes.append((stun.USE_CANDIDATE, b""))
    identity = secrets.token_bytes(12)
    sock.settimeout(ANSWER_S)
    sock.send(stun.build(stun.BINDING_REQUEST, identity, attributes, password))
    while True:
        if (data := sock.recv(2048))[0] > 3:
            continue
        message = stun.parse(data)
        if message.message_type == stun.BINDING_REQUEST:
            sock.send(stun.build(stun.BINDING_SUCCESS, message.transaction_id, [], PEER_PWD))
        elif (message.message_type, message.transaction_id) == (stun.BINDING_SUCCESS, identity):
            return
        else:
            raise RuntimeError("a check was refused")


def peer_socket(*, read: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES if read else SINK_BYTES)
    if read:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind(("127.0.0.1", 0))
    return sock
