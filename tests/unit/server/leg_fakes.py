"""Media without packets, for the legs' tests: it records what it was asked for."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sfu.ids import ParticipantId, PublicationId, PublicationKey, SubscriptionKey, TransportKey
from sfu.media.attention import Attention
from sfu.room.model import Publication
from sfu.rtp.parameters import Codec, ExtensionIds
from sfu.sdp.negotiate import DtlsRole, LocalParameters
from sfu.sdp.publish import ReceivedMedia

FINGERPRINT = ":".join(["AB"] * 32)


@dataclass(eq=False)
class FakeTransport:
    """A transport that notes how it was started."""

    key: TransportKey
    ice_ufrag: str = "srv0"
    ice_pwd: str = "p" * 24
    dtls_role: DtlsRole = "server"
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def start(self, ufrag: str, pwd: str, fingerprints: Any, sctp: Any, dtls_role: DtlsRole) -> None:
        self.dtls_role = dtls_role
        self.calls.append(("start", ufrag))

    def open_data(self, sctp: Any) -> None:
        self.calls.append(("open_data", sctp))

    def update_remote(self, ufrag: str, pwd: str) -> None:
        self.calls.append(("update_remote", ufrag))

    def restart_ice(self) -> None:
        self.calls.append(("restart_ice",))
        self.ice_ufrag = f"srv{len(self.calls)}"


@dataclass
class FakePublished:
    """Of a publication as much as the legs read."""

    id: PublicationId
    participant: ParticipantId
    key: PublicationKey
    received: ReceivedMedia


class FakeMedia:
    """`calls` is what was asked, in order; `transports` are those open."""

    def __init__(self, m_lines: int = 60) -> None:
        self.m_lines = m_lines
        self.attention = Attention()
        self.rng = random.Random(7)
        self.published: dict[PublicationId, FakePublished] = {}
        self.transports: list[FakeTransport] = []
        self.calls: list[tuple[Any, ...]] = []
        self._keys = itertools.count(1)

    def open_transport(self, observer: object) -> FakeTransport:
        transport = FakeTransport(TransportKey(next(self._keys)))
        self.transports.append(transport)
        return transport

    def close_transport(self, transport: FakeTransport) -> None:
        self.transports.remove(transport)

    def local_parameters(self, transport: FakeTransport) -> LocalParameters:
        return LocalParameters(
            ice_ufrag=transport.ice_ufrag,
            ice_pwd=transport.ice_pwd,
            fingerprint=f"sha-256 {FINGERPRINT}",
            candidates=("1 1 udp 2130706431 192.0.2.1 7882 typ host",),
            sctp_max_message_size=65536,
            dtls_role=transport.dtls_role,
        )

    def new_subscription_key(self) -> SubscriptionKey:
        return SubscriptionKey(next(self._keys))

    def subscribe(self, key: SubscriptionKey, config: Any, wish: Any) -> None:
        self.calls.append(("subscribe", key, config.publication, wish.paused))

    def unsubscribe(self, key: SubscriptionKey) -> None:
        self.calls.append(("unsubscribe", key))

    def explain(self, key: SubscriptionKey) -> None:
        return None

    def set_wish(self, key: SubscriptionKey, wish: Any) -> None:
        self.calls.append(("set_wish", key, wish.width))

    def publish(
        self, publication: PublicationId, participant: ParticipantId, key: Any, received: Any, source: str
    ) -> None:
        self.published[publication] = FakePublished(
            publication, participant, PublicationKey(next(self._keys)), received
        )
        self.calls.append(("publish", publication, received.mid))

    def publication_of(self, key: PublicationKey) -> FakePublished | None:
        return next((each for each in self.published.values() if each.key == key), None)

    def renegotiate(self, publication: PublicationId, received: Any) -> None:
        self.calls.append(("renegotiate", publication))

    def set_muted(self, publication: PublicationId, muted: bool) -> None:
        self.calls.append(("set_muted", publication, muted))

    def unpublish(self, publication: PublicationId) -> None:
        del self.published[publication]

    def add(
        self, publication: str, kind: str = "video", *, muted: bool = False, participant: str = "PA_ann"
    ) -> Publication:
        """Something to subscribe to."""
        name, clock_rate, rtx = ("vp8", 90000, 97) if kind == "video" else ("opus", 48000, None)
        received = ReceivedMedia(
            mid="0",
            kind=kind,  # type: ignore[arg-type]
            codecs=(Codec(name=name, payload_type=96, clock_rate=clock_rate, rtx_payload_type=rtx),),
            extensions=ExtensionIds(),
            rids=(),
            ssrcs=(),
            fmtps=("" if kind == "video" else "minptime=10;useinbandfec=1",),
            nack=True,
            transport_cc=True,
            remb=False,
            fir=False,
        )
        source: Any = "camera" if kind == "video" else "microphone"
        added = Publication(
            id=PublicationId(publication),
            participant=ParticipantId(participant),
            kind=kind,  # type: ignore[arg-type]
            source=source,
            name="",
            muted=muted,
            codec=name,
            simulcast=False,
        )
        self.publish(added.id, added.participant, TransportKey(99), received, source)
        self.calls.clear()
        return added


def answer_to(
    offer: str, *, ufrag: str = "cli0", fingerprint: str = FINGERPRINT, setup: str = "active"
) -> str:
    """What a client that takes everything answers."""
    text = re.sub("a=ice-ufrag:.*", f"a=ice-ufrag:{ufrag}\r", offer)
    text = re.sub("a=ice-pwd:.*", "a=ice-pwd:" + "q" * 24 + "\r", text)
    text = re.sub("a=fingerprint:.*", f"a=fingerprint:sha-256 {fingerprint}\r", text)
    text = text.replace("a=setup:actpass", f"a=setup:{setup}").replace("a=ice-lite\r\n", "")
    return text.replace("a=sendonly", "a=recvonly")


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds, at most five seconds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
