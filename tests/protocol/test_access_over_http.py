"""What a credential opens over HTTP, and what it does not, beside somebody who is in the room."""

from __future__ import annotations

import aiohttp
import pytest
from guarded import call, guarded, member, token
from signalling import clients, local_config

from sfu.config import LimitsConfig, ServerConfig


async def test_a_tokens_limits_hold_although_its_identity_is_present_with_more_rights() -> None:
    async with clients(guarded()) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben")
        weak = token("ann", role="observer", join=False)
        assert (await call(those, "PATCH", "/rooms/r", weak, {"locked": True}))[0] == 403
        assert (await call(those, "POST", "/rooms/r/files", weak, {"name": "a", "bytes": 1}))[0] == 403
        moderator = token("ann", role="participant", moderate=True)
        assert (await call(those, "PATCH", "/rooms/r", moderator, {"locked": True}))[0] == 200
        promoted = await call(those, "PATCH", f"/rooms/r/participants/{ben.me}", moderator, {"role": "owner"})
        assert promoted[0] == 403, "only an owner makes owners, and the token is none"
        assert (await call(those, "DELETE", "/rooms/r", moderator))[0] == 403
        assert (await call(those, "DELETE", "/rooms/r", ann))[0] == 200


async def test_what_is_counted_for_an_address_is_counted_for_a_whole_64_of_ipv6() -> None:
    config = local_config(
        server=ServerConfig(host="127.0.0.1", port=0, https_port=-1, trust_proxy=True),
        limits=LimitsConfig(sessions_per_address=2, api_burst=2, api_per_s=0.001),
    )

    def at(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    async with clients(config) as those:
        for number in (1, 2):
            who = await those.open(headers=at(f"2001:db8:1:1::{number}"))
            assert (await who.join())["type"] == "joined"
        with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
            await those.open(headers=at("2001:db8:1:1::3"))
        await those.open(headers=at("2001:db8:1:2::1"))
        url = f"{those.server.http_url}/api/v1/stats"
        answers = [await those.http.get(url, headers=at(f"2001:db8:2:2::{number}")) for number in range(3)]
        assert [each.status for each in answers] == [200, 200, 429]
        assert (await those.http.get(url, headers=at("2001:db8:2:3::1"))).status == 200


@pytest.mark.parametrize("sees", [True, False])
async def test_hidden_people_are_seen_over_http_by_those_alone_who_may(sees: bool) -> None:
    """By a participant, by a token from outside, and in what was written down."""
    async with clients(guarded()) as those:
        spy = await member(those, "spy", role="observer", template="classroom")
        rights = {"role": "participant", "moderate": True, "see_hidden": sees}
        ann = await member(those, "ann", **rights)
        await ann.request("chat", text="What was written before this is durable when it is answered.")
        for who in (ann, token("from outside", **rights)):
            for path in ("stats", "sessions", "participants"):
                status, found = await call(those, "GET", f"/rooms/r/{path}", who)
                assert status == 200
                assert ann.me in str(found)
                assert (spy.me in str(found)) is sees, path
            seen = await call(those, "GET", f"/rooms/r/participants/{spy.me}", who)
            assert seen[0] == (200 if sees else 404)
        assert spy.me in str(await call(those, "GET", "/rooms/r/participants", spy)), "oneself one sees"
        await spy.request("leave")
        _, written = await call(those, "GET", "/rooms/r/sessions", ann)
        assert (spy.me in str(written)) is sees


async def test_in_development_mode_statistics_do_not_tell_of_hidden_people() -> None:
    async with clients() as those:
        ann = await those.join(template="classroom")
        ben = await those.join(name="Ben")
        spy = await those.join(name="Spy", role="observer")
        await ann.request("set_grants", participant=ben.me, grants={"moderate": True})
        found = str(await call(those, "GET", "/rooms/r/stats", ben))
        assert ann.me in found
        assert spy.me not in found


async def test_what_a_moderator_took_is_gone_for_who_leaves_and_joins_again() -> None:
    async with clients(guarded()) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben", role="presenter")
        await ann.request("set_grants", participant=ben.me, grants={"publish": False, "chat": False})
        await ann.request("set_grants", participant=ben.me, grants={"publish": ["screen"]})
        await ben.request("leave")
        absent = token("ben", role="presenter", moderate=True)
        assert (await call(those, "POST", "/rooms/r/files", absent, {"name": "a", "bytes": 1}))[0] == 403
        ben = await member(those, "ben", role="presenter")
        grants = ben.joined["participant"]["grants"]
        assert (grants["publish"], grants["chat"], grants["data"]) == (["screen"], False, True)
        await ann.request("set_role", participant=ben.me, role="observer")
        again = await member(those, "ben", role="presenter")
        me = again.joined["participant"]
        assert (me["role"], me["grants"]["publish"], me["grants"]["data"]) == ("observer", False, False)
        await ann.request("set_role", participant=again.me, role="owner")
        weak = token("ben", role="observer", join=False)
        await again.request("leave")
        assert (await call(those, "PATCH", "/rooms/r", weak, {"locked": True}))[0] == 403
        back = await member(those, "ben", role="presenter")
        assert back.joined["participant"]["role"] == "owner", "what was given is there again as well"
