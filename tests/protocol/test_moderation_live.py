"""Moderation of real media: what a participant may not send or receive any more ends on the wire."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
from live_peers import LivePeer, Tone, join
from signalling import Clients, clients, until

from sfu.server.data import pack


@contextlib.asynccontextmanager
async def call(*names: str) -> AsyncIterator[tuple[Clients, list[LivePeer]]]:
    async with clients() as those:
        peers = await join(those, names)
        try:
            yield those, peers
        finally:
            for peer in peers:
                await peer.close()


def is_open(peer: LivePeer) -> bool:
    return peer.channels["reliable"].readyState == "open"


async def counted(those: Clients, what: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(those.server.http_url + "/api/v1/stats") as answer:
        return int((await answer.json())[what])


async def test_a_withdrawn_right_to_publish_unpublishes_and_refuses_the_next_offer() -> None:
    async with call("Ann", "Ben") as (those, [ann, ben]):
        tone = Tone()
        ((entry),) = await ben.publish((tone, "microphone"))
        await ann.answer()
        assert await ann.loudness() > 500
        await ann.signal.request("set_grants", participant=ben.id, grants={"publish": ["camera"]})
        removed = await ben.signal.next("publication_removed")
        assert (removed["publication"], removed["participant"]) == (entry["publication"], ben.id)
        await ann.signal.next("publication_removed", publication=entry["publication"])
        assert await counted(those, "publications") == 0
        assert [set(each) for each in await ben.offer({tone: "microphone"})] == [{"mid", "error"}]
        await ann.signal.request("set_grants", participant=ben.id, grants={"publish": True})
        assert [set(each) for each in await ben.offer({tone: "microphone"})] == [{"mid", "publication"}]


async def test_data_stays_within_a_breakout_room() -> None:
    async with call("Ann", "Ben", "Cid") as (_, [ann, ben, cid]):
        for peer in (ann, ben, cid):
            peer.open_channels()
            await peer.offer({})
        for peer in (ann, ben, cid):
            await until(partial(is_open, peer))
        await ann.signal.request("open_breakouts", names=["One"])
        await ann.signal.request("assign_breakout", participants=[ben.id], breakout=1)
        ben.channels["reliable"].send(pack({"topic": "secret"}))
        ben.channels["reliable"].send(b"\x00")
        _, refusal = await ben.messages.get()
        assert b"bad_request" in refusal, "what Ben sent before has been passed on by now"
        ann.channels["reliable"].send(pack({"topic": "open"}))
        _, message = await cid.messages.get()
        assert b"open" in message
        assert ben.messages.empty()
