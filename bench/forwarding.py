"""CPU time per forwarded packet: SRTP in, the Python plane, SRTP and UDP out, for 1, 10 and 100 subscribers.

Beside it stand two floors: protecting a packet of that size and sending it, and nothing else, as the plane
does it and by libsrtp. All send over loopback to a socket that nobody reads. Each subscriber has a MID of its
own. Rounds of the three alternate; the figures are medians.

python bench/forwarding.py --json artifacts/forwarding.json
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pylibsrtp
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1])]

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    Codec,
    EncodingSsrcs,
    ExtensionIds,
    MediaPlane,
    PublicationConfig,
    SrtpKeys,
    SubscriptionConfig,
)
from sfu.media.python_plane import PythonPlane
from sfu.media.srtp import SrtpSender

PAYLOAD_BYTES = 1156
"""With header, extensions and tag the plane sends about 1200 bytes."""
ROUNDS = 5
SENT_IN_A_ROUND = 20_000
INTERVAL_US = 1000
"""Between packets of the publisher: 9 Mbit/s."""
TICK_US = 20_000
PUBLISHER = TransportKey(1)
PUBLICATION = PublicationKey(1)
IDS = ExtensionIds(mid=4, transport_cc=3, abs_send_time=2, video_orientation=13)


@dataclass(frozen=True)
class Row:
    """Microseconds of CPU time for each packet sent."""

    subscribers: int
    plane_us: float
    floor_us: float
    libsrtp_floor_us: float
    forwarded: int


class Sink:
    """The plane's egress: one socket, and an address that takes everything."""

    def __init__(self) -> None:
        self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.bind(("127.0.0.1", 0))
        self._address = self._receiver.getsockname()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sendto = self._socket.sendto

    def send(self, transport: TransportKey, packet: bytes) -> None:
        self._sendto(packet, self._address)

    def close(self) -> None:
        self._socket.close()
        self._receiver.close()


def make_keys(rng: random.Random) -> SrtpKeys:
    return SrtpKeys(profile="AEAD_AES_128_GCM", receive=rng.randbytes(28), send=rng.randbytes(28))


def srtp_session(key: bytes) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(
        key=key,
        ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    )
    return pylibsrtp.Session(policy)


class Stream:
    """A publisher's protected packets, made before the clock runs: frames of ten, the first a keyframe."""

    def __init__(self, keys: SrtpKeys) -> None:
        self._session = srtp_session(keys.receive)
        self._number = 0
        self._body = random.Random(2).randbytes(PAYLOAD_BYTES)

    def take(self, count: int) -> list[bytes]:
        return [self._next() for _ in range(count)]

    def _next(self) -> bytes:
        number = self._number
        self._number += 1
        frame, part = divmod(number, 10)
        head = struct.pack(
            "!BBHII", 0x90, (part == 9) << 7 | 96, number & 0xFFFF, frame * 3000 & 0xFFFFFFFF, 1
        )
        extension = struct.pack("!HHBBBHB", 0xBEDE, 2, 4 << 4, ord("0"), 3 << 4 | 1, number & 0xFFFF, 13 << 4)
        descriptor = struct.pack("!BBH", 0x90 if part == 0 else 0x80, 0x80, 0x8000 | frame & 0x7FFF)
        start = bytes.fromhex("d0c3009d012a0005d002") if frame == 0 else b"\xb1"
        packet = head + extension + bytes(2) + descriptor + (start if part == 0 else b"") + self._body
        return bytes(self._session.protect(packet))


class Call:
    """One publisher and its subscribers on a plane, in virtual time."""

    def __init__(
        self, subscribers: int, sink: Sink, make_plane: Callable[..., MediaPlane] = PythonPlane
    ) -> None:
        rng = random.Random(1)
        self.plane = make_plane(sink, rng=rng)
        self.now_us = 0
        keys = make_keys(rng)
        self.stream = Stream(keys)
        self.plane.open_transport(PUBLISHER, keys)
        self.plane.open_publication(
            PUBLICATION,
            PublicationConfig(
                transport=PUBLISHER,
                kind="video",
                mid="0",
                codecs=(Codec(name="vp8", payload_type=96, clock_rate=90_000, rtx_payload_type=97),),
                extensions=IDS,
                ssrcs=(EncodingSsrcs(ssrc=1, rtx_ssrc=2),),
                nack=True,
                transport_cc=True,
            ),
        )
        for number in range(subscribers):
            transport = TransportKey(10 + number)
            self.plane.open_transport(transport, make_keys(rng))
            self.plane.open_subscription(
                SubscriptionKey(10 + number),
                SubscriptionConfig(
                    transport=transport,
                    publication=PUBLICATION,
                    mid=str(number),
                    ssrc=1000 + number,
                    rtx_ssrc=2000 + number,
                    payload_types={96: 96},
                    rtx_payload_types={96: 97},
                    extensions=IDS,
                    cname="publisher",
                ),
            )

    def round(self, count: int) -> float:
        """Microseconds of CPU time for each packet forwarded of `count` received, ticks included."""
        packets = self.stream.take(count)
        before = self.plane.counters().forwarded
        started = time.process_time()
        for packet in packets:
            self.now_us += INTERVAL_US
            self.plane.receive(PUBLISHER, packet, self.now_us)
            if self.now_us % TICK_US == 0:
                self.plane.tick(self.now_us, 0)
                self.plane.poll_events()
        elapsed = time.process_time() - started
        return elapsed * 1e6 / (self.plane.counters().forwarded - before)


class Floor:
    """Protect and send, with everything else done beforehand."""

    def __init__(self, subscribers: int, sink: Sink) -> None:
        rng = random.Random(1)
        self._sink = sink
        self._streams = [SrtpSender(make_keys(rng)).stream(number) for number in range(subscribers)]
        self._sent = 0
        self._header = bytes(28)
        self._payload = rng.randbytes(PAYLOAD_BYTES + 4)

    def round(self, count: int) -> float:
        """Microseconds of CPU time for each packet sent."""
        header, payload, send = self._header, self._payload, self._sink.send
        started = time.process_time()
        for number in range(self._sent, self._sent + count):
            for stream in self._streams:
                send(PUBLISHER, stream.protect(number, header, payload))
        elapsed = time.process_time() - started
        self._sent += count
        return elapsed * 1e6 / (count * len(self._streams))


class LibsrtpFloor:
    """The same by libsrtp, through its Python binding."""

    def __init__(self, subscribers: int, sink: Sink) -> None:
        rng = random.Random(1)
        self._sink = sink
        self._sessions = [srtp_session(make_keys(rng).send) for _ in range(subscribers)]
        self._sent = 0
        self._payload = rng.randbytes(PAYLOAD_BYTES + 20)

    def round(self, count: int) -> float:
        """Microseconds of CPU time for each packet sent."""
        payload, send, pack = self._payload, self._sink.send, struct.Struct("!BBHII").pack
        started = time.process_time()
        for number in range(self._sent, self._sent + count):
            packet = pack(0x80, 96, number & 0xFFFF, 0, 1) + payload
            for session in self._sessions:
                send(PUBLISHER, session.protect(packet))
        elapsed = time.process_time() - started
        self._sent += count
        return elapsed * 1e6 / (count * len(self._sessions))


def measure(subscribers: int) -> Row:
    """All alternate, so that a machine that slows down slows every one."""
    sink = Sink()
    try:
        count = SENT_IN_A_ROUND // max(subscribers, 4)
        call = Call(subscribers, sink)
        measured = (call, Floor(subscribers, sink), LibsrtpFloor(subscribers, sink))
        for one in measured:
            one.round(count // 4)
        rounds = [[one.round(count) for one in measured] for _ in range(ROUNDS)]
    finally:
        sink.close()
    plane_us, floor_us, libsrtp_us = (
        round(statistics.median(values), 3) for values in zip(*rounds, strict=True)
    )
    dropped = call.plane.counters().dropped
    if dropped:
        raise RuntimeError(f"the plane dropped packets: {dropped}")
    return Row(subscribers, plane_us, floor_us, libsrtp_us, call.plane.counters().forwarded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    rows = [measure(subscribers) for subscribers in (1, 10, 100)]
    table = Table(title="CPU microseconds per forwarded packet, AES-128-GCM")
    for title in ("subscribers", "plane", "protect + sendto alone", "by libsrtp", "packets"):
        table.add_column(title, justify="right")
    for row in rows:
        figures = (row.plane_us, row.floor_us, row.libsrtp_floor_us)
        table.add_row(str(row.subscribers), *(f"{figure:.2f}" for figure in figures), str(row.forwarded))
    Console().print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "profile": "AEAD_AES_128_GCM",
            "payload_bytes": PAYLOAD_BYTES,
            "rounds": ROUNDS,
            "rows": [asdict(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
