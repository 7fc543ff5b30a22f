"""Calls through the whole server: signalling, negotiation, transports, forwarding; frames decoded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from live_peers import SIZE, LivePeer, Picture, Tone, join
from signalling import Clients, clients, local_config, until

from sfu.config import RoomConfig, RtcConfig
from sfu.server import subscribe_leg
from sfu.server.data import pack


@contextlib.asynccontextmanager
async def call(*names: str, **sections: Any) -> AsyncIterator[tuple[Clients, list[LivePeer]]]:
    """A server and participants of one room, all closed at the end."""
    async with clients(local_config(**sections)) as those:
        peers = await join(those, names)
        try:
            yield those, peers
        finally:
            for peer in peers:
                await peer.close()


def assert_red(picture: np.ndarray[Any, Any]) -> None:
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    assert picture[:, :, 2].mean() > 150
    assert picture[:, :, 1].mean() < 60


async def test_two_peers_see_and_hear() -> None:
    async with call("Ann", "Ben") as (_, (ann, ben)):
        media = await ann.publish((Picture(), "camera"), (Tone(), "microphone"))
        assert [set(entry) for entry in media] == [{"mid", "publication"}] * 2
        offer = await ben.answer()
        assert {entry["publication"] for entry in offer["media"]} == {m["publication"] for m in media}
        assert {entry["participant"] for entry in offer["media"]} == {ann.id}
        assert_red(await ben.picture())
        assert await ben.loudness() > 500
        sized = await ben.signal.next("publication_updated")
        assert (sized["publication"]["width"], sized["publication"]["height"]) == SIZE
        stats = await ben.signal.request("stats")
        assert {s["packets"] > 0 for s in stats["subscriptions"].values()} == {True}
        assert [t["transport"] for t in stats["transports"]] == ["subscribe"]


async def test_both_ways_and_a_late_joiner() -> None:
    async with call("Ann", "Ben") as (those, [ann, ben]):
        await ann.publish((Picture(), "camera"))
        await ben.publish((Picture(), "camera"))
        await ben.answer()
        await ann.answer()
        assert_red(await ben.picture())
        assert_red(await ann.picture())
        (late,) = await join(those, ["Late"])
        offer = await late.answer()
        assert len(offer["media"]) == 2
        began = asyncio.get_running_loop().time()
        assert_red(await late.picture())
        assert asyncio.get_running_loop().time() - began < 5
        await late.close()


async def test_speaking_is_told() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        await ann.publish((Tone(), "microphone"))
        await ben.answer()
        # aiortc sends no audio levels, so nobody is heard to speak; but audio flows.
        assert await ben.loudness() > 500


async def test_mute_stops_packets_and_unmute_brings_them_back() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        (entry,) = await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        await ann.signal.request("mute", publication=entry["publication"], muted=True)
        paused = await ben.signal.next("subscription", state="paused")
        assert paused["reason"] == "muted"
        while not (await ben.signal.next("publication_updated"))["publication"]["muted"]:
            pass
        await ann.signal.request("mute", publication=entry["publication"], muted=False)
        await ben.signal.next("subscription", state="active")
        for _ in range(60):
            await ben.picture()


async def test_a_dropped_session_resumes_and_media_runs_on() -> None:
    async with call("Ann", "Ben") as (those, [ann, ben]):
        await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        for peer in (ann, ben):
            await peer.signal.drop()
        for _ in range(10):
            assert_red(await ben.picture(1))
        for peer in (ann, ben):
            joined, peer.signal = peer.signal.joined, await those.open()
            resume = {"participant": joined["participant"]["id"], "secret": joined["secret"]}
            again = await peer.signal.join(resume=resume)
            assert again["resumed"] is True
        for _ in range(10):
            assert_red(await ben.picture(1))
        (publication,) = ann.signal.joined["participant"]["publications"]
        state = await ben.signal.next("subscription")
        assert (state["publication"], state["state"]) == (publication["id"], "active")


async def test_leaving_ends_media_at_once() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        await ann.signal.request("leave")
        await ben.signal.next("publication_removed")
        await ben.answer_until(None)


async def test_one_m_line_is_open_over_many_publications() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        lines = set()
        for _ in range(4):
            await ann.publisher.close()
            fresh = LivePeer(ann.signal)
            ann.publisher = fresh.publisher
            (entry,) = await ann.publish((Picture(), "camera"))
            offer = await ben.answer_until(entry["publication"])
            lines.add(offer["sdp"].count("m=video 9 "))
            await ben.picture()
            await ann.signal.request("unpublish", publication=entry["publication"])
        assert lines == {1}


async def test_unsubscribe_and_subscribe_again() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        (entry,) = await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        await ben.signal.request("unsubscribe", publications=[entry["publication"]])
        await ben.answer_until(None)
        assert (await ben.signal.next("subscription", state="ended"))["publication"] == entry["publication"]
        await ben.signal.request("subscribe", publications=[entry["publication"]], priority=200)
        assert len((await ben.answer())["media"]) == 1
        assert_red(await ben.picture())


async def test_ice_restart_of_the_subscribe_transport() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        await ann.publish((Picture(), "camera"))
        first = await ben.answer()
        await ben.picture()
        assert (await ben.signal.request("restart_ice", transport="subscribe"))["type"] == "ok"
        second = await ben.signal.next("offer")
        ufrags = [
            {line for line in offer["sdp"].splitlines() if line.startswith("a=ice-ufrag")}
            for offer in (first, second)
        ]
        assert ufrags[0].isdisjoint(ufrags[1])


async def test_data_is_relayed_with_its_sender() -> None:
    async with call("Ann", "Ben", "Cat") as (_, [ann, ben, cat]):
        for peer in (ann, ben, cat):
            peer.open_channels()
            await peer.offer({})
        for peer in (ann, ben, cat):
            for channel in peer.channels.values():
                await until(lambda channel=channel: channel.readyState == "open")

        async def received(peer: LivePeer) -> tuple[str, dict[str, Any], bytes]:
            label, message = await asyncio.wait_for(peer.messages.get(), 5)
            length = int.from_bytes(message[:2], "big")
            return label, json.loads(message[2 : 2 + length]), message[2 + length :]

        for label in ("reliable", "lossy"):
            ann.channels[label].send(pack({"topic": "t", "text": True}, b"hello"))
            for peer in (ben, cat):
                got, header, payload = await received(peer)
                assert (got, payload) == (label, b"hello")
                assert (header["topic"], header["from"], header["text"]) == ("t", ann.id, True)
                assert header["sent_at_ms"] > 0
        ann.channels["reliable"].send(pack({"to": [cat.id]}, b"\x00\x01"))
        assert (await received(cat))[2] == b"\x00\x01"
        ben.channels["reliable"].send(b"\x00")
        assert (await received(ben))[1] == {"error": "bad_request", "topic": "", "refused": 1}
        assert cat.messages.empty()


async def test_a_closed_publish_connection_is_told() -> None:
    async with call("Ann", "Ben") as (_, [ann, ben]):
        (entry,) = await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        await ann.publisher.close()
        assert (await ann.signal.next("transport_lost"))["transport"] == "publish"
        removed = await ben.signal.next("publication_removed")
        assert removed["publication"] == entry["publication"]
        ann.publisher = LivePeer(ann.signal).publisher
        (entry,) = await ann.publish((Picture(), "camera"))
        await ben.answer_until(entry["publication"])
        assert_red(await ben.picture())


async def test_a_closed_subscribe_connection_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribe_leg, "RETRY_S", 0.01)
    async with call("Ann", "Ben") as (_, [ann, ben]):
        await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        await ben.new_subscriber()
        assert (await ben.signal.next("transport_lost"))["transport"] == "subscribe"
        await ben.answer()
        assert_red(await ben.picture())


async def test_consent_expires_when_the_peer_vanishes() -> None:
    async with call("Ann", rtc=RtcConfig(port=0, bind=("127.0.0.1",), consent_timeout_s=1)) as (_, [ann]):
        await ann.publish((Picture(), "camera"))
        await until(lambda: ann.publisher.connectionState == "connected")
        # Its ICE stops without a word: no more checks, no DTLS goodbye.
        for transceiver in ann.publisher.getTransceivers():
            await transceiver.sender.transport.transport.stop()
        assert (await ann.signal.next("transport_lost"))["transport"] == "publish"


async def test_a_page_that_was_frozen_answers_late_and_sees_everybody() -> None:
    async with call("Ann", "Ben", "Cat") as (_, [ann, ben, cat]):
        await ann.publish((Picture(), "camera"))
        await cat.publish((Picture(), "camera"))
        await cat.signal.request("leave")
        assert (await ben.signal.next("participant_left"))["reason"] == "left"
        assert len((await ben.answer())["media"]) == 1
        assert_red(await ben.picture())


async def test_a_plain_peer_sees_who_comes_after_others_have_left() -> None:
    """An application is told of a track by an event; on an m-line that is reused there is none in aiortc."""
    async with call("Ben") as (those, [ben]):
        for name in ("Ann", "Cat", "Dan"):
            ben.tracks.clear()
            (guest,) = await join(those, [name])
            (_, sound) = await guest.publish((Picture(), "camera"), (Tone(), "microphone"))
            await ben.answer_until(sound["publication"])
            assert_red(await ben.picture())
            assert await ben.loudness() > 1000
            await guest.signal.request("leave")
            await ben.answer_until(None)


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_a_subscriber_in_either_dtls_role_sees_whoever_comes(setup: str) -> None:
    async with call("Ann", "Ben", "Cat") as (_, [ann, ben, cat]):
        (first,) = await ann.publish((Picture(), "camera"))
        await ben.answer(setup)
        assert_red(await ben.picture())
        (second,) = await cat.publish((Picture(), "camera"))
        offer = await ben.answer_until(second["publication"])
        assert [each["publication"] for each in offer["media"]] == [
            each["publication"] for each in (first, second)
        ]
        assert_red(await ben.picture())


async def test_grace_ends_media() -> None:
    async with call("Ann", "Ben", room=RoomConfig(grace_s=0.2)) as (_, [ann, ben]):
        await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        await ann.signal.drop()
        left = await ben.signal.next("participant_left")
        assert (left["participant"], left["reason"]) == (ann.id, "timeout")
        await ben.answer_until(None)


async def test_joins_and_leaves_with_media_leave_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with call("Ann") as (those, [ann]):
        await ann.publish((Picture(), "camera"))
        for _ in range(5):
            (guest,) = await join(those, ["Guest"])
            await guest.answer()
            await guest.picture()
            await guest.signal.request("leave")
            await guest.close()
        url = those.server.http_url + "/api/v1/stats"

        async def transports() -> int:
            return int((await (await those.http.get(url)).json())["transports"])

        async with asyncio.timeout(5):
            while await transports() != 1:
                pass
    await until(lambda: asyncio.all_tasks() <= before)


async def test_the_statistics_of_a_room_say_what_each_gets_and_why() -> None:
    async with call("Ann", "Ben") as (those, [ann, ben]):
        (entry,) = await ann.publish((Picture(), "camera"))
        await ben.answer()
        await ben.picture()
        url = f"{those.server.http_url}/api/v1/rooms/{ben.signal.joined['room']['name']}/stats"
        who = ann.signal
        bearer = {"Authorization": f"Participant {who.me}:{who.joined['secret']}"}
        answer = await (await those.http.get(url, headers=bearer)).json()
        mine = await who.request("stats")
        (address,) = {each["remote_address"].rpartition(":")[0] for each in mine["transports"]}
        assert address
        assert address not in str(answer), "addresses are for administrators, and one's own for oneself"
        of = {each["name"]: each for each in answer["participants"]}
        assert of["Ann"]["publications"][entry["publication"]][0]["width"] == SIZE[0]
        got = of["Ben"]["subscriptions"][entry["publication"]]
        assert got["packets"] > 0
        assert got["reason"] == "source"
        assert {each["transport"] for each in of["Ben"]["transports"]} == {"subscribe"}
