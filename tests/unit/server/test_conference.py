"""What policy decides, on its way to participants."""

from __future__ import annotations

import json
import random
from typing import Any

from leg_fakes import FakeMedia
from stored import FakeStore

from sfu.config import Config
from sfu.ids import PublicationId, SubscriptionKey
from sfu.media.decisions import LayersWanted, PublicationSized, Speakers, SubscriptionState
from sfu.room import acts, commands
from sfu.room.effects import PublicationOpened
from sfu.room.model import BreakoutId, SessionKey, Wants
from sfu.room.permissions import Grants
from sfu.server import joining, requests
from sfu.server.conference import Conference
from sfu.server.fairness import Account
from sfu.server.frames import Frame
from sfu.server.member import Member
from sfu.server.outbox import AHEAD_BYTES


class FakeChannel:
    """Keeps what it was sent."""

    def __init__(self, key: int) -> None:
        self.key = SessionKey(key)
        self.address = "192.0.2.1"
        self.account = Account(Config().limits, 0)
        self.messages: list[dict[str, Any]] = []
        self.closed: str | None = None

    def send(self, frame: Frame) -> None:
        self.messages.append(json.loads(frame.text))

    def close(self, code: str, message: str = "") -> None:
        self.closed = self.closed or code

    def admitted(self, member: Member, joined: dict[str, Any]) -> None:
        self.messages.append(joined)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


class FakeWire:
    """Data channels that keep what they were sent; full ones take nothing, closed ones lose it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.full = False
        self.closed = False

    def send_data(self, label: str, message: bytes) -> bool:
        if not self.closed:
            self.sent.append((label, message))
        return not self.closed

    def buffered_bytes(self, label: str) -> int:
        return AHEAD_BYTES + 1 if self.full else 0

    def headers(self) -> list[dict[str, Any]]:
        return [json.loads(message[2 : 2 + int.from_bytes(message[:2], "big")]) for _, message in self.sent]

    def topics(self) -> list[str]:
        """Of the messages passed on."""
        return [header["topic"] for header in self.headers() if "from" in header]

    def flow(self) -> list[str]:
        return [header["flow"] for header in self.headers() if "flow" in header]


class World:
    """A conference over fake media."""

    def __init__(self, config: Config | None = None) -> None:
        self.conference = Conference(config or Config(), random.Random(3), FakeStore())
        self.media = FakeMedia()
        self.conference.media = self.conference.notices.media = self.media  # type: ignore[assignment]
        self.wires: dict[str, FakeWire] = {}

    def join(
        self,
        name: str,
        room: str = "r",
        *,
        grants: Grants | None = None,
        wants: Wants | None = None,
        channel: FakeChannel | None = None,
    ) -> tuple[Member, FakeChannel]:
        channel = channel or FakeChannel(len(self.wires) + 1)
        request = requests.Join(
            version=1,
            room=room,
            name=name,
            token="",
            wants=wants or Wants(subscribe=False),
            client="",
            resume=None,
            role=None,
            template=None,
        )
        member, _ = self.conference._enter(
            channel, request, joining.command(channel.key, request, None), None
        )
        assert member is not None
        if grants is not None:
            member.grants = grants
        wire = self.wires[member.id] = FakeWire()
        self.media.transports.append(wire)  # type: ignore[arg-type]
        member.publish.transport = wire  # type: ignore[assignment]
        return member, channel

    def publish(self, member: Member, kind: str = "audio", *, source: str = "other") -> PublicationId:
        done = self.conference.apply(
            commands.Publish(
                participant=member.id,
                kind=kind,  # type: ignore[arg-type]
                source=source,  # type: ignore[arg-type]
                name="",
                muted=False,
                codec="opus",
                simulcast=False,
            )
        )
        publication = next(e.publication for e in done if isinstance(e, PublicationOpened))
        self.media.add(publication.id, kind)
        self.media.published[publication.id].participant = member.id
        return publication.id

    def notice(self, *notices: Any) -> None:
        self.conference.notices.take(list(notices))


async def test_speakers_are_told_to_their_room_when_they_change() -> None:
    world = World()
    ann, ann_hears = world.join("Ann")
    _ben, ben_hears = world.join("Ben")
    eve, eve_hears = world.join("Eve", "other")
    loud, quiet = (world.media.published[world.publish(ann)].key for _ in range(2))
    elsewhere = world.media.published[world.publish(eve)].key
    world.notice(Speakers(((loud, 0.8), (elsewhere, 0.5), (quiet, 0.1))))
    assert ben_hears.of("speakers") == ann_hears.of("speakers")
    assert ben_hears.of("speakers")[0]["speakers"] == [{"participant": ann.id, "level": 0.8}]
    assert eve_hears.of("speakers")[0]["speakers"] == [{"participant": eve.id, "level": 0.5}]
    world.notice(Speakers(((loud, 0.8),)))
    assert len(ben_hears.of("speakers")) == 1
    assert eve_hears.of("speakers")[1]["speakers"] == []
    world.notice(Speakers(()))
    assert ben_hears.of("speakers")[1]["speakers"] == []


async def test_speakers_stay_within_their_breakout_room() -> None:
    world = World()
    ann, ann_hears = world.join("Ann")
    ben, ben_hears = world.join("Ben")
    _cid, cid_hears = world.join("Cid")
    world.conference.apply(acts.OpenBreakouts(ann.id, ("One",)))
    world.conference.apply(acts.AssignBreakout(ann.id, (ben.id,), BreakoutId(1)))
    loud = world.media.published[world.publish(ben)].key
    world.notice(Speakers(((loud, 0.8),)))
    assert [each["participant"] for each in ben_hears.of("speakers")[0]["speakers"]] == [ben.id]
    assert ann_hears.of("speakers") == cid_hears.of("speakers") == []
    world.conference.apply(acts.CloseBreakouts(ann.id))
    world.notice(Speakers(((loud, 0.8),)))
    assert [each["participant"] for each in cid_hears.of("speakers")[0]["speakers"]] == [ben.id]


async def test_a_size_becomes_an_update() -> None:
    world = World()
    ann, _ = world.join("Ann")
    _ben, ben_hears = world.join("Ben")
    publication = world.publish(ann, "video")
    key = world.media.published[publication].key
    world.notice(PublicationSized(key, 640, 360), PublicationSized(key, 640, 360))
    (updated,) = ben_hears.of("publication_updated")
    assert (updated["publication"]["width"], updated["publication"]["height"]) == (640, 360)


async def test_notices_of_what_is_gone_are_passed_over() -> None:
    world = World()
    ann, hears = world.join("Ann")
    key = world.media.published[world.publish(ann)].key
    world.media.published.clear()
    world.notice(
        PublicationSized(key, 1, 1),
        LayersWanted(key, ()),
        SubscriptionState(SubscriptionKey(999), True, "client"),
    )
    world.notice(Speakers(((key, 1.0),)))
    assert hears.messages == []
