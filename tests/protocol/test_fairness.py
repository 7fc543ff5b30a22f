"""One participant's requests, each at its allowed maximum, hold up nobody: work is counted, time is virtual.

The clock by which a turn of the event loop grows old is what requests cost, so the same turns come out on
every machine. A bystander that does nothing but look, once in each turn of the loop, notes how much was done
since it looked last. The list of requests is that of the parsers and of the endpoints: one that is missing
here fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from signalling import Clients, Signal, clients, local_config, until
from stored import message

from sfu import clock
from sfu.config import AuthConfig, Config, LimitsConfig
from sfu.ids import RoomName
from sfu.room.board import MAX_POINTS, MAX_STROKE_POINTS, Stroke
from sfu.sdp.model import MAX_ATTRIBUTES, MAX_OFFERED
from sfu.server import conference, costs, frames, requests, tokens, wire
from sfu.server.api.endpoint import PREFIX
from sfu.server.fairness import PEOPLE_AT_A_HOST, TURN_S, Account, Turns
from sfu.server.queries import SAMPLES_AT_ONCE, Queries
from sfu.server.session import LONG_ANSWER, MAX_UNANSWERED
from sfu.store import messages, samples
from sfu.store.messages import SEARCHED_AT_ONCE
from sfu.store.samples import StoredSample

KEY, SECRET = "app", "s" * 32
AT_ONCE = 150
"""Copies of a request in one write; less than `limits.message_burst`."""
TURN_US = 50_000
"""CPU time charged between two turns of a bystander: what a ping may wait at most."""
TURN_REQUESTS = TURN_S * 1e6 / costs.UNKNOWN_US + 1
"""Requests between two turns of a bystander: those that cost least."""
TURN_CHARACTERS = 1_500_000
"""Encoded between two turns of a bystander."""

LONG = "\U0001f600"


def sdp(lines: int = MAX_OFFERED) -> str:
    head = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE "
        f"{' '.join(map(str, range(lines)))}\r\na=ice-ufrag:abcd\r\na=ice-pwd:{'x' * 24}\r\n"
        f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\n"
    )
    more = "".join(f"a=ssrc:{n} x\r\n" for n in range(MAX_ATTRIBUTES // lines - 12))
    return head + "".join(
        f"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sendonly\r\n"
        "a=rtcp-mux\r\n"
        "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" + more
        for mid in range(lines)
    )


def _series(count: int) -> list[dict[str, Any]]:
    return [{"name": f"s{n}", "title": "t" * 64, "unit": "u" * 32, "silent_s": 60} for n in range(count)]


SOMEBODY = "PA_somebody"
LARGEST: dict[str, dict[str, Any]] = {
    "join": {"version": 1, "room": "full", "name": "n" * 64, "token": "t" * 8192},
    "leave": {"reason": "r" * 256},
    "ping": {"t": 1},
    "offer": {"sdp": sdp(), "media": [{"mid": str(n), "source": "camera"} for n in range(MAX_OFFERED)]},
    "answer": {"seq": 1, "sdp": sdp(200)},
    "candidate": {"transport": "publish", "candidate": {"candidate": "c" * 1024}},
    "restart_ice": {"transport": "subscribe"},
    "mute": {"publication": "TR_x", "muted": True},
    "unpublish": {"publication": "TR_x"},
    "subscribe": {"publications": [f"TR_{n:060}" for n in range(1000)], "width": 640},
    "unsubscribe": {"publications": [f"TR_{n:060}" for n in range(1000)]},
    "data_topics": {"topics": ["t" * 50] * 20},
    "stats": {},
    "board": {},
    "revoke": {"participant": SOMEBODY},
    "chat": {"text": LONG * 4000},
    "chat_edit": {"message": 100, "text": LONG * 4000},
    "chat_delete": {"message": 99},
    "chat_react": {"message": 98, "emoji": "👍"},
    "chat_read": {"message": 100},
    "chat_typing": {},
    "chat_history": {"limit": 100},
    "chat_search": {"text": "z" * 100, "limit": 100},
    "set_role": {"participant": SOMEBODY, "role": "presenter"},
    "set_grants": {"participant": SOMEBODY, "grants": {"chat": False}},
    "mute_participant": {"participant": SOMEBODY},
    "mute_all": {},
    "remove": {"participant": SOMEBODY},
    "set_room": {"locked": False, "lobby": False, "silenced": True},
    "spotlight": {},
    "admit": {},
    "deny": {"waiting": "w"},
    "open_breakouts": {"names": [f"{n:064}" for n in range(50)]},
    "assign_breakout": {"participants": [SOMEBODY] * 1000, "breakout": 1},
    "close_breakouts": {},
    "broadcast": {"text": LONG * 500},
    "set_recording": {"on": True},
    "raise_hand": {"raised": True},
    "lower_hand": {},
    "call_on": {"participant": SOMEBODY},
    "ask": {"text": LONG * 500},
    "vote_question": {"question": 1, "voted": True},
    "answer_question": {"question": 1, "answer": LONG * 2000},
    "remove_question": {"question": 1},
    "open_poll": {"question": LONG * 500, "options": [LONG * 200] * 10},
    "vote_poll": {"poll": 1, "choices": list(range(10))},
    "close_poll": {"poll": 1},
    "remove_poll": {"poll": 1},
    "react": {"reaction": "👍"},
    "draw": {
        "stroke": "s", "color": "#112233", "width": 9,
        "points": [[n % 10_000, n * 7919 % 10_000] for n in range(MAX_STROKE_POINTS)],
    },
    "erase": {"stroke": "s"},
    "clear_board": {},
    "state_set": {"key": "k" * 128, "value": LONG * 4000},
    "state_delete": {"key": "k" * 128},
    "telemetry_declare": {"series": _series(32)},
    "telemetry": {"samples": [["s0", 1, n] for n in range(500)]},
    "telemetry_thresholds": {"participant": SOMEBODY, "series": "s0", "low": 1, "high": 2},
    "alarm_acknowledge": {"participant": SOMEBODY, "series": "s0"},
}  # fmt: skip
"""Each request at the maximum that its parser allows, in a room that is full of everything."""

BODIES: dict[str, dict[str, Any]] = {
    "POST /rooms": {"name": "full"},
    "PATCH /rooms/{room}": {"locked": False},
    "POST /rooms/{room}/broadcast": {"text": LONG * 500},
    "POST /rooms/{room}/breakouts": {"names": [f"{n:064}" for n in range(50)]},
    "PATCH /rooms/{room}/participants/{participant}": {"grants": {"chat": True}},
    "POST /rooms/{room}/participants/{participant}/mute": {},
    "POST /rooms/{room}/mute": {},
    "POST /rooms/{room}/lobby/{waiting}": {"admit": True},
    "POST /rooms/{room}/readmit": {"identity": "i" * 128},
    "POST /rooms/{room}/messages": {"text": LONG * 4000},
    "POST /rooms/{room}/files": {"name": "n" * 255, "bytes": 1},
    "PATCH /rooms/{room}/participants/{participant}/telemetry/{series}": {"low": 1, "high": 2},
    "POST /tokens": {"room": "full", "identity": "i" * 128},
}
QUERIES = {
    "GET /rooms/{room}/messages": ["limit=100", "text=zzzz"],
    "GET /rooms/{room}/telemetry": ["step_ms=1"],
}
LAST = ("DELETE /rooms/{room}",)
"""What ends the room that the others are asked about."""


@dataclass
class Work:
    """What was done since the bystander looked last, and the most of each that ever was."""

    done: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    charged_us: float = 0.0

    def add(self, what: str, amount: float) -> None:
        self.done[what] = self.done.get(what, 0) + amount

    def look(self) -> None:
        for what, amount in self.done.items():
            self.most[what] = max(self.most.get(what, 0), amount)
        self.done.clear()


@contextlib.contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Count what requests are charged, how many are done, what is encoded, and which rows are read."""
    work = Work()

    def before(target: Any, name: str, count: Callable[..., None]) -> None:
        inner = getattr(target, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            count(*args, **kwargs)
            return inner(*args, **kwargs)

        monkeypatch.setattr(target, name, outer)

    def charged(account: Account, amount_us: float, now_us: int) -> None:
        work.add("us", amount_us)
        work.charged_us += amount_us

    before(Account, "charge", charged)
    take = Turns.take

    async def taken(turns: Turns, account: Account, cost_us: float) -> None:
        """What is paid at once is done when the turn has come."""
        charged(account, -cost_us, 0)
        await take(turns, account, cost_us)
        charged(account, cost_us, 0)

    monkeypatch.setattr(Turns, "take", taken)
    before(requests, "request_id", lambda *_: work.add("requests", 1))
    before(frames, "_deflate", lambda payload: work.add("characters", len(payload)))
    before(Queries, "read", lambda self, account, rows, characters=0: work.add("rows", rows))
    before(Queries, "_looked", lambda self, account, rows: work.add("scanned", rows))
    dumps = wire.dumps

    def counted(value: Any) -> str:
        text = dumps(value)
        work.add("characters", len(text))
        return text

    monkeypatch.setattr(wire, "dumps", counted)
    monkeypatch.setattr(conference, "Turns", lambda: Turns(lambda: work.charged_us / 1e6))
    yield work


def within_bounds(work: Work, what: str) -> None:
    most = work.most
    assert most.get("us", 0) <= TURN_US, (what, most)
    assert most.get("requests", 0) <= TURN_REQUESTS, (what, most)
    assert most.get("characters", 0) <= TURN_CHARACTERS, (what, most)
    assert most.get("rows", 0) <= 2 * samples.PAGE, (what, most)
    assert most.get("scanned", 0) <= max(SAMPLES_AT_ONCE, SEARCHED_AT_ONCE), (what, most)


@contextlib.asynccontextmanager
async def looking(work: Work) -> AsyncIterator[None]:
    """A bystander: it looks once in each turn of the loop."""
    loop = asyncio.get_running_loop()
    going = True

    def look() -> None:
        work.look()
        if going:
            loop.call_soon(look)

    work.done.clear()
    work.most.clear()
    look()
    try:
        yield
    finally:
        going = False
        await asyncio.sleep(0)


def token(identity: str, room: str = "full") -> str:
    return tokens.mint(
        KEY, SECRET, identity=identity, room=room, now_s=int(time.time()), ttl_s=600, role="owner",
        jti=f"j-{identity}",
    )  # fmt: skip


def config(**limits: Any) -> Config:
    many = LimitsConfig(api_per_s=1e6, api_burst=1_000_000, acts_per_s=1e6, acts_burst=1_000_000, **limits)
    return local_config(auth=AuthConfig(keys=(f"{KEY}:{SECRET}",)), limits=many)


def frame(text: str) -> bytes:
    """A masked text frame; the mask changes nothing. Spec: RFC 6455 section 5.2."""
    data = text.encode()
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x81, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
    return head + bytes(4) + data


def write(signal: Signal, data: bytes) -> None:
    """All of it in one write."""
    connection = signal.socket._response.connection
    assert connection is not None
    assert isinstance(connection.transport, asyncio.WriteTransport)
    connection.transport.write(data)


async def fill(those: Clients) -> None:
    """A room that has as much of everything as it may."""
    at = those.server._conference
    store = at.queries._store
    rows = [
        messages.added(message(n, room="full", text=LONG * 4000, identity="teacher")) for n in range(1, 201)
    ]
    now_ms = clock.wall_ms()
    told = [
        StoredSample(room="full", identity="dev", series="s", unit="", at_ms=now_ms - n, value=n)
        for n in range(3000)
    ]
    for steps in [*rows, samples.added(told)]:
        store.writes.submit(steps)
    await store.writes.flush()
    await those.join("full", "Teacher", token=token("teacher"))
    board = at.core.room(RoomName("full")).board
    for stroke in range(MAX_POINTS // MAX_STROKE_POINTS):
        points = tuple((n * 31 % 10_000, (n * 7919 + stroke) % 10_000) for n in range(MAX_STROKE_POINTS))
        board.draw(Stroke(id=f"e{stroke}", author="teacher", color="#112233", width=9, points=points))


def test_every_request_has_a_largest_one_and_a_cost() -> None:
    assert LARGEST.keys() == requests.KINDS
    assert costs.REQUESTS.keys() == requests.KINDS
    for kind, members in LARGEST.items():
        requests.parse({"type": kind, **members}, chat_characters=4000) if kind != "restart_ice" else None


async def test_no_request_in_one_write_holds_up_a_bystander(monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(monkeypatch) as work:
        async with clients(config()) as those:
            await fill(those)
            # What ends or changes the room comes last.
            for kind in sorted(LARGEST, key=lambda kind: kind in {"clear_board", "chat_delete"}):
                eve = await those.join("full", "Eve", token=token(f"eve-{kind}"))
                text = json.dumps({"type": kind, "id": 3, **LARGEST[kind]}, ensure_ascii=False)
                copies = max(1, min(AT_ONCE, 4_000_000 // len(text)))
                async with looking(work):
                    write(eve, frame(text) * copies)
                    await answered(eve, kind, copies)
                within_bounds(work, kind)
                account = those.server._conference.accounts.person(f"eve-{kind}")
                assert account.charged_us > 0
                await eve.drop()


async def answered(eve: Signal, kind: str, copies: int) -> None:
    """Read all answers; who leaves, or is refused ten times in a row, is closed."""
    found = 0
    with contextlib.suppress(ConnectionResetError, TimeoutError):
        while found < copies:
            answer = await eve.receive()
            found += answer.get("id") == 3
            if answer["type"] == "closed":
                return
    assert found or kind == "leave", kind


async def test_a_join_waits_for_no_writes_of_other_rooms() -> None:
    """Others may store so much that it takes seconds to become durable."""
    async with clients(config()) as those:
        writes = those.server._conference.queries._store.writes
        await writes.flush()
        held = asyncio.Event()

        async def commit(batch: list[Any]) -> None:
            await held.wait()
            await inner(batch)

        inner, writes._commit = writes._commit, commit  # type: ignore[method-assign]
        try:
            eve = await those.join("busy", "Eve", token=token("eve", "busy"))
            await eve.send({"type": "chat", "text": "x"})
            async with asyncio.timeout(10):
                await those.join("quiet", "Ben", token=token("ben", "quiet"))
            assert writes.waiting >= 3
        finally:
            held.set()


# --- the HTTP API ------------------------------------------------------------------------------


async def test_no_endpoint_holds_up_a_bystander(monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(monkeypatch) as work:
        async with clients(config()) as those:
            await fill(those)
            base = those.server.http_url + PREFIX
            async with those.http.get(base + "/openapi.json") as answer:
                described = await answer.json()
            declared = sorted(
                (
                    f"{method.upper()} {path.removeprefix(PREFIX)}"
                    for path, of in described["paths"].items()
                    for method in of
                ),
                key=lambda name: name in LAST,
            )
            with_body = {name for name in declared if _has_json_body(described, name)}
            assert with_body == BODIES.keys(), "each body at its allowed maximum"
            root = tokens.mint_admin(
                KEY, SECRET, identity="root", now_s=int(time.time()), ttl_s=600, jti="j-root"
            )
            account = those.server._conference.accounts.person("root")
            for name in declared:
                before_us = account.charged_us
                async with looking(work):
                    statuses = await asyncio.gather(*(call(those, name, root) for _ in range(COPIES)))
                assert max(statuses) < 500 or name.startswith("GET /rooms/{room}/telemetry.csv"), name
                assert account.charged_us > before_us or "openapi" in name, name
                within_bounds(work, name)


COPIES = 20
"""Of each request to the HTTP API at once."""


def _has_json_body(described: dict[str, Any], name: str) -> bool:
    method, _, path = name.partition(" ")
    content = described["paths"][PREFIX + path][method.lower()].get("requestBody", {}).get("content", {})
    return "application/json" in content


async def call(those: Clients, name: str, credential: str) -> int:
    method, _, path = name.partition(" ")
    for part in ("participant", "waiting", "message", "file", "series", "jti"):
        path = path.replace(f"{{{part}}}", "1")
    url = those.server.http_url + PREFIX + path.replace("{room}", "full")
    query = "&".join(QUERIES.get(name, []))
    headers = {"Authorization": f"Bearer {credential}"}
    async with those.http.request(
        method, f"{url}?{query}" if query else url, headers=headers, json=BODIES.get(name)
    ) as answer:
        await answer.read()
        return answer.status


# --- sustained ---------------------------------------------------------------------------------


async def test_who_asks_on_and_on_is_refused_and_nobody_else_is() -> None:
    limits = {"work_per_s": 0.001, "work_burst_s": 0.02, "messages_per_s": 1e6, "message_burst": 1_000_000}
    async with clients(config(**limits)) as those:
        eve = await those.join("r", "Eve", token=token("eve", "r"))
        account = those.server._conference.accounts.person("eve")
        answers = [await eve.request("chat", text=LONG * 100) for _ in range(100)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert {answer["code"] for answer in refused} == {"rate_limited"}
        assert all(answer["retry_after_ms"] > 0 for answer in refused)
        kept = LimitsConfig(work_per_s=0.001, work_burst_s=0.02)
        assert account.charged_us < 2 * kept.work_burst_s * 1e6
        # By another session, or over HTTP, it is the same person.
        again = await those.open()
        joined = await again.request("join", version=1, room="r2", name="Eve", token=token("eve", "r2"))
        assert (joined["type"], joined["code"]) == ("error", "rate_limited")
        headers = {"Authorization": f"Bearer {token('eve', 'r')}"}
        async with those.http.get(f"{those.server.http_url}{PREFIX}/rooms/r", headers=headers) as answer:
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) > 0
        assert (await eve.request("ping"))["type"] == "pong"
        ben = await those.join("r", "Ben", token=token("ben", "r"))
        assert (await ben.request("chat", text="x"))["type"] == "ok"


PERSON_A_SECOND: dict[str, tuple[float, int]] = {
    "draw": (5, 20), "state_set": (2, 0), "chat": (0.2, 0), "chat_typing": (0.5, 0), "chat_read": (0.2, 0),
    "react": (0.2, 0), "vote_poll": (0.1, 2), "subscribe": (1, 30), "telemetry": (2, 20), "stats": (1, 0),
    "ping": (0.1, 0), "answer": (0.2, 60),
}  # fmt: skip
"""What the busiest of a class of thirty asks for in each second: how often, and how many things it names."""
PERSON_AT_THE_START: dict[str, tuple[float, int]] = {
    "join": (1, 0), "offer": (3, 16), "answer": (30, 60), "subscribe": (10, 30), "chat_history": (2, 0),
    "chat_search": (1, 0), "board": (1, 0), "data_topics": (1, 5), "telemetry_declare": (1, 5),
}  # fmt: skip
"""And in the minute in which a lesson begins."""
CLASS = 30
START_S = 60


def used_us(those: dict[str, tuple[float, int]]) -> float:
    return sum(
        often * (costs.UNKNOWN_US + costs.REQUESTS[kind].of(things, CLASS) + CLASS * costs.TOLD_US)
        for kind, (often, things) in those.items()
    )


def test_no_limit_is_below_twice_what_a_class_of_thirty_uses() -> None:
    limits = LimitsConfig()
    for people, accounts in ((1, 1), (CLASS, PEOPLE_AT_A_HOST)):
        share_us = limits.work_per_s * accounts * 1e6
        # At one address, without tokens, not everybody is the busiest one at once.
        busy = people if people == 1 else people / 3
        assert 2 * busy * used_us(PERSON_A_SECOND) <= share_us
        start_us = limits.work_burst_s * accounts * 1e6 + START_S * share_us
        assert 2 * people * used_us(PERSON_AT_THE_START) <= start_us
    assert 2 * sum(often for often, _ in PERSON_A_SECOND.values()) <= limits.messages_per_s


async def test_few_long_answers_are_made_before_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Callable[[], object]] = []
    real = conference.Conference.request

    def held(self: Any, member: Any, request: requests.Request, answer: Any) -> Any:
        if not isinstance(request, requests.ChatPage | requests.ChatSearch | requests.GetBoard):
            return real(self, member, request, answer)
        asked.append(lambda: answer({"type": "done"}))
        return None

    monkeypatch.setattr(conference.Conference, "request", held)
    kinds: list[dict[str, Any]] = [
        {"type": "chat_history"},
        {"type": "chat_search", "text": "x"},
        {"type": "board"},
    ]
    async with clients() as those:
        eve, ann = await those.join(), await those.join()
        for number in range(100, 130):
            await eve.send(kinds[number % 3] | {"id": number})
        for _ in range(20):
            assert (await ann.request("ping", t=1))["type"] == "pong"
        assert len(asked) == MAX_UNANSWERED // LONG_ANSWER
        for number in range(100, 130):
            await until(lambda: asked)
            assert len(asked) <= MAX_UNANSWERED // LONG_ANSWER
            asked.pop(0)()
            await eve.next("done", id=number)
