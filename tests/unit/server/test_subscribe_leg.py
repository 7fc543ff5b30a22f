"""Offers to a subscriber: one at a time, what changes meanwhile goes together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from leg_fakes import FakeMedia, answer_to, until

from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId
from sfu.room.model import Subscription
from sfu.server import subscribe_leg
from sfu.server.subscribe_leg import SubscribeLeg

BEN = ParticipantId("PA_ben")


class Subscriber:
    """A leg with its client's side."""

    def __init__(self, *, attached: bool = True, m_lines: int = 60) -> None:
        self.media = FakeMedia(m_lines)
        self.messages: list[dict[str, Any]] = []
        self.leg = SubscribeLeg(
            self.media,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            self.messages.append,
        )
        if attached:
            self.leg.attach()

    def wants(
        self, name: str, kind: str = "video", *, muted: bool = False, paused: bool = False
    ) -> PublicationId:
        publication = self.media.add(name, kind, muted=muted)
        subscription = Subscription(subscriber=BEN, publication=publication.id, paused=paused)
        self.leg.subscribe(subscription, publication)
        return publication.id

    def offered(self) -> int:
        return sum(message["type"] == "offer" for message in self.messages)

    async def offers(self) -> list[dict[str, Any]]:
        """The offers so far, after everything due now has run."""
        for _ in range(3):
            await asyncio.sleep(0)
        return [message for message in self.messages if message["type"] == "offer"]

    async def answer(self, **changes: str) -> None:
        offer = (await self.offers())[-1]
        self.leg.answer(offer["seq"], answer_to(offer["sdp"], **changes))

    def states(self) -> list[tuple[str, str, str]]:
        return [
            (m["publication"], m["state"], m.get("reason", ""))
            for m in self.messages
            if m["type"] == "subscription"
        ]

    def close(self) -> None:
        self.leg.detach()
        self.leg.close()


async def test_nothing_to_send_is_nothing_to_offer() -> None:
    ben = Subscriber()
    assert await ben.offers() == []
    assert ben.media.transports == []


async def test_changes_of_one_moment_go_in_one_offer() -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    ben.wants("TR_b", "audio")
    (offer,) = await ben.offers()
    assert offer["seq"] == 1
    assert sorted(m["publication"] for m in offer["media"]) == ["TR_a", "TR_b"]
    assert {m["participant"] for m in offer["media"]} == {"PA_ann"}
    ben.close()


async def test_one_offer_is_outstanding_and_the_rest_follows_it() -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    assert len(await ben.offers()) == 1
    ben.wants("TR_b")
    ben.wants("TR_c")
    assert len(await ben.offers()) == 1
    await ben.answer()
    first, second = await ben.offers()
    assert (first["seq"], second["seq"]) == (1, 2)
    assert [m["publication"] for m in second["media"]] == ["TR_a", "TR_b", "TR_c"]
    await ben.answer()
    assert len(await ben.offers()) == 2
    assert [call[0] for call in ben.media.calls] == ["subscribe", "subscribe", "subscribe"]
    ben.close()


async def test_an_answer_starts_the_transport_and_the_media() -> None:
    ben = Subscriber()
    publication = ben.wants("TR_a")
    await ben.answer()
    assert ben.media.transports[0].calls == [("start", "cli0")]
    key = ben.media.published[publication].key
    assert [(call[0], call[2]) for call in ben.media.calls] == [("subscribe", key)]
    assert ben.states() == [("TR_a", "active", "")]
    ben.close()


async def test_muted_and_paused_subscriptions_say_so() -> None:
    ben = Subscriber()
    muted, paused = ben.wants("TR_m", muted=True), ben.wants("TR_p", paused=True)
    await ben.answer()
    assert ben.states() == [("TR_m", "paused", "muted"), ("TR_p", "paused", "client")]
    ben.leg.set_muted(muted, False)
    key = next(call[1] for call in ben.media.calls if call[3])
    ben.leg.set_paused(key, "")
    ben.leg.set_paused(key, "bandwidth")
    ben.leg.set_paused(key, "bandwidth")
    assert ben.states()[2:] == [
        (muted, "active", ""),
        (paused, "active", ""),
        (paused, "paused", "bandwidth"),
    ]
    ben.close()


async def test_unsubscribing_stops_media_at_once() -> None:
    ben = Subscriber()
    publication = ben.wants("TR_a")
    await ben.answer()
    key = ben.leg.unsubscribe(publication, tell=True)
    assert ben.media.calls[-1] == ("unsubscribe", key)
    assert ben.states()[-1] == ("TR_a", "ended", "")
    assert (await ben.offers())[-1]["media"] == []
    assert ben.leg.unsubscribe(publication, tell=True) is None
    ben.close()


async def test_a_publication_that_ends_while_offered_is_left_alone() -> None:
    ben = Subscriber()
    publication = ben.wants("TR_a")
    await ben.offers()
    del ben.media.published[publication]
    ben.leg.unsubscribe(publication, tell=False)
    await ben.answer()
    assert [call[0] for call in ben.media.calls] == ["unsubscribe"]
    assert (await ben.offers())[-1]["media"] == []
    ben.close()


async def test_a_refused_m_line_fails_alone() -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    ben.wants("TR_v", "audio")
    (offer,) = await ben.offers()
    answer = answer_to(offer["sdp"]).replace("m=video 9", "m=video 0")
    ben.leg.answer(1, answer)
    assert sorted(ben.states()) == [("TR_a", "failed", "codec_unsupported"), ("TR_v", "active", "")]
    ben.close()


async def test_the_m_line_of_what_failed_is_for_others() -> None:
    ben = Subscriber(m_lines=4)
    first, second, third = (ben.wants(name) for name in ("TR_a", "TR_b", "TR_c"))
    (offer,) = await ben.offers()
    assert [m["publication"] for m in offer["media"]] == [first, second]
    assert ben.states() == [("TR_c", "paused", "no_m_line")]
    answer = answer_to(offer["sdp"]).replace("m=video 9", "m=video 0", 1)
    ben.leg.answer(1, answer)
    assert {m["publication"] for m in (await ben.offers())[-1]["media"]} == {second, third}
    await ben.answer()
    assert ben.states()[1:] == [
        ("TR_b", "active", ""),
        ("TR_a", "failed", "codec_unsupported"),
        ("TR_c", "active", ""),
    ]
    ben.close()


async def test_what_waits_for_an_m_line_is_said_again_and_comes_when_one_is_free() -> None:
    ben = Subscriber(m_lines=3)
    first, second = ben.wants("TR_a"), ben.wants("TR_b", muted=True)
    await ben.answer()
    ben.leg.set_muted(second, False)
    ben.leg.attach()
    assert ben.states()[-2:] == [("TR_a", "active", ""), ("TR_b", "paused", "no_m_line")]
    ben.leg.unsubscribe(first, tell=True)
    await ben.offers()
    await ben.answer()
    assert ben.states()[-1] == ("TR_b", "active", "")
    ben.close()


async def test_answers_out_of_turn() -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    (offer,) = await ben.offers()
    with pytest.raises(RequestError, match="bad_state"):
        ben.leg.answer(2, answer_to(offer["sdp"]))
    with pytest.raises(RequestError, match="bad_sdp"):
        ben.leg.answer(1, "v=0")
    await ben.answer()
    ben.leg.answer(1, answer_to(offer["sdp"]))
    assert len(ben.media.transports[0].calls) == 1
    ben.close()


async def test_an_answer_may_come_however_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is frozen while others come and go is slow, not hostile: nothing runs out for it."""
    timers: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda delay, *_: timers.append(delay))
    ben = Subscriber()
    ben.wants("TR_a")
    (first,) = await ben.offers()
    for number in range(20):
        gone = ben.wants(f"TR_{number}")
        ben.leg.unsubscribe(gone, tell=True)
    ben.wants("TR_z")
    assert await ben.offers() == [first]
    await ben.answer()
    _, newest = await ben.offers()
    assert [each["publication"] for each in newest["media"]] == ["TR_a", "TR_z"]
    await ben.answer()
    assert ben.states()[-1] == ("TR_z", "active", "")
    assert timers == []
    ben.close()


@pytest.mark.parametrize(("setup", "role"), [("active", "server"), ("passive", "client")])
async def test_the_subscriber_chooses_the_dtls_role(setup: str, role: str) -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    await ben.answer(setup=setup)
    (transport,) = ben.media.transports
    assert (transport.calls, transport.dtls_role) == ([("start", "cli0")], role)
    ben.wants("TR_b")
    await ben.answer(setup=setup)
    assert ben.media.transports == [transport]
    assert ben.states()[-1] == ("TR_b", "active", "")
    ben.close()


async def test_an_offer_without_answer_is_sent_again_to_the_next_session() -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    (offer,) = await ben.offers()
    ben.leg.detach()
    ben.wants("TR_b")
    assert await ben.offers() == [offer]
    ben.leg.attach()
    assert await ben.offers() == [offer, offer]
    await ben.answer()
    assert [m["publication"] for m in (await ben.offers())[-1]["media"]] == ["TR_a", "TR_b"]
    ben.close()


async def test_states_are_said_again_to_the_next_session() -> None:
    ben = Subscriber()
    ben.wants("TR_a")
    await ben.answer()
    ben.leg.detach()
    ben.leg.attach()
    assert ben.states() == [("TR_a", "active", "")] * 2
    assert len(await ben.offers()) == 1
    ben.close()


async def test_an_ice_restart_waits_for_its_turn() -> None:
    ben = Subscriber()
    with pytest.raises(RequestError, match="bad_state"):
        ben.leg.restart_ice()
    ben.wants("TR_a")
    await ben.offers()
    ben.leg.restart_ice()
    await ben.offers()
    assert ben.media.transports[0].calls == []
    await ben.answer()
    last = (await ben.offers())[-1]
    assert "a=ice-ufrag:srv2" in last["sdp"]
    await ben.answer(ufrag="cli1")
    assert ben.media.transports[0].calls == [("start", "cli0"), ("restart_ice",), ("update_remote", "cli1")]
    ben.close()


@pytest.mark.parametrize("attached", [True, False])
async def test_a_lost_transport_is_made_anew(monkeypatch: pytest.MonkeyPatch, attached: bool) -> None:
    monkeypatch.setattr(subscribe_leg, "RETRY_S", 0.001)
    ben = Subscriber()
    ben.wants("TR_a")
    await ben.answer()
    (old,) = ben.media.transports
    if not attached:
        ben.leg.detach()
    ben.leg.lost()
    assert ben.media.transports == []
    if not attached:
        assert ben.messages[-1]["type"] != "transport_lost"
        ben.leg.attach()
    await until(lambda: ben.offered() == 2)
    assert [m["type"] for m in ben.messages[-2:]] == ["transport_lost", "offer"]
    assert ben.media.transports != [old]
    await ben.answer(ufrag="cli9")
    assert ben.media.transports[0].calls == [("start", "cli9")]
    assert ben.states()[-1] == ("TR_a", "active", "")
    ben.close()


@pytest.mark.parametrize("other", [{"fingerprint": ":".join(["CD"] * 32)}, {"setup": "passive"}])
async def test_an_answer_of_another_dtls_association_makes_a_new_transport(
    monkeypatch: pytest.MonkeyPatch, other: dict[str, str]
) -> None:
    monkeypatch.setattr(subscribe_leg, "RETRY_S", 0.001)
    ben = Subscriber()
    ben.wants("TR_a")
    await ben.answer()
    ben.wants("TR_b")
    await ben.answer(**other)
    assert ben.messages[-1] == {"type": "transport_lost", "transport": "subscribe"}
    await until(lambda: ben.offered() == 3)
    await ben.answer(**other)
    assert [s for s in ben.states() if s[0] == "TR_b"] == [("TR_b", "active", "")]
    ben.close()


async def test_adjusting_passes_the_wish_on() -> None:
    ben = Subscriber()
    publication = ben.wants("TR_a")
    await ben.answer()
    ben.leg.adjust(Subscription(subscriber=BEN, publication=publication, width=320, height=180))
    assert ben.media.calls[-1][0] == "set_wish"
    assert ben.media.calls[-1][2] == 320
    ben.close()
