"""Who gets which data, what is refused, and what happens where somebody does not keep up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalling import until
from test_conference import FakeWire, World

from sfu import clock
from sfu.config import Config, LimitsConfig
from sfu.room import acts
from sfu.room.model import BreakoutId
from sfu.room.permissions import Grants
from sfu.server import data, data_relay, requests
from sfu.server.member import Member
from sfu.server.outbox import FULL_BYTES, HIGH_BYTES, LOSSY_BYTES, LOW_BYTES, Outbox

KIB = bytes(1024)
LABELS = st.sampled_from(("reliable", "lossy"))
LOOSE = Config(limits=LimitsConfig(data_bytes=200_000, data_bytes_per_s=10**9, data_messages_per_s=10**6))


class Talk(World):
    """A room whose clock stands still until `later`."""

    def __init__(self, patch: pytest.MonkeyPatch, config: Config = LOOSE) -> None:
        super().__init__(config)
        self.now_us = 1_000_000
        patch.setattr(clock, "now_us", lambda: self.now_us)

    def say(
        self, who: Member, topic: str = "t", payload: bytes = b"", label: str = "reliable", **header: Any
    ) -> None:
        self.conference.data.receive(who, label, data.pack({"topic": topic, **header}, payload))

    def wire(self, member: Member) -> FakeWire:
        return self.wires[member.id]

    def fill(self, sender: Member, size: int, topic: str = "t") -> None:
        """Send so many bytes in messages of 100 KiB."""
        for _ in range(size // 102_400 + 1):
            self.say(sender, topic, KIB * 100)

    def later(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)
        self.conference.data._check()


@pytest.fixture
async def talk(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Talk(monkeypatch)
    yield made
    made.conference.data.close()


async def test_data_goes_to_the_others_of_the_room_with_its_sender(talk: Talk) -> None:
    (ann, _), (ben, _), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    eve, _ = talk.join("Eve", "other")
    talk.say(ann, "t", b"hi", "lossy", text=True)
    for member in (ben, cat):
        ((label, message),) = talk.wire(member).sent
        assert (label, message[-2:]) == ("lossy", b"hi")
    assert talk.wire(ben).headers()[0] | {"sent_at_ms": 0} == {
        "topic": "t", "from": ann.id, "text": True, "json": False, "sent_at_ms": 0,
    }  # fmt: skip
    talk.say(ann, to=[cat.id, eve.id, ann.id])
    assert [len(talk.wire(m).sent) for m in (ann, ben, cat, eve)] == [0, 1, 2, 0]


async def test_data_to_a_role_follows_the_role(talk: Talk) -> None:
    (ann, _), (ben, _), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.say(ben, "1", role="owner")
    talk.conference.apply(acts.SetRole(ann.id, cat.id, "presenter"))
    talk.say(ben, "2", role="presenter")
    talk.say(ben, "3", role="presenter", to=[ann.id])
    talk.say(ben, "4", role="device")
    assert (talk.wire(ann).topics(), talk.wire(cat).topics()) == (["1", "3"], ["2", "3"])


async def test_topics_choose_what_one_gets(talk: Talk) -> None:
    (ann, _), (ben, _) = talk.join("Ann"), talk.join("Ben")

    def want(topics: list[str] | None) -> None:
        request = requests.parse({"type": "data_topics", "topics": topics}, chat_characters=1)
        assert talk.conference.request(ben, request, lambda answer: None) == {"type": "ok"}
        for topic in ("a", "b"):
            talk.say(ann, topic)

    for wanted in (["a"], [], ["b", "c"], None):
        want(wanted)
    assert talk.wire(ben).topics() == ["a", "b", "a", "b"]


async def test_breakout_rooms_are_apart(talk: Talk) -> None:
    (ann, _), (ben, _), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.conference.apply(acts.OpenBreakouts(ann.id, ("one",)))
    talk.conference.apply(acts.AssignBreakout(ann.id, (ben.id,), BreakoutId(1)))
    talk.say(ann, to=[ben.id, cat.id])
    talk.say(ben)
    assert [len(talk.wire(m).sent) for m in (ann, ben, cat)] == [0, 0, 1]


async def test_nobody_is_stopped_for_one_that_is_hidden(talk: Talk) -> None:
    """It is told what it loses; its sender learns nothing of it."""
    (ann, _), (eve, channel) = talk.join("Ann"), talk.join("Eve")
    there = talk.conference.core.participant(eve.id)
    owner = talk.conference.core.participant(ann.id)
    assert there is not None
    assert owner is not None
    there.grants, owner.grants = Grants(hidden=True), Grants()
    talk.wire(eve).full = True
    talk.fill(ann, FULL_BYTES + HIGH_BYTES)
    assert talk.wire(ann).flow() == []
    assert talk.wire(ann).sent == []
    assert "data_cut_off" in [each["type"] for each in channel.messages]


@pytest.mark.parametrize(
    ("grants", "message", "code"),
    [
        (Grants(data=False), data.pack({"topic": "t"}), "not_allowed"),
        (Grants(hidden=True), data.pack({"topic": "t"}), "not_allowed"),
        (Grants(), data.pack({"topic": "t"}, b"x" * 200), "too_large"),
        (Grants(), b"\x00", "bad_request"),
    ],
)
async def test_refusals_reach_the_sender_once_a_second(
    monkeypatch: pytest.MonkeyPatch, grants: Grants, message: bytes, code: str
) -> None:
    talk = Talk(monkeypatch, Config(limits=LimitsConfig(data_bytes=100)))
    (ann, _), (ben, _) = talk.join("Ann", grants=grants), talk.join("Ben")
    topic = "" if code == "bad_request" else "t"
    for _ in range(3):
        talk.conference.data.receive(ann, "reliable", message)
    talk.now_us += 1_000_000
    talk.conference.data.receive(ann, "reliable", message)
    assert talk.wire(ann).headers() == [{"error": code, "topic": topic, "refused": n} for n in (1, 3)]
    assert talk.wire(ben).sent == []
    assert ann.data.stats()["refused"] == 4


async def test_data_over_the_rate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(monkeypatch, Config(limits=LimitsConfig(data_bytes=100, data_bytes_per_s=100)))
    (ann, _), (ben, _) = talk.join("Ann"), talk.join("Ben")
    for _ in range(5):
        talk.say(ann, payload=b"x" * 50, label="lossy")
    assert len(talk.wire(ben).sent) == 1
    assert talk.wire(ann).headers() == [{"error": "rate_limited", "topic": "t", "refused": 1}]


async def test_lossy_data_is_dropped_oldest_first_and_counted(talk: Talk) -> None:
    (ann, _), (ben, _), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.wire(ben).full = True
    for number in range(10):
        talk.say(ann, str(number), KIB * 100, "lossy")
    assert talk.wire(ben).sent == []
    assert len(talk.wire(cat).sent) == 10
    talk.wire(ben).full = False
    talk.conference.data.ready(ben, "lossy")
    assert talk.wire(ben).topics() == ["8", "9"]
    assert (ben.data.stats()["dropped"], cat.data.stats()["dropped"]) == (8, 0)
    assert talk.wire(ann).sent == []


async def test_a_slow_receiver_stops_reliable_senders_until_it_has_caught_up(talk: Talk) -> None:
    (ann, _), (ben, _), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.wire(ben).full = True
    talk.fill(ann, HIGH_BYTES - 200_000)
    assert talk.wire(ann).flow() == []
    talk.fill(ann, 200_000)
    talk.say(cat, to=[ann.id])
    assert (talk.wire(ann).flow(), talk.wire(cat).flow()) == (["stop"], [])
    talk.say(cat)
    assert talk.wire(cat).flow() == ["stop"]
    sent = len(talk.wire(cat).sent)
    talk.say(ann, "on its way")
    assert len(talk.wire(cat).sent) == sent + 1
    talk.later(1)
    talk.wire(ben).full = False
    talk.conference.data.ready(ben, "reliable")
    assert (talk.wire(ann).flow(), talk.wire(cat).flow()) == (["stop", "go"], ["stop", "go"])
    assert talk.wire(ben).topics()[-1] == "on its way"
    assert ben.data.stats()["waiting_bytes"] == 0


async def test_who_sends_on_though_stopped_is_refused_and_nobody_gets_it(talk: Talk) -> None:
    (ann, _), (ben, _), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.wire(ben).full = True
    talk.fill(ann, FULL_BYTES)
    error = talk.wire(ann).headers()[-1]
    assert error == {"error": "slow_receiver", "topic": "t", "refused": 1}
    passed = len(talk.wire(cat).sent)
    talk.say(ann, payload=KIB * 150)
    assert len(talk.wire(cat).sent) == passed
    assert ben.data.stats()["waiting_bytes"] <= FULL_BYTES
    talk.say(ann, "to cat", to=[cat.id])
    talk.say(ann, "lossy", label="lossy")
    assert talk.wire(cat).topics()[-2:] == ["to cat", "lossy"]


async def test_who_stays_behind_is_cut_off_from_the_topic_that_waits_most(talk: Talk) -> None:
    (ann, _), (ben, told), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.wire(ben).full = True
    talk.say(ann, "small", KIB)
    talk.fill(ann, HIGH_BYTES, "big")
    talk.later(4.9)
    assert told.of("data_cut_off") == []
    talk.later(0.1)
    assert told.of("data_cut_off") == [{"type": "data_cut_off", "topic": "big", "lost": 11}]
    assert talk.wire(ann).flow() == ["stop", "go"]
    talk.say(ann, "big")
    talk.wire(ben).full = False
    talk.conference.data.ready(ben, "reliable")
    assert talk.wire(ben).topics() == ["small"]
    assert talk.wire(cat).topics()[-1] == "big"
    assert talk.conference.data.terms(ben)["cut_off"] == ["big"]
    talk.conference.request(ben, requests.DataTopics(None), lambda answer: None)
    talk.say(ann, "big")
    assert talk.wire(ben).topics() == ["small", "big"]


async def test_who_is_behind_with_many_topics_is_cut_off_from_all(talk: Talk) -> None:
    (ann, _), (ben, told) = talk.join("Ann"), talk.join("Ben")
    talk.wire(ben).full = True
    for topic in "abcd":
        talk.fill(ann, HIGH_BYTES // 3, topic)
    talk.later(5)
    assert told.of("data_cut_off") == [{"type": "data_cut_off", "topic": None, "lost": 16}]
    talk.wire(ben).full = False
    talk.say(ann, "e")
    assert talk.wire(ben).topics() == []
    assert talk.conference.data.terms(ben)["topics"] == []


@pytest.mark.parametrize("how", ["leaves", "loses its transport", "closes its channel"])
async def test_nobody_waits_for_who_is_gone(talk: Talk, how: str) -> None:
    (ann, _), (ben, _) = talk.join("Ann"), talk.join("Ben")
    talk.wire(ben).full = True
    talk.fill(ann, HIGH_BYTES)
    if how == "leaves":
        talk.conference.leave(ben, "left")
    elif how == "loses its transport":
        ben.publish.transport = None
        talk.later(0.1)
    else:
        talk.wire(ben).closed, talk.wire(ben).full = True, False
        talk.later(0.1)
    assert talk.wire(ann).flow() == ["stop", "go"]
    talk.say(ann)


async def test_a_sender_that_leaves_while_stopped_leaves_nothing(talk: Talk) -> None:
    (ann, _), (ben, told), (cat, _) = talk.join("Ann"), talk.join("Ben"), talk.join("Cat")
    talk.wire(ben).full = True
    talk.fill(ann, HIGH_BYTES)
    talk.conference.leave(ann, "left")
    talk.later(5)
    assert len(told.of("data_cut_off")) == 1
    talk.say(cat)
    assert talk.wire(cat).flow() == []


async def test_a_stopped_sender_with_a_new_channel_hears_it_again(talk: Talk) -> None:
    (ann, _), (ben, _) = talk.join("Ann"), talk.join("Ben")
    talk.wire(ben).full = True
    talk.fill(ann, HIGH_BYTES)
    talk.conference.data.ready(ann, "reliable")
    assert talk.wire(ann).flow() == ["stop", "stop"]


async def test_receivers_behind_are_looked_at_by_themselves(
    monkeypatch: pytest.MonkeyPatch, talk: Talk
) -> None:
    monkeypatch.setattr(data_relay, "CHECK_S", 0.001)
    (ann, _), (ben, told) = talk.join("Ann"), talk.join("Ben")
    talk.wire(ben).full = True
    talk.fill(ann, HIGH_BYTES)
    talk.now_us += 5_000_000
    await until(lambda: told.of("data_cut_off"))


@given(st.lists(st.tuples(LABELS, st.integers(0, 200_000), st.booleans(), st.integers(0, 3)), max_size=60))
def test_an_outbox_keeps_order_and_bounds(steps: list[tuple[str, int, bool, int]]) -> None:
    outbox, wire, put = Outbox(), FakeWire(), 0
    taken: dict[str, list[bytes]] = {"reliable": [], "lossy": []}
    lost = 0
    for now_us, (label, size, full, topic) in enumerate(steps):
        wire.full = full
        message = now_us.to_bytes(4, "big") + bytes(size)
        if label == "lossy" or outbox.takes(len(message)):
            outbox.put(label, str(topic), message, wire, now_us)
            taken[label].append(message)
            put += 1
        assert outbox.waiting_bytes("lossy") <= LOSSY_BYTES
        assert outbox.waiting_bytes("reliable") <= FULL_BYTES
        assert (outbox.behind_since_us is not None) or outbox.waiting_bytes("reliable") <= HIGH_BYTES
        if outbox.behind_since_us == now_us - 10:
            lost += outbox.cut_off()[1]
            assert outbox.waiting_bytes("reliable") <= LOW_BYTES
    wire.full = False
    for label in taken:
        outbox.pump(label, wire)
        sent = [message for at, message in wire.sent if at == label]
        assert sent == [message for message in taken[label] if message in set(sent)]
    assert outbox.sent + outbox.dropped + lost == put
    assert outbox.behind_since_us is None
