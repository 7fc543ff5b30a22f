"""Requests that come again: by a client that lost an answer, and by one that was turned away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from signalling import Clients, clients, local_config
from test_api import KEY, SECRET, admin, guarded, token

from sfu.config import AuthConfig, LimitsConfig
from sfu.errors import RequestError
from sfu.server.api import repeats
from sfu.server.api.callers import Caller
from sfu.server.api.endpoint import PREFIX
from sfu.server.api.repeats import HEADER, REPLAYED, Repeats
from sfu.server.retrying import USUAL_S

MESSAGES = "/rooms/r/messages"


async def post(
    those: Clients, path: str, body: Any, key: str = "", credential: str = "", **headers: str
) -> tuple[int, Any, Any]:
    """Status, JSON and headers of the answer."""
    given = {"Authorization": f"Bearer {credential or admin()}", **headers}
    if key:
        given[HEADER] = key
    async with those.http.post(those.server.http_url + PREFIX + path, json=body, headers=given) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_a_repeat_does_nothing_and_gets_the_same_answer() -> None:
    async with clients(guarded()) as those:
        ann = await those.join(name="ann", token=token(role="owner", identity="ann"))
        first = await post(those, MESSAGES, {"text": "hello"}, "k1")
        again = await post(those, MESSAGES, {"text": "hello"}, "k1")
        other = await post(those, MESSAGES, {"text": "hello"}, "k2")
        assert again[:2] == first[:2]
        assert first[0] == 201
        assert (first[2].get(REPLAYED), again[2][REPLAYED]) == (None, "true")
        assert other[1]["id"] != first[1]["id"]
        told = [(await ann.next("chat"))["message"]["id"] for _ in range(2)]
        assert told == [first[1]["id"], other[1]["id"]]


async def test_repeats_at_the_same_time_are_one() -> None:
    async with clients(guarded()) as those:
        await those.join(name="ann", token=token(role="owner", identity="ann"))
        answers = await asyncio.gather(*(post(those, MESSAGES, {"text": "x"}, "k") for _ in range(5)))
        assert len({body["id"] for _, body, _ in answers}) == 1


async def test_a_key_is_one_callers_and_of_one_request() -> None:
    async with clients(guarded()) as those:
        await those.join(name="ann", token=token(role="owner", identity="ann"))
        mine = await post(those, MESSAGES, {"text": "hello"}, "k")
        others = await post(those, MESSAGES, {"text": "hello"}, "k", token(identity="head"))
        assert others[1]["id"] != mine[1]["id"]
        status, body, _ = await post(those, MESSAGES, {"text": "something else"}, "k")
        assert (status, body["error"]["code"]) == (422, "key_reused")
        status, body, _ = await post(those, "/rooms/r/broadcast", {"text": "hello"}, "k")
        assert (status, body["error"]["code"]) == (422, "key_reused")


async def test_a_refused_request_can_be_sent_again_with_its_key() -> None:
    async with clients(guarded()) as those:
        assert (await post(those, MESSAGES, {"text": "hello"}, "k"))[0] == 404
        await those.join(name="ann", token=token(role="owner", identity="ann"))
        status, _, headers = await post(those, MESSAGES, {"text": "hello"}, "k")
        assert (status, REPLAYED in headers) == (201, False)


@pytest.mark.parametrize("bad", ["", " ", "k" * 129, "a b", "ü"])
async def test_what_is_no_key_is_refused(bad: str) -> None:
    with pytest.raises(RequestError, match="bad_request"):
        await once(Repeats(), bad)


async def once(those: Repeats, key: str, body: Any = None, identity: str = "ann", answer: str = "x") -> Any:
    request = make_mocked_request("POST", "/p", headers={HEADER: key})

    async def do() -> dict[str, str]:
        return {"answer": answer}

    response = await those.once(request, Caller(identity=identity), body or {}, 200, do)
    assert isinstance(response, web.Response)
    return REPLAYED in response.headers


async def test_answers_are_forgotten_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(repeats.clock, "now_us", lambda: now[0])
    those = Repeats()
    assert not await once(those, "k")
    now[0] += repeats.KEPT_US - 1
    assert await once(those, "k")
    now[0] += 1
    assert not await once(those, "k")


async def test_answers_are_bounded_by_caller_and_in_bytes() -> None:
    those = Repeats()
    for number in range(repeats.KEYS_OF_CALLER + 1):
        await once(those, f"k{number}")
    assert not await once(those, "k0", identity="ben"), "of another caller"
    assert await once(those, f"k{repeats.KEYS_OF_CALLER}")
    assert await once(those, "k1")
    assert not await once(those, "k0"), "the oldest is gone"
    large = "x" * (repeats.KEPT_BYTES // 3)
    for number in range(4):
        await once(those, f"large{number}", identity="cy", answer=large)
    assert those._bytes <= repeats.KEPT_BYTES
    assert await once(those, "large3", identity="cy", answer=large)
    assert not await once(those, "large0", identity="cy", answer="x")


async def test_who_waits_for_an_answer_that_fails_fails_alike() -> None:
    those, going = Repeats(), asyncio.Event()

    async def do() -> dict[str, str]:
        await going.wait()
        raise RequestError("storage_failed", "no")

    async def ask() -> None:
        request = make_mocked_request("POST", "/p", headers={HEADER: "k"})
        await those.once(request, Caller(identity="ann"), {}, 200, do)

    asked = [asyncio.create_task(ask()) for _ in range(2)]
    await asyncio.sleep(0)
    going.set()
    assert [str(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == [
        "storage_failed: no"
    ] * 2
    assert those._bytes == 0


async def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    config = local_config(
        auth=AuthConfig(keys=(f"{KEY}:{SECRET}",)), limits=LimitsConfig(api_per_s=0.1, api_burst=1)
    )
    async with clients(config) as those:
        headers = {"Authorization": f"Bearer {admin()}", "Origin": "https://page.example"}
        url = those.server.http_url + PREFIX + "/rooms"
        async with those.http.get(url, headers=headers) as answer:
            assert answer.status == 200
        async with those.http.get(url, headers=headers) as answer:
            assert answer.status == 429
            assert 8 <= int(answer.headers["Retry-After"]) <= 10, "a token comes in ten seconds"


async def test_who_is_locked_out_is_told_for_how_long() -> None:
    auth = AuthConfig(keys=(f"{KEY}:{SECRET}",), max_failures=1, lockout_s=600)
    async with clients(local_config(auth=auth)) as those:
        assert (await post(those, "/tokens", {}, credential="bad"))[0] == 401
        status, _, headers = await post(those, "/tokens", {}, credential="bad")
        assert status == 429
        assert 500 < int(headers["Retry-After"]) <= 600


async def test_every_answer_that_turns_away_has_a_time() -> None:
    async with clients(local_config()) as those:
        those.server._stopping = True
        async with those.http.get(those.server.http_url + "/signal") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == str(USUAL_S)


async def test_pages_of_other_sites_may_send_the_key_and_read_the_time() -> None:
    config = guarded()
    async with clients(config) as those:
        origin = those.server.http_url
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with those.http.options(origin + PREFIX + "/tokens", headers=asks) as answer:
            assert HEADER in answer.headers["Access-Control-Allow-Headers"]
        async with those.http.get(origin + PREFIX + "/rooms", headers={"Origin": origin}) as answer:
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
