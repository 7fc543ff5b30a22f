"""The server in a process of its own, told by its input which calls to open.

It is `sfu.server.app.Server` as `sfu serve` starts it, with media port, plane, policy and ticks; the calls
of the bench are opened past signalling and the DTLS handshake: each transport's keys are given. First comes a
line with what to open; the answer has the ports, and each transport's ICE credentials and what SSRC it is
sent, room by room, publisher first. Each line after that is answered with counts, memory and CPU time so far.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from calls.packets import IDS, MEDIA, PEER_PWD, PUBLISHER_SSRC, RIDS, SIZES, Medium, make_keys
from sfu.config import Config, LimitsConfig, MediaConfig, RtcConfig, ServerConfig
from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.media.decisions import Wish
from sfu.media.plane import EncodingSsrcs, SubscriptionConfig
from sfu.sdp.publish import ReceivedMedia
from sfu.server import app
from sfu.server.media import Media
from sfu.transport.peer import PeerTransport
from sfu.transport.validation import Credentials


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


class Calls:
    """Rooms of one publisher each."""

    def __init__(self, media: Media, medium: Medium, *, feedback: bool) -> None:
        self._media = media
        self._medium = medium
        self._feedback = feedback
        self.transports: list[PeerTransport] = []
        self.ssrcs: list[int] = []

    def open_room(self, number: int, subscribers: int, *, mutual: bool) -> None:
        """With `mutual` each publishes and gets all others, the next one first; else all get the first."""
        members = [self._open_transport(number) for _ in range(subscribers + 1)]
        if not mutual:
            publication = self._publish(members[0])
            self.ssrcs.append(0)
            self.ssrcs += [
                self._subscribe(member, publication, place) for place, member in enumerate(members[1:])
            ]
            return
        publications = [self._publish(member) for member in members]
        for place, member in enumerate(members):
            others = publications[place + 1 :] + publications[:place]
            ssrcs = [self._subscribe(member, other, turn) for turn, other in enumerate(others)]
            self.ssrcs.append(ssrcs[0])

    def _publish(self, publisher: PeerTransport) -> PublicationId:
        publication = PublicationId(f"PU_{publisher.key}")
        received = ReceivedMedia(
            mid="0",
            kind=self._medium.kind,
            codecs=(self._medium.codec,),
            extensions=IDS,
            rids=RIDS if self._medium.simulcast else (),
            ssrcs=() if self._medium.simulcast else (EncodingSsrcs(ssrc=PUBLISHER_SSRC, rtx_ssrc=None),),
            fmtp="",
            nack=self._medium.kind == "video",
            transport_cc=True,
        )
        source = "camera" if self._medium.kind == "video" else "microphone"
        self._media.publish(
            publication, ParticipantId(f"PA_{publisher.key}"), publisher.key, received, source
        )
        return publication

    def _open_transport(self, room: int) -> PeerTransport:
        transport = self._media.open_transport(Member(RoomName(f"room-{room}")))
        transport.agent.remote = Credentials("peer", PEER_PWD)
        transport.srtp_keys = make_keys(len(self.transports))
        self._media.start_srtp(transport)
        self.transports.append(transport)
        return transport

    def _subscribe(self, subscriber: PeerTransport, publication: PublicationId, place: int) -> int:
        """The subscription's SSRC. Of the encodings there are, each gets one by its place."""
        wish = Wish(0, *SIZES[place % len(SIZES)]) if self._medium.simulcast else Wish()
        key = self._media.new_subscription_key()
        config = SubscriptionConfig(
            transport=subscriber.key,
            publication=self._media.published[publication].key,
            mid="0",
            ssrc=1000 + key,
            rtx_ssrc=1_000_000 + key,
            payload_types={self._medium.codec.payload_type: self._medium.codec.payload_type},
            rtx_payload_types={96: 97} if self._medium.kind == "video" else {},
            extensions=IDS,
            cname="publisher",
        )
        if self._feedback:
            self._media.subscribe(key, config, wish)
            return config.ssrc
        # Nobody tells what the path carries, so everybody gets what was wished; the plane numbers its packets
        # all the same.
        self._media._plane.open_subscription(key, config)
        self._media._policy.add_subscription(key, config.publication, wish)
        return config.ssrc

    def report(self) -> dict[str, Any]:
        counts = self._media.counts()
        return {
            "cpu_us": time.process_time() * 1e6,
            "received": counts["packets_received"],
            "forwarded": counts["packets_forwarded"],
            "dropped": counts["packets_dropped"],
            "rss_bytes": resident_bytes(),
        }


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def serve(folder: str) -> None:
    loop = asyncio.get_running_loop()
    order = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    config = Config(
        server=ServerConfig(host="127.0.0.1", port=0, data_dir=folder),
        rtc=RtcConfig(port=0, bind=("127.0.0.1",), tcp=False, consent_timeout_s=3600),
        media=MediaConfig(plane=order["plane"], threads=order["threads"]),
        limits=LimitsConfig(sessions_per_address=1000, messages_per_s=1000, message_burst=1000),
    )
    server = await app.Server.start(config)
    media = server._conference.media
    calls = Calls(media, MEDIA[order["medium"]], feedback=order["feedback"])
    for number in range(order["rooms"]):
        calls.open_room(number, order["subscribers"], mutual=order["mutual"])
    credentials = [(transport.ice_ufrag, transport.ice_pwd) for transport in calls.transports]
    opened = {"url": server.http_url, "port": media.port, "credentials": credentials, "ssrcs": calls.ssrcs}
    print(json.dumps(opened), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(calls.report()), flush=True)
    await server.stop("the bench has ended")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(folder))
