"""Who comes in, and what it may do: tokens, roles, grants and their change, over real WebSockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from guarded import SECRET, error, guarded, member, refused, token
from signalling import clients, local_config, until

from sfu.config import AuthConfig, ServerConfig
from sfu.room.permissions import SOURCES, Source
from sfu.server import jwks, tokens
from sfu.templates import ClassroomTemplate
from sfu_client import AudioSource, RefusedError, Room, VideoSource

# --- roles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "role", "rights"),
    [
        ("meeting", "participant", {"publish": True, "chat": True, "moderate": False}),
        ("classroom", "owner", {"publish": True, "moderate": True, "see_hidden": True, "record": True}),
        ("classroom", "participant", {"publish": ["camera", "microphone"], "subscribe": True}),
        ("classroom", "observer", {"publish": False, "hidden": True, "chat": False}),
        ("webinar", "participant", {"publish": False, "data": False, "chat": True}),
        ("monitoring", "device", {"publish": True, "subscribe": False, "data": True, "chat": False}),
    ],
)
async def test_a_role_has_its_templates_rights(template: str, role: str, rights: dict[str, Any]) -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role=role, template=template)
        me = ann.joined["participant"]
        assert (me["role"], ann.joined["room"]["template"]) == (role, template)
        assert rights.items() <= me["grants"].items()


async def test_a_token_changes_single_rights_of_its_role() -> None:
    async with clients(guarded()) as those:
        ann = await member(
            those, "ann", role="participant", template="classroom", publish=["screen"], chat=False
        )
        grants = ann.joined["participant"]["grants"]
        assert (grants["publish"], grants["chat"], grants["data"]) == (["screen"], False, True)


async def test_configuration_changes_a_templates_roles() -> None:
    config = local_config(classroom=ClassroomTemplate(participant=("join", "subscribe"), entry="observer"))
    async with clients(config) as those:
        await those.join(template="classroom")
        ben = await those.join(name="Ben")
        assert ben.joined["participant"]["role"] == "observer"
        cid = await those.join(name="Cid", role="participant")
        assert cid.joined["participant"]["grants"]["publish"] is False


async def test_without_tokens_the_maker_owns_and_the_next_are_participants() -> None:
    async with clients() as those:
        camera = await those.join(name="Camera", role="device", template="classroom")
        ann, ben = await those.join(), await those.join(name="Ben")
        roles = [signal.joined["participant"]["role"] for signal in (camera, ann, ben)]
        assert roles == ["device", "owner", "participant"]
        assert ben.joined["room"]["template"] == "classroom"
        assert await refused(those, role="owner") == "not_allowed"


async def test_without_the_right_to_join_nobody_joins() -> None:
    async with clients(guarded()) as those:
        assert await refused(those, token=token(join=False)) == "not_allowed"


# --- tokens ------------------------------------------------------------------------------------


async def test_a_revoked_token_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    async with clients(guarded(revoked=("lost",), revoked_file=str(file))) as those:
        assert await refused(those, token=token(jti="lost")) == "token_revoked"
        camera = token("camera", role="device", jti="cam-7", ttl_s=180 * 86400)
        await those.join(token=camera)
        file.write_text("cam-7\n")
        assert await refused(those, token=camera) == "token_revoked"
        url = f"{those.server.http_url}/api/v1/rooms"
        answer = await those.http.get(url, headers={"Authorization": f"Bearer {camera}"})
        assert answer.status == 401


async def test_a_moderator_revokes_a_cameras_token(tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    async with clients(guarded(revoked_file=str(file))) as those:
        ann = await member(those, "ann", role="owner")
        given = token("camera", role="device", jti="cam-7")
        camera = await those.join(token=given)
        plain = await member(those, "plain")
        assert error(await camera.request("revoke", participant=ann.me)) == "not_allowed"
        assert error(await ann.request("revoke", participant=plain.me)) == "bad_state"
        assert error(await ann.request("revoke", participant="PA_nobody")) == "not_found"
        assert (await ann.request("revoke", participant=camera.me))["type"] == "ok"
        assert (await camera.ended())[0]["code"] == "removed"
        assert await refused(those, token=given) == "token_revoked"
        assert file.read_text() == "cam-7\n"


# --- key sets ----------------------------------------------------------------------------------


@asynccontextmanager
async def key_server(keys: list[dict[str, Any]], slow_s: float = 0) -> AsyncIterator[tuple[str, list[int]]]:
    """Serves `keys`, which may change, and counts how often it was asked."""
    asked: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(1)
        await asyncio.sleep(slow_s)
        return web.json_response({"keys": keys})

    app = web.Application()
    app.router.add_get("/jwks", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/jwks", asked
    finally:
        await runner.cleanup()


def public(key: Any, kid: str) -> dict[str, Any]:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())
    return {
        **(json.loads(made) if isinstance(made, str) else made),
        "kid": kid,
        "alg": algorithm,
        "use": "sig",
    }


def signed(key: Any, kid: str, algorithm: str, **changes: Any) -> str:
    claims = {"sub": "ann", "room": "r", "exp": time.time() + 60, "iss": "https://id", "aud": "sfu"}
    return jwt.encode(claims | changes, key, algorithm=algorithm, headers={"kid": kid})


async def test_keys_of_a_key_set_sign_too() -> None:
    elliptic, foreign = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    modulus = rsa.generate_private_key(65537, 2048)
    async with key_server([public(elliptic, "e"), public(modulus, "m")]) as (url, asked):
        config = guarded(jwks_url=url, jwks_issuer="https://id", jwks_audience="sfu")
        async with clients(config) as those:
            ann = await those.join(token=signed(elliptic, "e", "ES256", role="owner"))
            assert ann.joined["participant"]["grants"]["moderate"] is True
            await those.join(token=signed(modulus, "m", "RS256", sub="ben"))
            await member(those, "by-secret")
            for wrong in (
                signed(foreign, "e", "ES256"),
                signed(elliptic, "unknown", "ES256"),
                signed(elliptic, "m", "ES256"),
                signed(elliptic, "e", "ES256", iss="https://other"),
                signed(elliptic, "e", "ES256", aud="other"),
                signed("s" * 32, "e", "HS256"),
            ):
                assert await refused(those, token=wrong) == "bad_token"
            assert await refused(those, token=signed(elliptic, "e", "ES256", room="other")) == "wrong_room"
        assert len(asked) == 1, "unknown key ids do not fetch again and again"


async def test_without_its_key_set_the_server_lets_nobody_in() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    config = local_config(auth=AuthConfig(jwks_url="http://127.0.0.1:9/jwks", max_failures=2))
    async with clients(config) as those:
        for _ in range(3):
            refusal = await refused(those, token=signed(elliptic, "e", "ES256"))
            assert refusal == "keys_unavailable", "which is no guess, and locks nobody out"
        assert await refused(those) == "bad_token"


async def test_all_who_come_while_the_keys_are_fetched_wait_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    keys, slow = [public(first, "1")], 0.2
    async with key_server(keys, slow) as (url, asked), clients(guarded(jwks_url=url)) as those:
        for kid, key in (("1", first), ("2", second)):
            waiting = [await those.open() for _ in range(5)]
            answers = await asyncio.gather(
                *(
                    each.join(token=signed(key, kid, "ES256", sub=f"{kid}-{number}"))
                    for number, each in enumerate(waiting)
                )
            )
            assert [each["type"] for each in answers] == ["joined"] * 5, kid
            assert len(asked) == int(kid)
            # Another key is in force from now on, and the last fetch is long enough ago.
            keys[:] = [public(second, "2")]
            monkeypatch.setattr(jwks, "REFETCH_US", 0)


async def test_a_key_server_that_hangs_holds_up_no_known_key(monkeypatch: pytest.MonkeyPatch) -> None:
    known, new = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    hangs = asyncio.Event()
    hangs.set()
    asked: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(1)
        await hangs.wait()
        return web.json_response({"keys": [public(known, "known")]})

    app = web.Application()
    app.router.add_get("/jwks", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    monkeypatch.setattr(jwks, "REFETCH_US", 0)
    try:
        async with clients(guarded(jwks_url=url, jwks_ttl_s=0.05)) as those:
            await those.join(token=signed(known, "known", "ES256"))
            hangs.clear()
            count = len(asked)
            await until(lambda: len(asked) > count)
            stranger = await those.open()
            waiting = asyncio.create_task(stranger.join(token=signed(new, "new", "ES256")))
            await those.join(name="Ben", token=signed(known, "known", "ES256", sub="ben"))
            assert not waiting.done(), "an unknown key waits for what is being fetched"
            hangs.set()
            assert error(await waiting) == "bad_token"
    finally:
        hangs.set()
        await runner.cleanup()


async def test_an_rsa_key_without_algorithm_is_good_for_each_of_rsa() -> None:
    modulus = rsa.generate_private_key(65537, 2048)
    key = {name: value for name, value in public(modulus, "m").items() if name != "alg"}
    async with key_server([key]) as (url, _), clients(guarded(jwks_url=url)) as those:
        for algorithm in ("RS256", "PS256"):
            await those.join(token=signed(modulus, "m", algorithm))
        assert await refused(those, token=signed(modulus, "m", "RS512")) == "bad_token"


# --- pages of other sites ----------------------------------------------------------------------


async def test_only_allowed_origins_read_the_api() -> None:
    config = local_config(
        server=ServerConfig(host="127.0.0.1", port=0, https_port=-1, allowed_origins=("https://app",))
    )
    async with clients(config) as those:
        url = f"{those.server.http_url}/api/v1/stats"
        preflight = {"Access-Control-Request-Method": "GET"}
        allowed = await those.http.options(url, headers={"Origin": "https://app", **preflight})
        assert allowed.status == 204
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app"
        assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
        assert (await those.http.options(url, headers={"Origin": "https://evil", **preflight})).status == 403
        read = await those.http.get(url, headers={"Origin": "https://app"})
        assert (read.status, read.headers["Access-Control-Allow-Origin"]) == (200, "https://app")
        foreign = await those.http.get(url, headers={"Origin": "https://evil"})
        assert "Access-Control-Allow-Origin" not in foreign.headers


@pytest.mark.parametrize(
    ("name", "needs_tokens", "accepted"),
    [
        ("evil.example", False, False),
        ("evil.example", True, True),
        ("127.0.0.1", False, True),
        ("[::1]", False, True),
        ("localhost", False, True),
        ("classroom.local", False, True),
        ("sfu", False, True),
        ("[", False, False),
    ],
)
async def test_without_tokens_a_strangers_name_for_the_server_is_not_its_own(
    name: str, needs_tokens: bool, accepted: bool
) -> None:
    """DNS rebinding: a page of evil.example has its name point here, and finds itself at home."""
    async with clients(guarded() if needs_tokens else local_config()) as those:
        host = f"{name}:{those.server.http_url.rpartition(':')[2]}"
        headers = {"Host": host, "Origin": f"http://{host}"}
        if accepted:
            await those.open(headers=headers)
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="421"):
                await those.open(headers=headers)


# --- change at run time ------------------------------------------------------------------------


async def test_a_role_is_changed_at_once_and_told() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner", template="classroom")
        ben = await member(those, "ben", role="participant")
        assert (await ann.request("set_role", participant=ben.me, role="presenter"))["type"] == "ok"
        for who in (ann, ben):
            told = (await who.next("participant_updated"))["participant"]
            assert (told["id"], told["role"], told["grants"]["publish"]) == (ben.me, "presenter", True)


async def test_withdrawing_chat_and_data_refuses_them() -> None:
    async with clients(guarded()) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben")
        await ann.request("set_grants", participant=ben.me, grants={"chat": False, "data": False})
        assert error(await ben.request("chat", text="x")) == "not_allowed"
        assert error(await ben.request("ask", text="why?")) == "not_allowed"
        stroke = {"stroke": "s1", "color": "#102030", "width": 20, "points": [[1, 2]]}
        assert error(await ben.request("draw", **stroke)) == "not_allowed"
        await ann.request("set_grants", participant=ben.me, grants={"data": True})
        assert (await ben.request("draw", **stroke))["type"] == "ok"


MODERATION: list[tuple[str, dict[str, Any]]] = [
    ("set_role", {"participant": "{ann}", "role": "observer"}),
    ("set_grants", {"participant": "{ann}", "grants": {"chat": False}}),
    ("mute_participant", {"participant": "{ann}"}),
    ("mute_all", {}),
    ("remove", {"participant": "{ann}"}),
    ("revoke", {"participant": "{ann}"}),
    ("set_room", {"locked": True}),
    ("spotlight", {"participant": "{ann}"}),
    ("admit", {}),
    ("deny", {"waiting": "WA_x"}),
    ("open_breakouts", {"names": ["One"]}),
    ("assign_breakout", {"participants": ["{ann}"]}),
    ("close_breakouts", {}),
    ("broadcast", {"text": "x"}),
    ("lower_hand", {}),
    ("call_on", {"participant": "{ann}"}),
    ("answer_question", {"question": 1}),
    ("remove_question", {"question": 1}),
    ("open_poll", {"question": "?", "options": ["a", "b"]}),
    ("close_poll", {"poll": 1}),
    ("remove_poll", {"poll": 1}),
    ("clear_board", {}),
]


async def test_who_does_not_moderate_is_refused_everything_that_needs_it() -> None:
    async with clients(guarded()) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben", role="presenter")
        await ann.request("ask", text="Is this on?")
        await ann.request("open_poll", question="?", options=["a", "b"])
        for kind, members in MODERATION:
            filled = json.loads(json.dumps(members).replace("{ann}", ann.me))
            assert error(await ben.request(kind, **filled)) == "not_allowed", kind


async def test_only_an_owner_touches_owners_and_makes_them() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        ben = await member(those, "ben", role="presenter", moderate=True)
        cid = await member(those, "cid")
        for kind in ("remove", "mute_participant"):
            assert error(await ben.request(kind, participant=ann.me)) == "not_allowed"
        assert error(await ben.request("set_role", participant=cid.me, role="owner")) == "not_allowed"
        record = await ben.request("set_grants", participant=cid.me, grants={"record": True})
        assert error(record) == "not_allowed", "nobody gives what it has not"
        for fixed in ("join", "hidden"):
            answer = await ann.request("set_grants", participant=cid.me, grants={fixed: True})
            assert error(answer) == "bad_request"
        assert (
            error(await ann.request("set_grants", participant=cid.me, grants={"fly": True})) == "bad_request"
        )
        assert (await ben.request("remove", participant=cid.me))["type"] == "ok"
        assert (await cid.ended())[0]["code"] == "removed"


# --- each grant --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "kind", "members"),
    [
        ("subscribe", "subscribe", {"publications": ["TR_any"]}),
        ("data", "state_set", {"key": "k", "value": 1}),
        ("data", "telemetry_declare", {"series": [{"name": "pulse"}]}),
        ("chat", "chat", {"text": "x"}),
        ("chat", "ask", {"text": "why?"}),
        ("moderate", "mute_all", {}),
        ("record", "set_recording", {"on": True}),
    ],
)
async def test_without_its_grant_a_request_is_refused(grant: str, kind: str, members: dict[str, Any]) -> None:
    async with clients(guarded()) as those:
        allowed = await member(those, "ann", role="owner")
        without = await member(those, "ben", role="owner", **{grant: False})
        assert error(await without.request(kind, **members)) == "not_allowed"
        answer = await allowed.request(kind, **members)
        assert answer["type"] == "ok" or answer["code"] == "not_found", answer


@pytest.mark.parametrize("source", SOURCES)
async def test_without_its_grant_a_source_is_not_published(source: Source) -> None:
    others = [each for each in SOURCES if each != source]
    track: Any = VideoSource if source in {"camera", "screen", "other"} else AudioSource
    async with clients(guarded()) as those:
        url = those.server.http_url
        given = token("ben", publish=others)
        async with Room.connect(url, "r", token=given, auto_subscribe=False) as room:
            with pytest.raises(RefusedError, match="not_allowed"):
                await room.publish(track(), source=source)
        given = token("ann", publish=[source])
        async with Room.connect(url, "r", token=given, auto_subscribe=False) as room:
            assert (await room.publish(track(), source=source)).source == source


# --- hidden ------------------------------------------------------------------------------------


async def test_the_hidden_are_seen_by_those_alone_who_may() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner", template="classroom")
        ben = await member(those, "ben")
        eve = await member(those, "eve", role="observer")
        assert (
            await ann.next(
                "participant_joined",
            )
        )["participant"]["name"] == "ben"
        assert (await ann.next("participant_joined"))["participant"]["name"] == "eve"
        cid = await member(those, "cid")
        assert [p["name"] for p in cid.joined["participants"]] == ["ann", "ben"]
        assert [p["name"] for p in eve.joined["participants"]] == ["ann", "ben"]
        for kind, members in (
            ("chat", {"text": "boo"}),
            ("raise_hand", {"raised": True}),
            ("react", {"reaction": "👍"}),
            ("ask", {"text": "?"}),
        ):
            assert error(await eve.request(kind, **members)) == "not_allowed"
        assert error(await ann.request("spotlight", participant=eve.me)) == "not_found"
        await ann.request("set_grants", participant=ben.me, grants={"see_hidden": True})
        await ben.next("participant_joined", participant=eve.joined["participant"])
        await ann.request("set_grants", participant=ben.me, grants={"see_hidden": False})
        await ben.next("participant_left", participant=eve.me)
        await eve.request("leave")
        await ann.next("participant_left", participant=eve.me)
        await cid.request("ping")
        assert not [m for m in cid.seen + ben.seen if eve.me in json.dumps(m)]
        listed = await those.http.get(
            f"{those.server.http_url}/api/v1/rooms", headers={"Authorization": f"Bearer {token()}"}
        )
        assert (await listed.json())["rooms"][0]["participants"] == 3


# --- logs --------------------------------------------------------------------------------------


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with clients(guarded(max_failures=1)) as those:
        good = token(role="owner", jti="j-1")
        ann = await those.join(token=good)
        await ann.request("ask", text="a question of somebody")
        url = f"{those.server.http_url}/api/v1/rooms/r/attendance.csv"
        secret = ann.joined["secret"]
        headers = {"Authorization": f"Participant {ann.me}:{secret}"}
        assert (await those.http.get(url, headers=headers)).status == 200
        guess = tokens.mint("k", "x" * 32, identity="eve", room="r", now_s=int(time.time()), ttl_s=9)
        assert await refused(those, token=guess) == "bad_token"
        assert await refused(those, token=guess) == "locked_out"
    assert "locked out" in caplog.text
    for hidden in (good, guess, secret, SECRET, "a question of somebody"):
        assert hidden not in caplog.text
