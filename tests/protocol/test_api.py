"""The HTTP API over a real server: what it does in rooms, who may, and its document."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from signalling import Clients, Signal, clients, local_config

from sfu.config import AuthConfig, Config, LimitsConfig, RoomConfig, StorageConfig
from sfu.server import tokens
from sfu.server.api.document import document, errors_of
from sfu.server.api.endpoint import PREFIX, STATUS, Endpoint

KEY, SECRET = "key", "a secret that is long enough for HS256"


def token(
    room: str = "r", role: str = "owner", identity: str = "head", ttl_s: int = 600, **grants: bool
) -> str:
    return tokens.mint(
        KEY, SECRET, identity=identity, name=identity.title(), room=room, now_s=int(time.time()), ttl_s=ttl_s,
        role=role, jti=f"j-{identity}", **grants,
    )  # fmt: skip


def admin() -> str:
    return tokens.mint_admin(KEY, SECRET, identity="root", now_s=int(time.time()), ttl_s=600, jti="j-root")


def guarded(**sections: Any) -> Config:
    return local_config(
        auth=AuthConfig(keys=(f"{KEY}:{SECRET}",), max_failures=10_000),
        limits=LimitsConfig(api_per_s=10_000, api_burst=10_000),
        **sections,
    )


class Caller:
    """Requests with one credential; every answer is held to the document."""

    def __init__(self, those: Clients, credential: str = "") -> None:
        self._http = those.http
        self._base = those.server.http_url + PREFIX
        self._headers = {"Authorization": credential} if credential else {}
        self._described: Any = None
        self.status = 0

    @classmethod
    def bearer(cls, those: Clients, token: str) -> Caller:
        return cls(those, f"Bearer {token}")

    @classmethod
    def participant(cls, those: Clients, who: Signal) -> Caller:
        return cls(those, f"Participant {who.me}:{who.joined['secret']}")

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer's JSON; of a refusal its error."""
        params = {name: str(value) for name, value in query.items()}
        async with self._http.request(
            method, self._base + path, json=body, params=params, headers=self._headers
        ) as answer:
            self.status = answer.status
            if answer.content_type != "application/json":
                found: Any = await answer.text()
            else:
                found = await answer.json()
        await self._hold_to_document(method, path, answer.content_type, found)
        return found.get("error", found) if isinstance(found, dict) else found

    async def _hold_to_document(self, method: str, path: str, content_type: str, found: Any) -> None:
        """Status, type and form are those that the document promises."""
        if self._described is None:
            async with self._http.get(self._base + "/openapi.json") as answer:
                self._described = await answer.json()
        (operation,) = (
            methods[method.lower()]
            for pattern, methods in self._described["paths"].items()
            if method.lower() in methods and re.fullmatch(re.sub("{[^}]+}", "[^/]+", pattern), PREFIX + path)
        )
        content = operation["responses"][str(self.status)]["content"]
        schema = {**content[content_type]["schema"], "components": self._described["components"]}
        Draft202012Validator(schema).validate(found)
        if "error" in found and self.status >= 400:
            promised = re.findall("`([a-z_]+)`", operation["responses"][str(self.status)]["description"])
            assert found["error"]["code"] in promised, (method, path, found)


@contextlib.asynccontextmanager
async def room_with(*names: str, config: Config | None = None) -> AsyncIterator[tuple[Clients, list[Signal]]]:
    async with clients(config or guarded()) as those:
        roles = {"ann": "owner"}
        yield (
            those,
            [
                await those.join(name=name, token=token(role=roles.get(name, "participant"), identity=name))
                for name in names
            ],
        )


async def test_rooms_are_listed_opened_changed_and_closed() -> None:
    async with room_with("ann") as (those, (ann,)):
        boss, head = Caller.bearer(those, admin()), Caller.bearer(those, token())
        made = await boss.ask(
            "POST", "/rooms", {"name": "lab", "template": "classroom", "lobby": True, "keep_s": 60}
        )
        assert (boss.status, made["template"], made["lobby"]) == (201, "classroom", True)
        assert (await boss.ask("POST", "/rooms", {"name": "lab"}))["code"] == "bad_state"
        assert [each["name"] for each in (await boss.ask("GET", "/rooms"))["rooms"]] == ["lab", "r"]
        assert [each["name"] for each in (await head.ask("GET", "/rooms"))["rooms"]] == ["r"]
        changed = await head.ask("PATCH", "/rooms/r", {"locked": True, "spotlight": {"participant": ann.me}})
        assert (changed["locked"], changed["spotlight"]["participant"]) == (True, ann.me)
        told = [(await ann.next("room_updated"))["room"] for _ in range(2)]
        assert [each["locked"] for each in told] == [False, True]
        refused = await head.ask("PATCH", "/rooms/r", {"locked": False, "spotlight": {"participant": "PA_x"}})
        assert refused["code"] == "not_found"
        assert (await head.ask("GET", "/rooms/r"))["locked"], "a refusal changes nothing"
        assert (await head.ask("PATCH", "/rooms/r", {"spotlight": None}))["spotlight"] is None
        await head.ask("POST", "/rooms/r/broadcast", {"text": "fire drill"})
        assert (await ann.next("broadcast"))["text"] == "fire drill"
        other = Caller.bearer(those, token(role="participant", identity="aide", moderate=True))
        assert (await other.ask("DELETE", "/rooms/r"))["code"] == "not_allowed", "owners are in it"
        assert await head.ask("DELETE", "/rooms/r") == {"removed": 1}
        assert (await ann.ended())[0]["code"] == "removed"
        assert (await head.ask("GET", "/rooms/r"))["code"] == "not_found"
        await boss.ask("POST", "/rooms", {"name": "annex"})
        first = (await boss.ask("GET", "/rooms", limit=1))["rooms"]
        rest = (await boss.ask("GET", "/rooms", after=first[0]["name"]))["rooms"]
        assert [each["name"] for each in (*first, *rest)] == ["annex", "lab"]


async def test_participants_are_seen_changed_muted_and_removed() -> None:
    async with room_with("ann", "ben") as (those, (_, ben)):
        head = Caller.bearer(those, token())
        listed = (await head.ask("GET", "/rooms/r/participants"))["participants"]
        assert [each["name"] for each in listed] == ["Ann", "Ben"]
        page = await head.ask("GET", "/rooms/r/participants", after=listed[0]["id"], limit=1)
        assert page["participants"] == listed[1:]
        assert (await head.ask("GET", "/rooms/r/participants", after="PA_x"))["code"] == "not_found"
        path = f"/rooms/r/participants/{ben.me}"
        both = await head.ask("PATCH", path, {"role": "presenter", "grants": {"chat": False}})
        assert both["code"] == "bad_request", "the second could be refused when the first is done"
        await head.ask("PATCH", path, {"role": "presenter"})
        changed = await head.ask("PATCH", path, {"grants": {"chat": False}})
        assert (changed["role"], changed["grants"]["chat"]) == ("presenter", False)
        assert (await ben.request("chat", text="hello"))["code"] == "not_allowed"
        opened = await head.ask("POST", "/rooms/r/breakouts", {"names": ["one", "two"]})
        assert [each["name"] for each in opened["breakouts"]] == ["one", "two"]
        assert (await head.ask("PATCH", path, {"breakout": 2}))["breakout"] == 2
        assert (await head.ask("DELETE", "/rooms/r/breakouts"))["breakouts"] == []
        assert (await head.ask("GET", path))["breakout"] is None
        assert (await head.ask("POST", path + "/mute", {}))["id"] == ben.me
        assert await head.ask("POST", "/rooms/r/mute", {"source": "camera"}) == {}
        await head.ask("DELETE", path, revoke="true")
        assert (await ben.ended())[0]["code"] == "removed"
        again = await those.open()
        refused = await again.request(
            "join", version=1, room="r", name="Ben", token=token(role="participant", identity="ben")
        )
        assert refused["code"] == "token_revoked"
        assert (await head.ask("GET", path))["code"] == "not_found"


async def test_a_participant_acts_with_the_rights_of_this_moment() -> None:
    async with room_with("ann", "ben") as (those, (ann, ben)):
        one, other = Caller.participant(those, ann), Caller.participant(those, ben)
        assert (await other.ask("PATCH", "/rooms/r", {"locked": True}))["code"] == "not_allowed"
        assert (await one.ask("PATCH", "/rooms/r", {"locked": True}))["locked"] is True
        await one.ask("PATCH", f"/rooms/r/participants/{ben.me}", {"grants": {"moderate": True}})
        assert (await other.ask("PATCH", "/rooms/r", {"locked": False}))["locked"] is False
        owner = await other.ask("DELETE", f"/rooms/r/participants/{ann.me}")
        assert owner["code"] == "not_allowed", "only owners touch owners"


async def test_a_room_ends_when_the_last_one_is_removed_from_outside() -> None:
    async with room_with("ann", config=guarded(room=RoomConfig(empty_s=0))) as (those, (ann,)):
        boss = Caller.bearer(those, admin())
        await boss.ask("DELETE", f"/rooms/r/participants/{ann.me}")
        await ann.ended()
        while (await boss.ask("GET", "/rooms"))["rooms"]:
            await asyncio.sleep(0)


async def test_a_token_of_who_is_there_has_the_rights_of_this_moment_too() -> None:
    async with room_with("ann") as (those, _):
        aide = token(role="participant", identity="aide", moderate=True)
        other = await those.join(name="aide", token=aide)
        outside, head = Caller.bearer(those, aide), Caller.bearer(those, token())
        assert (await outside.ask("PATCH", "/rooms/r", {"locked": True}))["locked"]
        await head.ask("PATCH", f"/rooms/r/participants/{other.me}", {"grants": {"moderate": False}})
        assert (await outside.ask("PATCH", "/rooms/r", {"locked": False}))["code"] == "not_allowed"
        assert len((await outside.ask("GET", "/rooms/r/participants"))["participants"]) == 2


async def test_a_token_alone_does_not_see_into_a_room(declared: list[Endpoint]) -> None:
    """Who waits in the lobby has one, and who was removed."""
    inside = [each for each in declared if each.needs in {"inside", "follow", "chat"}]
    assert {each.path for each in inside} > {"/rooms/{room}/participants", "/rooms/{room}/messages"}
    async with room_with("ann", "ben") as (those, (_, ben)):
        head, hers = Caller.bearer(those, token()), token(role="participant", identity="cat")
        bearer, former = Caller.bearer(those, hers), Caller.participant(those, ben)
        member = Caller.bearer(those, token(role="participant", identity="ben"))
        assert (await member.ask("GET", "/rooms/r"))["name"] == "r"
        await head.ask("PATCH", "/rooms/r", {"lobby": True})
        await head.ask("DELETE", f"/rooms/r/participants/{ben.me}")
        await ben.ended()
        await head.ask("POST", "/rooms/r/readmit", {"identity": "ben"})
        waits = await those.open()
        waiting = await waits.request("join", version=1, room="r", name="Cat", token=hers)
        assert waiting["type"] == "waiting"
        for each in inside:
            assert (await bearer.ask(each.method, path_of(each, "r")))["code"] == "not_allowed", each
            assert (await former.ask(each.method, path_of(each, "r")))["code"] == "bad_token", each


async def test_the_lobby_is_answered_from_outside() -> None:
    async with room_with("ann") as (those, _):
        head = Caller.bearer(those, token())
        await head.ask("PATCH", "/rooms/r", {"lobby": True})
        waits = await those.open()
        await waits.request(
            "join", version=1, room="r", name="Ben", token=token(role="participant", identity="ben")
        )
        (waiting,) = (await head.ask("GET", "/rooms/r/lobby"))["waiting"]
        assert waiting["name"] == "Ben"
        await head.ask("POST", f"/rooms/r/lobby/{waiting['id']}", {"admit": True})
        assert (await waits.next("joined"))["participant"]["name"] == "Ben"


async def test_messages_are_read_written_searched_and_taken_out() -> None:
    async with room_with("ann", "ben") as (those, (ann, ben)):
        head = Caller.bearer(those, token())
        for text in ("one", "two"):
            await ann.request("chat", text=text)
        await ann.request("chat", text="for Ben alone", to=ben.me)
        sent = await head.ask("POST", "/rooms/r/messages", {"text": "from outside"})
        assert (head.status, sent["name"], sent["identity"]) == (201, "Head", "head")
        told = [(await ben.next("chat"))["message"]["text"] for _ in range(4)]
        assert told[-1] == "from outside"
        listed = await head.ask("GET", "/rooms/r/messages", limit=10)
        assert [each["text"] for each in listed["messages"]] == ["one", "two", "from outside"]
        found = await head.ask("GET", "/rooms/r/messages", text="OUTSIDE")
        assert [each["id"] for each in found["messages"]] == [sent["id"]]
        gone = await head.ask("DELETE", "/rooms/r/messages/1")
        assert gone["deleted"]
        assert (await ann.next("chat_updated"))["message"]["deleted"]
        boss = Caller.bearer(those, admin())
        said = await boss.ask("POST", "/rooms/r/messages", {"text": "dong", "identity": "bell"})
        assert (said["identity"], said["name"]) == ("bell", "bell")
        as_other = await head.ask("POST", "/rooms/r/messages", {"text": "dong", "identity": "ann"})
        assert as_other["code"] == "not_allowed", "only administrators are believed"
        for path in ("/rooms/r/messages/1", "/rooms/r/messages/3", "/rooms/r/messages/x"):
            assert (await head.ask("DELETE", path))["code"] == "not_found", path


async def test_sessions_attendance_and_audit_tell_what_was(tmp_path: Path) -> None:
    config = guarded(storage=StorageConfig(url=f"sqlite:///{tmp_path}/sfu.db"))
    async with room_with("ann", "ben", config=config) as (those, (_, ben)):
        head, boss = Caller.bearer(those, token()), Caller.bearer(those, admin())
        await head.ask("DELETE", f"/rooms/r/participants/{ben.me}")

        async def ended() -> Any:
            found = (await head.ask("GET", "/rooms/r/sessions"))["sessions"]
            return found if any(each["reason"] for each in found) else None

        sessions = None
        while sessions is None:
            sessions = await ended()
        assert {each["identity"]: each["reason"] for each in sessions} == {"ben": "removed", "ann": None}
        assert "Ben" in await head.ask("GET", "/rooms/r/attendance.csv")
        entries: list[Any] = []
        while not entries:
            entries = (await boss.ask("GET", "/audit", room="r"))["entries"]
        assert (entries[0]["identity"], entries[0]["action"]) == ("head", "remove")
        assert (await boss.ask("GET", "/audit", before=entries[-1]["id"]))["entries"] == []
        made = await boss.ask("POST", "/tokens", {"room": "r", "identity": "cam"})
        await boss.ask("DELETE", f"/tokens/{made['jti']}")
        await head.ask("DELETE", "/rooms/r")
        wanted = {("root", "make_token"), ("root", "revoke_token"), ("head", "close_room")}
        while not wanted <= {(each["identity"], each["action"]) for each in entries}:
            entries = (await boss.ask("GET", "/audit"))["entries"]
        assert made["token"] not in str(entries)


async def test_an_administrator_makes_and_revokes_tokens() -> None:
    async with clients(guarded()) as those:
        boss = Caller.bearer(those, admin())
        made = await boss.ask(
            "POST", "/tokens", {"room": "r", "identity": "cam", "role": "device", "grants": {"data": False}}
        )
        camera = await those.join(name="cam", token=made["token"])
        me = camera.joined["participant"]
        assert (me["identity"], me["role"], me["grants"]["data"]) == ("cam", "device", False)
        await boss.ask("DELETE", f"/tokens/{made['jti']}")
        assert (await Caller.bearer(those, made["token"]).ask("GET", "/rooms"))["code"] == "token_revoked"
        signal = await those.open()
        refused = await signal.request("join", version=1, room="r", name="root", token=admin())
        assert refused["code"] == "wrong_room", "an administrator's token joins nothing"


async def test_without_keys_nobody_is_an_administrator() -> None:
    async with clients() as those:
        ann, _ = await those.join(), await those.join("other")
        boss = Caller.bearer(those, admin())
        assert (await boss.ask("GET", "/audit"))["code"] == "not_allowed"
        listed = await Caller.participant(those, ann).ask("GET", "/rooms")
        assert [each["name"] for each in listed["rooms"]] == ["r"], "its own room alone"


async def test_files_are_listed_and_deleted() -> None:
    async with room_with("ann", "ben") as (those, (ann, ben)):
        head, other = Caller.bearer(those, token()), Caller.participant(those, ben)
        own = Caller.participant(those, ann)
        begun = await own.ask("POST", "/rooms/r/files", {"name": "a.txt", "bytes": 5})
        headers = {"Authorization": f"Participant {ann.me}:{ann.joined['secret']}"}
        url = f"{those.server.http_url}{PREFIX}/rooms/r/files/{begun['id']}"
        async with those.http.patch(url, params={"offset": "0"}, data=b"hello", headers=headers) as answer:
            assert answer.status == 200
        assert (await head.ask("GET", "/rooms/r/files"))["files"] == [], "nobody has been shown it"
        await ann.request("chat", text="", file=begun["id"])
        (file,) = (await head.ask("GET", "/rooms/r/files"))["files"]
        assert file["name"] == "a.txt"
        assert (await other.ask("DELETE", f"/rooms/r/files/{file['id']}"))["code"] == "not_allowed"
        assert await head.ask("DELETE", f"/rooms/r/files/{file['id']}") == {}
        assert (await head.ask("GET", "/rooms/r/files"))["files"] == []
        assert (await own.ask("GET", f"/rooms/r/files/{file['id']}"))["code"] == "not_found"
        (line,) = (await Caller.bearer(those, admin()).ask("GET", "/audit"))["entries"]
        assert (line["identity"], line["action"], line["detail"]["of"]) == ("head", "file_delete", "ann")


# --- every endpoint, by its declaration ---------------------------------------------------------


def path_of(endpoint: Endpoint, room: str) -> str:
    return re.sub(r"{\w+}", "1", endpoint.path.replace("{room}", room))


def body_of(endpoint: Endpoint) -> Any:
    return {} if endpoint.body is not None else None


async def test_every_endpoint_refuses_who_may_not(declared: list[Endpoint]) -> None:
    async with room_with("ann", "ben") as (those, (_, ben)):
        eve = await those.join("other", name="eve", token=token("other", identity="eve"))
        nobody, forged = Caller(those), Caller(those, "Bearer nonsense")
        late, revoked = Caller.bearer(those, token(ttl_s=-60)), Caller.bearer(those, token(identity="gone"))
        await Caller.bearer(those, admin()).ask("DELETE", "/tokens/j-gone")
        neighbour = Caller.participant(those, eve)
        elsewhere, student = Caller.bearer(those, token("other")), Caller.participant(those, ben)
        mute = Caller.bearer(those, token(role="observer", identity="watcher"))
        for each in declared:
            if each.needs == "nothing":
                continue
            for caller in (nobody, forged):
                refused = await caller.ask(each.method, path_of(each, "r"), body_of(each))
                assert (caller.status, refused["code"]) == (401, "bad_token"), each
            for caller, code in ((late, "token_expired"), (revoked, "token_revoked")):
                refused = await caller.ask(each.method, path_of(each, "r"), body_of(each))
                assert (caller.status, refused["code"]) == (401, code), each
            if each.needs != "server":
                refused = await neighbour.ask(each.method, path_of(each, "r"), body_of(each))
                assert (neighbour.status, refused["code"]) == (401, "bad_token"), each
            if "{room}" in each.path:
                refused = await elsewhere.ask(each.method, path_of(each, "r"), body_of(each))
                assert (elsewhere.status, refused["code"]) == (403, "wrong_room"), each
            if each.needs in {"moderate", "admin"}:
                refused = await mute.ask(each.method, path_of(each, "r"), body_of(each))
                assert refused["code"] == "not_allowed", each
            if each.needs == "moderate":
                refused = await student.ask(each.method, path_of(each, "r"), body_of(each))
                assert refused["code"] == "not_allowed", each
            if each.needs == "chat":
                refused = await mute.ask(each.method, path_of(each, "r"), body_of(each))
                assert refused["code"] == "not_allowed", each


async def test_guessing_locks_an_address_out_of_the_api() -> None:
    auth = AuthConfig(keys=(f"{KEY}:{SECRET}",), max_failures=2)
    async with clients(local_config(auth=auth)) as those:
        forged, secret = Caller(those, "Bearer nonsense"), Caller(those, "Participant PA_x:nonsense")
        for each in (forged, secret):
            assert (await each.ask("GET", "/rooms/r/files/1"))["code"] == "bad_token"
        assert (await forged.ask("GET", "/rooms"))["code"] == "locked_out"
        late = await (await those.open()).request("join", version=1, room="r", name="a", token="x")
        assert late["code"] == "locked_out", "there is one lock for both doors"
        assert "rooms" in await Caller.bearer(those, token()).ask("GET", "/rooms"), "a good one counts"


async def test_every_endpoint_is_documented(declared: list[Endpoint]) -> None:
    async with clients(guarded()) as those:
        described = await Caller(those).ask("GET", "/openapi.json")
        assert described == document(declared)
        served = {
            (route.method, route.resource.canonical)
            for route in those.server._runner.app.router.routes()  # type: ignore[union-attr]
            if route.resource is not None
            and route.resource.canonical.startswith("/api/")
            and route.resource.canonical != "/api/v1/docs"
        }
    documented = {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }
    assert {each for each in served if each[0] != "HEAD"} == documented
    for each in declared:
        assert set(errors_of(each)) <= STATUS.keys()
        if each.answer is not None:
            Draft202012Validator.check_schema(each.answer)


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nothing", {}, 404, "not_found"),
        ("PUT", "/rooms", {}, 405, "method_not_allowed"),
        ("PATCH", "/rooms/r", {"data": b"{"}, 400, "bad_request"),
        ("PATCH", "/rooms/r", {"data": b"\xff"}, 400, "bad_request"),
        ("PATCH", "/rooms/r", {"json": {"lock": True}}, 400, "bad_request"),
        ("PATCH", "/rooms/r", {"json": {"locked": "yes"}}, 400, "bad_request"),
        ("PATCH", "/rooms/r", {"data": b"[" * 100_000}, 413, "too_large"),
        ("POST", "/rooms/r/broadcast", {"data": b'{"text": "\\ud800"}'}, 400, "bad_request"),
        ("GET", "/rooms/r/sessions", {"params": {"limit": "0"}}, 400, "bad_request"),
        ("GET", "/rooms/r/sessions", {"params": {"limit": "x"}}, 400, "bad_request"),
        ("GET", "/rooms/r/sessions", {"params": {"limits": "1"}}, 400, "bad_request"),
        ("GET", "/rooms/" + "x" * 200, {}, 403, "wrong_room"),
    ],
)
async def test_bad_requests_have_codes(
    method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    async with room_with("ann") as (those, _):
        headers = {"Authorization": f"Bearer {token()}"}
        url = those.server.http_url + PREFIX + path
        async with those.http.request(method, url, headers=headers, **options) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_too_many_requests_are_refused() -> None:
    limits = LimitsConfig(api_per_s=0.001, api_burst=2)
    async with clients(local_config(limits=limits)) as those:
        caller = Caller(those)
        assert "rooms" in await caller.ask("GET", "/stats")  # and the document once, to hold it to
        assert (await caller.ask("GET", "/stats"))["code"] == "rate_limited"
        assert caller.status == 429


@pytest.fixture
async def declared() -> list[Endpoint]:
    """The endpoints of a server, by which nothing is called."""
    from sfu.server.api import routes

    kept: list[Endpoint] = []
    original = routes.endpoints

    def keep(*arguments: Any) -> list[Endpoint]:
        kept[:] = original(*arguments)
        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "endpoints", keep)
        async with clients(guarded()):
            pass
    return kept


async def test_limits_of_alarms_are_set_and_alarms_acknowledged_from_outside() -> None:
    async with clients(guarded()) as those:
        cam = await those.join(name="Cam", token=token(identity="cam", role="device"))
        pulse = {"name": "pulse / 1", "title": "Pulse", "low": 50, "high": 120}
        await cam.request("telemetry_declare", series=[pulse])
        sample = ["pulse / 1", time.time_ns() // 1_000_000, 100]
        await cam.request("telemetry", samples=[sample])
        head = Caller.bearer(those, token())
        one = f"/rooms/r/participants/{cam.me}/telemetry/pulse%20%2F%201"
        found = await head.ask("PATCH", one, {"low": None, "high": 90.5})
        assert (head.status, found["low"], found["high"], found["title"]) == (200, None, 90.5, "Pulse")
        alarm = (await cam.next("alarm"))["alarm"]
        assert (alarm["state"], alarm["side"], alarm["limit"], alarm["value"]) == (
            "raised",
            "high",
            90.5,
            100,
        )
        assert await head.ask("POST", one + "/acknowledge") == {}
        assert (await cam.next("alarm"))["alarm"]["state"] == "acknowledged"
        assert (await head.ask("POST", one + "/acknowledge"))["code"] == "bad_state"
        assert (await head.ask("PATCH", one, {"low": 90, "high": 90}))["code"] == "bad_request"
        assert (await head.ask("PATCH", one, {"high": 90}))["code"] == "bad_request"
        unknown = one.replace("pulse", "other")
        assert (await head.ask("PATCH", unknown, {"low": 1, "high": 2}))["code"] == "not_found"
        nobody = Caller.bearer(those, token(identity="ben", role="participant"))
        assert (await nobody.ask("PATCH", one, {"low": 1, "high": 2}))["code"] == "not_allowed"
        log = await Caller.bearer(those, admin()).ask("GET", "/audit", room="r")
        acts = [each for each in log["entries"] if "telemetry_thresholds" in repr(each)]
        assert [each["identity"] for each in acts] == ["head"]
