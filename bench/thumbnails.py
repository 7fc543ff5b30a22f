"""One publisher of 720p simulcast, 200 subscribers at thumbnail size: what the publisher sends, and the CPU.

The plane and the policy run in virtual time; the publisher switches off the encodings that it is told nobody
needs, as the web app does. Packets go over loopback to a socket that nobody reads.

python bench/thumbnails.py --json artifacts/thumbnails.json
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import time
from pathlib import Path

import pylibsrtp
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from forwarding import PUBLICATION, PUBLISHER, Sink, make_keys, srtp_session

from sfu.ids import SubscriptionKey, TransportKey
from sfu.media.decisions import LayersWanted, Wish
from sfu.media.plane import Codec, ExtensionIds, PublicationConfig, SubscriptionConfig
from sfu.media.policy import Policy
from sfu.media.python_plane import PythonPlane

SUBSCRIBERS = 200
SECONDS = 30
WARM_S = 10
"""Within this the unneeded encodings are switched off; CPU is counted afterwards."""
TICK_US = 20_000
FRAME_US = 33_333
IDS = ExtensionIds(mid=4, rid=5, transport_cc=3, abs_send_time=2)
ENCODINGS = {"q": (320, 180, 150_000), "h": (640, 360, 500_000), "f": (1280, 720, 2_200_000)}
MTU_BYTES = 1150


class Camera:
    """Protected VP8 packets of one encoding; a keyframe when asked for one."""

    def __init__(self, rid: str, ssrc: int, session: pylibsrtp.Session) -> None:
        self.rid, self.ssrc = rid, ssrc
        self.width, self.height, self.bps = ENCODINGS[rid]
        self.wants_key = True
        self.sent_bytes = 0
        self._session = session
        self._seq = self._frame = 0

    def frame(self) -> list[bytes]:
        """The next frame's packets."""
        self._frame += 1
        size = self.bps * FRAME_US // 8_000_000
        packets = []
        parts = -(-size // MTU_BYTES)
        for part in range(parts):
            first, last = part == 0, part == parts - 1
            head = struct.pack(
                "!BBHII", 0x90, last << 7 | 96, self._seq & 0xFFFF, self._frame * 3000 & 0xFFFFFFFF, self.ssrc
            )
            extension = struct.pack("!HHBBBB", 0xBEDE, 1, 4 << 4, ord("0"), 5 << 4, ord(self.rid))
            payload = struct.pack("!BBH", 0x90 if first else 0x80, 0x80, 0x8000 | self._frame & 0x7FFF)
            if first and self.wants_key:
                payload += b"\xd0\xc3\x00\x9d\x01\x2a" + struct.pack("<HH", self.width, self.height)
                self.wants_key = False
            elif first:
                payload += b"\xb1"
            payload += bytes(min(MTU_BYTES, size - part * MTU_BYTES))
            packets.append(bytes(self._session.protect(head + extension + payload)))
            self._seq += 1
        self.sent_bytes += sum(map(len, packets))
        return packets


def measure() -> dict[str, object]:
    rng = random.Random(1)
    sink = Sink()
    plane = PythonPlane(sink, rng=rng)
    policy = Policy(plane, 500_000)
    keys = make_keys(rng)
    session = srtp_session(keys.receive)
    cameras = {rid: Camera(rid, 1 + number, session) for number, rid in enumerate(ENCODINGS)}
    plane.open_transport(PUBLISHER, keys)
    plane.open_publication(
        PUBLICATION,
        PublicationConfig(
            transport=PUBLISHER,
            kind="video",
            mid="0",
            codecs=(Codec(name="vp8", payload_type=96, clock_rate=90_000, rtx_payload_type=97),),
            extensions=IDS,
            rids=tuple(ENCODINGS),
            nack=True,
            transport_cc=True,
        ),
    )
    policy.add_publication(PUBLICATION, "video", source="camera", rids=tuple(ENCODINGS))
    for number in range(SUBSCRIBERS):
        transport, key = TransportKey(10 + number), SubscriptionKey(10 + number)
        plane.open_transport(transport, make_keys(rng))
        plane.open_subscription(
            key,
            SubscriptionConfig(
                transport=transport,
                publication=PUBLICATION,
                mid="0",
                ssrc=1000 + number,
                rtx_ssrc=2000 + number,
                payload_types={96: 96},
                rtx_payload_types={96: 97},
                extensions=IDS,
                cname="publisher",
            ),
        )
        policy.add_subscription(key, PUBLICATION, Wish(width=320, height=180))
    active = set(ENCODINGS)
    cpu_s = 0.0
    next_frame_us = 0
    forwarded = counted = 0
    for now_us in range(0, SECONDS * 1_000_000, TICK_US):
        packets = []
        if now_us >= next_frame_us:
            next_frame_us += FRAME_US
            packets = [packet for rid in sorted(active) for packet in cameras[rid].frame()]
        started = time.process_time()
        for packet in packets:
            plane.receive(PUBLISHER, packet, now_us)
        plane.tick(now_us, 0)
        notices = policy.tick(now_us)
        elapsed = time.process_time() - started
        if now_us >= WARM_S * 1_000_000:
            cpu_s += elapsed
        else:
            forwarded = plane.counters().forwarded
            for camera in cameras.values():
                camera.sent_bytes = 0
        for notice in notices:
            if isinstance(notice, LayersWanted):
                active = set(notice.rids)
        for stats in plane.publication_stats(PUBLICATION):
            if stats.plis_sent > counted:
                cameras[stats.rid].wants_key = True
        counted = max((stats.plis_sent for stats in plane.publication_stats(PUBLICATION)), default=0)
    sink.close()
    seconds = SECONDS - WARM_S
    sent = plane.counters().forwarded - forwarded
    return {
        "subscribers": SUBSCRIBERS,
        "publisher_bps": {rid: round(camera.sent_bytes * 8 / seconds) for rid, camera in cameras.items()},
        "forwarded_per_s": round(sent / seconds),
        "cpu_percent_of_a_core": round(100 * cpu_s / seconds, 1),
        "cpu_us_per_packet": round(cpu_s * 1e6 / max(sent, 1), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    result = measure()
    table = Table("1 publisher of 720p simulcast, 200 thumbnails", "")
    for key, value in result.items():
        table.add_row(key, str(value))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
