"""The media part of the server in a process of its own, told by its input what to open.

It is `sfu.server.media.Media` with its port, plane, policy and ticks. Left out are signalling and the DTLS
handshake: each transport's keys are given. First comes a line with what to open; the answer has the port and
each transport's ICE credentials, in the order room by room, publisher first. Each line after that is answered
with the counts and the CPU time so far.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from calls.packets import IDS, MEDIA, PUBLISHER_SSRC, Medium, make_keys
from sfu.config import Config, MediaConfig, RtcConfig
from sfu.ids import ParticipantId, PublicationId, RoomName, TransportKey
from sfu.media.decisions import Wish
from sfu.media.plane import EncodingSsrcs, SubscriptionConfig
from sfu.sdp.publish import ReceivedMedia
from sfu.server.media import Media
from sfu.transport.ice import Credentials
from sfu.transport.peer import PeerTransport


class Member:
    """Nothing of interest happens to a transport here."""

    def __init__(self, room: RoomName) -> None:
        self.room = room

    def on_connected(self, transport: PeerTransport) -> None: ...
    def on_disconnected(self, transport: PeerTransport) -> None: ...
    def on_reconnected(self, transport: PeerTransport) -> None: ...
    def on_closed(self, transport: PeerTransport, reason: str) -> None: ...
    def on_data(self, transport: PeerTransport, label: str, message: bytes) -> None: ...
    def on_data_ready(self, transport: PeerTransport, label: str) -> None: ...


class Server:
    """Rooms of one publisher each."""

    def __init__(self, media: Media, medium: Medium) -> None:
        self._media = media
        self._medium = medium
        self.transports: list[PeerTransport] = []

    def open_room(self, number: int, subscribers: int) -> None:
        publisher = self._open_transport(number)
        publication = PublicationId(f"PU_{number}")
        received = ReceivedMedia(
            mid="0",
            kind=self._medium.kind,
            codecs=(self._medium.codec,),
            extensions=IDS,
            rids=(),
            ssrcs=(EncodingSsrcs(ssrc=PUBLISHER_SSRC, rtx_ssrc=None),),
            fmtp="",
            nack=self._medium.kind == "video",
            transport_cc=True,
        )
        source = "camera" if self._medium.kind == "video" else "microphone"
        self._media.publish(publication, ParticipantId(f"PA_{number}"), publisher.key, received, source)
        for _ in range(subscribers):
            self._subscribe(self._open_transport(number).key, publication)

    def _open_transport(self, room: int) -> PeerTransport:
        transport = self._media.open_transport(Member(RoomName(f"room-{room}")))
        transport.agent.remote = Credentials("peer", "q" * 24)
        transport.srtp_keys = make_keys(len(self.transports))
        self._media.start_srtp(transport)
        self.transports.append(transport)
        return transport

    def _subscribe(self, transport: TransportKey, publication: PublicationId) -> None:
        key = self._media.new_subscription_key()
        config = SubscriptionConfig(
            transport=transport,
            publication=self._media.published[publication].key,
            mid="0",
            ssrc=1000 + key,
            rtx_ssrc=1_000_000 + key,
            payload_types={self._medium.codec.payload_type: self._medium.codec.payload_type},
            rtx_payload_types={96: 97} if self._medium.kind == "video" else {},
            extensions=IDS,
            cname="publisher",
        )
        # Nobody sends feedback here, so to policy the path is one without; the plane numbers its packets
        # all the same.
        self._media.subscribe(key, replace(config, extensions=replace(IDS, transport_cc=0)), Wish())
        self._media._plane.open_subscription(key, config)

    def report(self) -> dict[str, Any]:
        counts = self._media.counts()
        return {
            "cpu_us": time.process_time() * 1e6,
            "received": counts["packets_received"],
            "forwarded": counts["packets_forwarded"],
            "dropped": dict(counts["packets_dropped"]) | dict(self._media._port.counters),  # type: ignore[call-overload]
        }


async def serve() -> None:
    loop = asyncio.get_running_loop()
    order = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    config = Config(
        rtc=RtcConfig(port=0, bind=("127.0.0.1",), tcp=False, consent_timeout_s=3600),
        media=MediaConfig(plane=order["plane"], threads=order["threads"]),
    )
    media = await Media.open(config, random.Random(1), lambda notices: None)
    server = Server(media, MEDIA[order["medium"]])
    for number in range(order["rooms"]):
        server.open_room(number, order["subscribers"])
    credentials = [(transport.ice_ufrag, transport.ice_pwd) for transport in server.transports]
    print(json.dumps({"port": media.port, "credentials": credentials}), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(server.report()), flush=True)
    await media.close()


if __name__ == "__main__":
    asyncio.run(serve())
