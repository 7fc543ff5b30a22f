"""What policy decides and what data channels carry, on their way to participants."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from leg_fakes import FakeMedia
from stored import FakeStore

from sfu.config import Config, LimitsConfig
from sfu.ids import PublicationId, SubscriptionKey
from sfu.media.decisions import LayersWanted, PublicationSized, Speakers, SubscriptionState
from sfu.room import acts, commands
from sfu.room.effects import PublicationOpened
from sfu.room.model import BreakoutId, SessionKey, Wants
from sfu.room.permissions import Grants
from sfu.server import data, joining, requests
from sfu.server.conference import Conference
from sfu.server.frames import Frame
from sfu.server.member import Member


class FakeChannel:
    """Keeps what it was sent."""

    def __init__(self, key: int) -> None:
        self.key = SessionKey(key)
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


class World:
    """A conference over fake media."""

    def __init__(self, config: Config | None = None) -> None:
        self.conference = Conference(config or Config(), random.Random(3), FakeStore())
        self.media = FakeMedia()
        self.conference.media = self.media  # type: ignore[assignment]
        self.sent: dict[str, list[tuple[str, bytes]]] = {}

    def join(self, name: str, room: str = "r", *, grants: Grants | None = None) -> tuple[Member, FakeChannel]:
        channel = FakeChannel(len(self.sent) + 1)
        wants = Wants(subscribe=False)
        request = requests.Join(
            version=1,
            room=room,
            name=name,
            token="",
            wants=wants,
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
        inbox = self.sent[member.id] = []

        def keep(label: str, message: bytes) -> None:
            inbox.append((label, message))

        member.send_data = keep  # type: ignore[method-assign]
        return member, channel

    def publish(self, member: Member, kind: str = "audio") -> PublicationId:
        done = self.conference.apply(
            commands.Publish(
                participant=member.id,
                kind=kind,  # type: ignore[arg-type]
                source="other",
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
        self.conference._on_notices(list(notices))


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


def headers(inbox: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    return [json.loads(message[2 : 2 + int.from_bytes(message[:2], "big")]) for _, message in inbox]


async def test_data_goes_to_the_others_of_the_room_with_its_sender() -> None:
    world = World()
    (ann, _), (ben, _), (cat, _) = world.join("Ann"), world.join("Ben"), world.join("Cat")
    eve, _ = world.join("Eve", "other")
    world.conference.relay(ann, "lossy", data.pack({"topic": "t", "text": True}, b"hi"))
    for member in (ben, cat):
        ((label, message),) = world.sent[member.id]
        assert (label, message[-2:]) == ("lossy", b"hi")
    assert headers(world.sent[ben.id])[0] | {"sent_at_ms": 0} == {
        "topic": "t",
        "from": ann.id,
        "text": True,
        "sent_at_ms": 0,
    }
    world.conference.relay(ann, "reliable", data.pack({"to": [cat.id, eve.id, ann.id]}))
    assert [len(world.sent[m.id]) for m in (ann, ben, cat, eve)] == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("grants", "message", "code"),
    [
        (Grants(data=False), data.pack({"topic": "t"}), "not_allowed"),
        (Grants(), data.pack({"topic": "t"}, b"x" * 200), "too_large"),
        (Grants(), b"\x00", "bad_request"),
    ],
)
async def test_data_errors_reach_the_sender_once_a_second(grants: Grants, message: bytes, code: str) -> None:
    world = World(Config(limits=LimitsConfig(data_bytes=100)))
    ann, _ = world.join("Ann", grants=grants)
    ben, _ = world.join("Ben")
    for _ in range(3):
        world.conference.relay(ann, "reliable", message)
    assert headers(world.sent[ann.id]) == [{"error": code, "topic": "" if code == "bad_request" else "t"}]
    assert world.sent[ben.id] == []


async def test_data_over_the_rate_is_dropped() -> None:
    world = World(Config(limits=LimitsConfig(data_bytes=100, data_bytes_per_s=100)))
    ann, _ = world.join("Ann")
    ben, _ = world.join("Ben")
    for _ in range(5):
        world.conference.relay(ann, "lossy", data.pack({}, b"x" * 50))
    assert len(world.sent[ben.id]) == 1
    assert headers(world.sent[ann.id]) == [{"error": "rate_limited", "topic": ""}]
