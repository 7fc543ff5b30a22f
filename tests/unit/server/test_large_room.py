"""A room of 510 who all publish: everybody has a few m-lines, and hears and sees whoever speaks.

Room, policy and subscribe legs are real and run in virtual time; there are no sockets.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from leg_fakes import FakeMedia, answer_to
from test_conference import FakeChannel, World

from sfu import clock
from sfu.config import Config, RoomConfig
from sfu.ids import PublicationId, PublicationKey, SubscriptionKey
from sfu.media.plane import AudioLevel, Layer, PlaneEvent
from sfu.media.policy import Policy
from sfu.room import commands
from sfu.room.model import Wants
from sfu.server.member import Member

PEOPLE = 510
M_LINES = 60
TICK_S = 0.02
ANSWER_S = 0.05
LOUD = 20


class _NoWaiting(selectors.DefaultSelector):
    """Sockets of which nothing is ever heard: time passes instead."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.passed_s += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._waiting = _NoWaiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.passed_s


class QuietPlane:
    """A plane that hears who speaks, and takes everything else."""

    def __init__(self) -> None:
        self.speaking: dict[PublicationKey, int] = {}

    def poll_events(self) -> list[PlaneEvent]:
        return [AudioLevel(key, level, 1) for key, level in self.speaking.items()]

    def layers(self, publication: PublicationKey) -> list[tuple[Layer, str, int]]:
        return []

    def publication_stats(self, publication: PublicationKey) -> list[Any]:
        return []

    def subscription_stats(self, subscription: SubscriptionKey) -> None:
        return None

    def set_target(self, *_: Any, **__: Any) -> None: ...


class LargeMedia(FakeMedia):
    """Fake media under a real policy."""

    def __init__(self, m_lines: int) -> None:
        super().__init__(m_lines)
        self.plane = QuietPlane()
        self.policy = Policy(self.plane, 500_000, last_n=25)  # type: ignore[arg-type]
        self.attention = self.policy.attention
        self.flows: dict[SubscriptionKey, PublicationKey] = {}

    def subscribe(self, key: SubscriptionKey, config: Any, wish: Any) -> None:
        self.flows[key] = config.publication
        self.policy.add_subscription(
            key, config.publication, wish, transport=config.transport, per_packet=False
        )

    def unsubscribe(self, key: SubscriptionKey) -> None:
        self.flows.pop(key, None)
        self.policy.remove_subscription(key)

    def set_wish(self, key: SubscriptionKey, wish: Any) -> None:
        self.policy.set_wish(key, wish)


class Client(FakeChannel):
    """A client that answers every offer a moment later, and counts them."""

    def __init__(self, key: int) -> None:
        super().__init__(key)
        self.member: Member | None = None
        self.offers: list[tuple[float, dict[str, Any]]] = []
        self.states: dict[str, tuple[str, str]] = {}
        self.most_m_lines = 0

    def send(self, frame: Any) -> None:
        super().send(frame)
        message = self.messages.pop()
        if message["type"] == "offer":
            loop = asyncio.get_running_loop()
            self.offers.append((loop.time(), message))
            self.most_m_lines = max(self.most_m_lines, message["sdp"].count("\r\nm="))
            loop.call_later(ANSWER_S, self._answer, message)
        elif message["type"] == "subscription":
            self.states[message["publication"]] = (message["state"], message.get("reason", ""))

    def _answer(self, offer: dict[str, Any]) -> None:
        assert self.member is not None
        self.member.subscribe.answer(offer["seq"], answer_to(offer["sdp"]))

    def busiest_second(self) -> int:
        times = [at for at, _ in self.offers]
        return max(sum(at <= other < at + 1 for other in times) for at in times)


class LargeRoom(World):
    """`people` with microphone and camera, of whom the `watching` subscribe to everything."""

    def __init__(self, people: int, watching: tuple[int, ...], m_lines: int = M_LINES) -> None:
        super().__init__(Config(room=RoomConfig(max_participants=people)))
        self.media: LargeMedia = LargeMedia(m_lines)
        self.conference.media = self.conference.notices.media = self.media  # type: ignore[assignment]
        self.people: list[Member] = []
        self.clients: list[Client] = []
        self.voices: list[PublicationId] = []
        self.faces: list[PublicationId] = []
        for number in range(people):
            self._enter(number, subscribe=number in watching)

    def _enter(self, number: int, *, subscribe: bool) -> None:
        client = Client(number + 1)
        member, _ = self.join(str(number), wants=Wants(subscribe=subscribe), channel=client)
        client.member = member
        self.people.append(member)
        self.clients.append(client)
        self.voices.append(self._publishes(member, "audio", "microphone"))
        self.faces.append(self._publishes(member, "video", "camera"))

    def _publishes(self, member: Member, kind: str, source: str) -> PublicationId:
        publication = self.publish(member, kind, source=source)
        key = self.media.published[publication].key
        self.media.policy.add_publication(key, kind, participant=member.id, source=source)  # type: ignore[arg-type]
        return publication

    def speak(self, *people: int) -> None:
        keys = [self.media.published[self.voices[person]].key for person in people]
        self.media.plane.speaking = dict.fromkeys(keys, LOUD)

    def ask(self, watcher: int, *publications: PublicationId, **wish: int) -> None:
        member = self.people[watcher]
        self.conference.apply(
            commands.Subscribe(participant=member.id, publications=publications, **wish)  # type: ignore[arg-type]
        )

    async def passes(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            self.notice(*self.media.policy.tick(clock.now_us()))
            await asyncio.sleep(TICK_S)

    def gets(self, watcher: int, publication: PublicationId) -> bool:
        """Whether what is published flows to the one who watches."""
        entry = self.people[watcher].subscribe._entries[publication]
        state = self.clients[watcher].states.get(publication)
        return self.media.flows.get(entry.key) == self.media.published[publication].key and state == (
            "active",
            "",
        )

    def close(self) -> None:
        for member in self.people:
            member.subscribe.detach()


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[pytest.MonkeyPatch], None]:
    def run(monkeypatch: pytest.MonkeyPatch) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            monkeypatch.setattr(clock, "now_us", lambda: round(loop.time() * 1_000_000))
            runner.run(test())

    run.__name__ = test.__name__
    return run


@in_virtual_time
async def test_the_last_of_510_is_heard_and_seen_by_the_first() -> None:
    first, last = 0, PEOPLE - 1
    room = LargeRoom(PEOPLE, watching=(first, 200, last))
    await room.passes(2)
    assert not room.gets(first, room.voices[last])
    assert room.clients[first].states[room.voices[last]] == ("paused", "no_m_line")
    before = len(room.clients[first].offers)
    room.speak(last)
    await room.passes(1)
    for watcher in (first, 200):
        assert room.gets(watcher, room.voices[last]), "it is heard within a second"
        assert room.gets(watcher, room.faces[last])
    assert len(room.clients[first].offers) == before + 1
    await room.passes(5)
    assert room.gets(first, room.faces[last]), "it is seen while it speaks"
    room.speak()
    await room.passes(5)
    assert len(room.clients[first].offers) == before + 1, "nobody else needs its m-lines"
    for watcher in (first, 200, last):
        client = room.clients[watcher]
        assert client.most_m_lines <= M_LINES
        assert "failed" not in Counter(state for state, _ in client.states.values())
    room.close()


@in_virtual_time
async def test_a_discussion_of_many_makes_no_storm_of_offers() -> None:
    room = LargeRoom(120, watching=(0,))
    await room.passes(2)
    client = room.clients[0]
    joined = len(client.offers)
    for turn in range(40):
        room.speak(*(1 + (turn * 7 + other * 13) % 119 for other in range(10)))
        await room.passes(0.5)
    assert client.busiest_second() <= 4, "two changes a second, and what finds its place an offer later"
    assert len(client.offers) - joined <= 50
    quiet = len(client.offers)
    room.speak(*range(1, 60))
    await room.passes(20)
    assert len(client.offers) - quiet <= 10, "more noise than m-lines settles"
    assert client.most_m_lines <= M_LINES
    room.close()


@in_virtual_time
async def test_what_is_asked_for_has_an_m_line_before_speakers() -> None:
    room = LargeRoom(12, watching=(0,), m_lines=8)
    await room.passes(1)
    room.ask(0, *room.faces[8:11], width=640, height=360)
    room.ask(0, room.faces[11], priority=200)
    room.speak(5, 6)
    await room.passes(3)
    assert [room.gets(0, room.faces[person]) for person in (5, 6, 8, 9, 10, 11)] == [False] * 2 + [True] * 4
    assert [room.gets(0, room.voices[person]) for person in (5, 6)] == [True] * 2
    room.close()


@in_virtual_time
async def test_a_small_room_has_everything_and_is_offered_nothing_for_speakers() -> None:
    room = LargeRoom(28, watching=(0,))
    await room.passes(1)
    others = [*room.voices[1:], *room.faces[1:]]
    assert set(room.clients[0].states.values()) <= {("active", ""), ("paused", "last_n")}
    assert len(room.clients[0].states) == len(others)
    before = len(room.clients[0].offers)
    for speaker in range(1, 28, 5):
        room.speak(speaker)
        await room.passes(1)
    assert len(room.clients[0].offers) == before
    room.close()
