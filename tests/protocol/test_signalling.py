"""Signalling as docs/protocol.md and docs/closing.md have it, over a real WebSocket."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from signalling import Clients, Signal, clients, local_config, until

from sfu.config import AuthConfig, IceConfig, LimitsConfig, RoomConfig, ServerConfig
from sfu.server import session, stats, tokens
from sfu.server.ice_servers import OPEN_TTL_S
from sfu.server.session import Timing

SECRET = "s" * 32


def error(message: dict[str, Any]) -> str:
    assert message["type"] == "error", message
    assert message["message"]
    return str(message["code"])


async def sessions(those: Clients) -> int:
    async with those.http.get(those.server.http_url + "/api/v1/stats") as answer:
        return int((await answer.json())["sessions"])


# --- joining -----------------------------------------------------------------------------------


async def test_joined_says_all_the_protocol_promises() -> None:
    async with clients() as those:
        ann = await those.join(wants={"video": False}, client="test/1")
        assert set(ann.joined) >= {
            "type", "id", "version", "resumed", "participant", "participants", "room", "secret", "chat",
            "ice_servers", "ping_interval_s", "grace_s", "max_publications", "server",
        }  # fmt: skip
        assert ann.joined["version"] == 1
        assert ann.joined["resumed"] is False
        assert ann.joined["room"]["name"] == "r"
        assert ann.joined["participants"] == []
        assert set(ann.joined["participant"]) == {
            "id", "name", "name_key", "identity", "state", "joined_at_ms", "role", "grants", "breakout",
            "publications",
        }  # fmt: skip
        assert abs(ann.joined["participant"]["joined_at_ms"] / 1000 - time.time()) < 60
        ben = await those.join(name="Ben")
        assert [p["name"] for p in ben.joined["participants"]] == ["Ann"]
        seen = await ann.next("participant_joined")
        assert seen["participant"]["name"] == "Ben"
        assert seen["participant"]["state"] == "connected"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"type": "ping"}, None),
        ({"type": "chat", "text": "x"}, "bad_state"),
        ({"type": "dance"}, "unknown_type"),
        ({"type": "join", "version": 2, "room": "r", "name": ""}, "bad_request"),
        ({"type": "join", "version": 1, "room": "", "name": ""}, "bad_request"),
        ({"type": "join", "version": 1, "room": "r", "name": "", "id": "x"}, "bad_request"),
    ],
)
async def test_an_error_before_joined_closes(first: dict[str, Any], code: str | None) -> None:
    async with clients() as those:
        ann = await those.open()
        await ann.send(first)
        if code is None:
            assert await ann.next("pong") == {"type": "pong", "t": None}
            return
        assert error(await ann.receive()) == code
        closed, ws_code = await ann.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("protocol_error", False, 1008)


async def test_join_comes_first_and_soon() -> None:
    async with clients(timing=Timing(join_timeout_s=0.05)) as those:
        ann = await those.open()
        closed, ws_code = await ann.ended()
        assert (closed["code"], ws_code) == ("join_timeout", 1008)


async def test_joining_twice_is_refused_and_the_session_stays() -> None:
    async with clients() as those:
        ann = await those.join()
        assert error(await ann.request("join", version=1, room="r", name="")) == "bad_state"
        assert (await ann.request("ping", t=4))["t"] == 4


async def test_room_and_server_limits() -> None:
    config = local_config(room=RoomConfig(max_rooms=1, max_participants=1))
    async with clients(config) as those:
        await those.join()
        assert error(await (await those.open()).join()) == "room_full"
        assert error(await (await those.open()).join("other")) == "too_many_rooms"


async def test_sessions_of_one_address_are_limited() -> None:
    async with clients(local_config(limits=LimitsConfig(sessions_per_address=1))) as those:
        ann = await those.join()
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await those.open()
        assert caught.value.status == 429
        await ann.request("leave")
        await ann.ended()
        await those.join()


# --- tokens ------------------------------------------------------------------------------------


def token(**changes: Any) -> str:
    given: dict[str, Any] = {"identity": "ann", "name": "Ann T.", "room": "r", "ttl_s": 60}
    return tokens.mint("k", SECRET, now_s=int(time.time()), **(given | changes))


WITH_KEYS = local_config(auth=AuthConfig(keys=(f"k:{SECRET}",)))


async def test_a_token_gives_identity_name_and_grants() -> None:
    async with clients(WITH_KEYS) as those:
        ann = await those.join(token=token(publish=["camera"], chat=False))
        participant = ann.joined["participant"]
        assert (participant["identity"], participant["name"]) == ("ann", "Ann T.")
        assert participant["grants"] == {
            "publish": ["camera"],
            "subscribe": True,
            "data": True,
            "chat": False,
            "moderate": False,
            "record": False,
            "see_hidden": False,
            "hidden": False,
        }
        assert error(await ann.request("chat", text="x")) == "not_allowed"


async def test_wrong_tokens_are_refused() -> None:
    async with clients(WITH_KEYS) as those:
        for wrong, code in (
            (None, "bad_token"),
            ("x", "bad_token"),
            (token(ttl_s=-60), "token_expired"),
            (token(room="other"), "wrong_room"),
        ):
            members = {} if wrong is None else {"token": wrong}
            assert error(await (await those.open()).join(**members)) == code


async def test_the_http_api_needs_a_token_too_and_shows_its_room() -> None:
    async with clients(WITH_KEYS) as those:
        await those.join(token=token())
        await those.join("other", token=token(room="other"))
        bearer = {"Authorization": f"Bearer {token()}"}
        for path, status in (("rooms", 200), ("stats", 403)):
            url = f"{those.server.http_url}/api/v1/{path}"
            assert (await those.http.get(url)).status == 401
            assert (await those.http.get(url, headers=bearer)).status == status
        rooms = await (await those.http.get(f"{those.server.http_url}/api/v1/rooms", headers=bearer)).json()
        assert [(each["name"], each["participants"]) for each in rooms["rooms"]] == [("r", 1)]


# --- membership --------------------------------------------------------------------------------


async def test_leaving_is_answered_told_and_closed() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        assert (await ben.request("leave", reason="bye"))["type"] == "ok"
        closed, ws_code = await ben.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("left", False, 1000)
        assert await ann.next("participant_left") == {
            "type": "participant_left",
            "participant": ben.me,
            "reason": "left",
        }


async def test_a_dropped_session_resumes() -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await ben.drop()
        assert (await ann.next("participant_updated"))["participant"]["state"] == "reconnecting"
        again = await those.open()
        resumed = await again.join(name="Ben", resume={"participant": ben.me, "secret": ben.joined["secret"]})
        assert resumed["resumed"] is True
        assert resumed["participant"]["id"] == ben.me
        assert (await ann.next("participant_updated"))["participant"]["state"] == "connected"


async def test_grace_ends_in_timeout_and_nothing_can_be_resumed() -> None:
    async with clients(local_config(room=RoomConfig(grace_s=0.05))) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        await ben.drop()
        assert (await ann.next("participant_left"))["reason"] == "timeout"
        again = await those.open()
        wrong = {"participant": ben.me, "secret": ben.joined["secret"]}
        assert error(await again.join(name="Ben", resume=wrong)) == "resume_failed"
        assert (await again.join(name="Ben"))["type"] == "joined", "the WebSocket is still good"


async def test_a_second_session_of_the_participant_replaces_the_first() -> None:
    async with clients() as those:
        ann = await those.join()
        second = await those.open()
        await second.join(resume={"participant": ann.me, "secret": ann.joined["secret"]})
        closed, ws_code = await ann.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("replaced", False, 1000)
        assert (await second.request("ping"))["type"] == "pong"
        assert await sessions(those) == 1


async def test_the_same_identity_replaces() -> None:
    async with clients(WITH_KEYS) as those:
        watcher = await those.join(token=token(identity="watcher"))
        ann = await those.join(token=token())
        await those.join(token=token())
        assert (await ann.ended())[0]["code"] == "replaced"
        left = await watcher.next("participant_left")
        assert (left["participant"], left["reason"]) == (ann.me, "replaced")


async def test_silence_ends_the_session_and_grace_begins() -> None:
    async with clients(timing=Timing(ping_interval_s=0.05)) as those:
        ann = await those.join()
        closed, ws_code = await ann.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("ping_timeout", True, 1008)
        again = await those.open()
        resumed = await again.join(resume={"participant": ann.me, "secret": ann.joined["secret"]})
        assert resumed["resumed"] is True


async def test_the_server_says_goodbye() -> None:
    async with clients() as those:
        ann = await those.join()
        stopping = asyncio.create_task(those.server.stop("test"))
        assert (await ann.next("going_away"))["retry_after_ms"] > 0
        closed, ws_code = await ann.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("going_away", True, 1001)
        await stopping


# --- messages ----------------------------------------------------------------------------------


async def test_chat_reaches_the_others_the_one_and_the_late() -> None:
    async with clients() as those:
        ann, ben, cat = [await those.join(name=name) for name in ("Ann", "Ben", "Cat")]
        answer = await ann.request("chat", text="hello <b>")
        assert answer["type"] == "ok"
        assert set(answer["message"]) == {
            "id", "rev", "from", "identity", "name", "text", "to", "to_identity", "mentions", "file",
            "sent_at_ms", "edited_at_ms", "deleted", "reactions",
        }  # fmt: skip
        for other in (ben, cat):
            assert (await other.next("chat"))["message"] == answer["message"]
        await ann.request("chat", text="psst", to=ben.me)
        assert (await ben.next("chat"))["message"]["to"] == ben.me
        await ann.request("chat", text="all")
        assert (await cat.next("chat"))["message"]["text"] == "all"
        late = await those.join(name="Late")
        assert [m["text"] for m in late.joined["chat"]] == ["hello <b>", "all"]
        assert (late.joined["chat_after"], late.joined["chat_more"]) == (None, False)
        assert late.joined["chat_last"] == 3, "the private one has a number too"


async def test_what_is_wrong_is_said_and_the_session_stays() -> None:
    async with clients(local_config(limits=LimitsConfig(chat_characters=5))) as those:
        ann = await those.join()
        for kind, members, code in (
            ("chat", {"text": "123456"}, "too_large"),
            ("chat", {}, "bad_request"),
            ("chat", {"text": "x", "to": "PA_nobody"}, "not_found"),
            ("mute", {"publication": "TR_x", "muted": True}, "not_found"),
            ("unpublish", {"publication": "TR_x"}, "not_found"),
            ("subscribe", {"publications": ["TR_x"]}, "not_found"),
            ("offer", {"sdp": "v=0", "media": []}, "bad_sdp"),
            ("answer", {"seq": 9, "sdp": "v=0"}, "bad_state"),
            ("restart_ice", {"transport": "subscribe"}, "bad_state"),
            ("restart_ice", {"transport": "publish"}, "bad_state"),
            ("dance", {}, "unknown_type"),
        ):
            assert error(await ann.request(kind, **members)) == code, kind
        for kind, members in (
            ("candidate", {"transport": "publish", "candidate": None}),
            ("unsubscribe", {"publications": ["TR_x"]}),
        ):
            assert (await ann.request(kind, **members))["type"] == "ok"
        stats = await ann.request("stats")
        assert (stats["publications"], stats["subscriptions"], stats["transports"]) == ({}, {}, [])


async def test_garbage_is_an_error_without_id() -> None:
    async with clients() as those:
        ann = await those.join()
        for garbage in ("", "x", "[]", "{", '{"type":NaN}', '{"id":[]}', '"\\ud800"', "[" * 10_000):
            await ann.socket.send_str(garbage)
            answer = await ann.next("error")
            assert (answer["code"], "id" in answer) == ("bad_request", False)
        await ann.socket.send_bytes(b"\x00")
        assert (await ann.next("error"))["code"] == "bad_request"
        assert (await ann.request("ping"))["type"] == "pong"


@pytest.mark.parametrize("garbage", ["{", b"\x00"])
async def test_garbage_counts_as_much_as_any_message(garbage: str | bytes) -> None:
    limits = LimitsConfig(messages_per_s=0.001, message_burst=5)
    async with clients(local_config(limits=limits)) as those:
        ann = await those.join()
        send = ann.socket.send_str if isinstance(garbage, str) else ann.socket.send_bytes
        for _ in range(14):
            await send(garbage)
        assert (await ann.ended())[0]["code"] == "too_many_errors"
        codes = [each["code"] for each in ann.seen if each["type"] == "error"]
        assert codes == ["bad_request"] * 4 + ["rate_limited"] * 9 + ["too_many_errors"]


@pytest.mark.parametrize("garbage", ["{", b"\x00"])
async def test_garbage_before_joined_closes(garbage: str | bytes) -> None:
    async with clients() as those:
        stranger = await those.open()
        send = stranger.socket.send_str if isinstance(garbage, str) else stranger.socket.send_bytes
        await send(garbage)
        assert (await stranger.next("error"))["code"] == "bad_request"
        assert (await stranger.ended())[0]["code"] == "protocol_error"


async def test_without_id_a_request_is_answered_only_when_it_fails() -> None:
    async with clients() as those:
        ann = await those.join()
        await ann.send({"type": "unsubscribe", "publications": ["TR_x"]})
        await ann.send({"type": "chat"})
        assert (await ann.receive())["type"] == "error"


async def test_a_message_that_is_too_large_ends_the_connection_only() -> None:
    async with clients(local_config(limits=LimitsConfig(message_bytes=2000))) as those:
        ann = await those.join()
        await ann.send({"type": "chat", "text": "x" * 3000})
        assert await ann.lost() == 1009
        again = await those.open()
        await again.join(resume={"participant": ann.me, "secret": ann.joined["secret"]})
        assert again.joined["resumed"] is True


async def test_over_the_rate_is_refused_and_ten_in_a_row_close() -> None:
    limits = LimitsConfig(messages_per_s=0.001, message_burst=5)
    async with clients(local_config(limits=limits)) as those:
        ann = await those.join()
        for _ in range(4):
            assert (await ann.request("ping"))["type"] == "pong"
        for _ in range(9):
            assert error(await ann.request("ping")) == "rate_limited"
        assert error(await ann.request("ping")) == "too_many_errors"
        closed, ws_code = await ann.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("too_many_errors", False, 1008)
        assert await sessions(those) == 0


async def test_who_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_QUEUED_BYTES", 300_000)
    limits = LimitsConfig(messages_per_s=10_000, message_burst=10_000, chat_characters=100_000)
    async with clients(local_config(limits=limits)) as those:
        slow, ann = await those.open(compress=0), await those.join()
        await slow.join(name="Slow")
        slow.stop_reading()
        for _ in range(1000):
            # Until the socket's buffers on both sides, which the system sizes, are full.
            await ann.request("chat", text="x" * 100_000)
            if any(m["type"] == "participant_updated" for m in ann.seen):
                break
        updated = await ann.next("participant_updated")
        assert (updated["participant"]["id"], updated["participant"]["state"]) == (slow.me, "reconnecting")
        assert await sessions(those) == 1


async def test_our_bug_closes_only_that_participant(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        monkeypatch.setattr(stats, "of", broken)
        await ben.send({"type": "stats", "id": 1})
        closed, ws_code = await ben.ended()
        assert (closed["code"], closed["reconnect"], ws_code) == ("internal", True, 1011)
        assert (await ann.next("participant_left"))["reason"] == "error"
        assert (await ann.request("ping"))["type"] == "pong"
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


# --- ICE servers -------------------------------------------------------------------------------


async def test_turn_credentials_come_with_joined_and_are_renewed() -> None:
    ice = IceConfig(turn_urls=("turn:turn.example.org",), turn_secret="shared", turn_ttl_s=1)
    async with clients(local_config(ice=ice)) as those:
        ann = await those.join()
        (server,) = ann.joined["ice_servers"]
        assert server["urls"] == ["turn:turn.example.org"]
        assert server["username"].endswith(":" + ann.me)
        renewed = await ann.next("ice_servers")
        assert renewed["ice_servers"][0]["urls"] == server["urls"]


async def test_who_waits_in_the_lobby_has_no_turn_credentials(caplog: pytest.LogCaptureFixture) -> None:
    ice = IceConfig(turn_urls=("turn:turn.example.org",), turn_secret="shared", turn_ttl_s=86_400)
    async with clients(local_config(ice=ice)) as those:
        assert "gets credentials of the TURN server" in caplog.text
        ann, ben = await those.join(template="consultation"), await those.open()
        waiting = await ben.join()
        assert waiting["type"] == "waiting"
        assert "turn" not in str(waiting)
        assert (await ann.request("admit"))["type"] == "ok"
        joined = await ben.next("joined")
        expires, _, whose = joined["ice_servers"][0]["username"].partition(":")
        assert whose == joined["participant"]["id"]
        assert int(expires) <= time.time() + OPEN_TTL_S, "short where nobody has a token"


# --- origin and HTTP ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "allowed", "accepted"),
    [
        (None, (), True),
        ("own", (), True),
        ("https://evil.example", (), False),
        ("null", (), False),
        ("https://app.example", ("https://app.example",), True),
        ("https://evil.example", ("*",), True),
    ],
)
async def test_origins(origin: str | None, allowed: tuple[str, ...], accepted: bool) -> None:
    config = local_config(
        server=ServerConfig(host="127.0.0.1", port=0, https_port=-1, allowed_origins=allowed)
    )
    async with clients(config) as those:
        own = those.server.http_url if origin == "own" else origin
        headers = {"Origin": own} if own else {}
        if accepted:
            assert isinstance(await those.open(headers=headers), Signal)
            return
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await those.open(headers=headers)
        assert caught.value.status == 403


async def test_http_pages_and_overview() -> None:
    async with clients() as those:
        ann = await those.join()
        url = those.server.http_url
        assert (await (await those.http.get(url + "/healthz")).json()) == {"status": "ok"}
        bearer = {"Authorization": f"Participant {ann.me}:{ann.joined['secret']}"}
        rooms = await (await those.http.get(url + "/api/v1/rooms", headers=bearer)).json()
        assert [(each["name"], each["participants"]) for each in rooms["rooms"]] == [("r", 1)]
        stats = await (await those.http.get(url + "/api/v1/stats")).json()
        assert (stats["rooms"], stats["participants"], stats["sessions"]) == (1, 1, 1)
        assert json.dumps(stats)


async def test_stopping_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with clients() as those:
        for number in range(5):
            await those.join(f"room {number}")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_joins_and_leaves_leave_tasks_where_they_were() -> None:
    async with clients() as those:
        await those.join("warm-up")
        before = len(asyncio.all_tasks())
        for _ in range(200):
            ann = await those.join()
            await ann.request("leave")
            await ann.ended()
        await until(lambda: len(asyncio.all_tasks()) <= before)
        assert await sessions(those) == 1
