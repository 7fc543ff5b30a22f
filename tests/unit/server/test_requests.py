"""Every member of every message is checked."""

from __future__ import annotations

from typing import Any

import pytest

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room.model import Wants
from sfu.sdp.model import SessionDescription
from sfu.server import requests
from sfu.server.validation import LARGEST_ID, parse_object

JOIN = {"type": "join", "version": 1, "room": "r", "name": "Ann"}
SDP = "v=0\no=- 1 1 IN IP4 0.0.0.0\n"
OFFER = {"type": "offer", "sdp": SDP, "media": [{"mid": "0", "source": "camera"}]}
SUBSCRIBE = {"type": "subscribe", "publications": ["TR_1"]}


def parse(message: dict[str, Any]) -> requests.Request:
    return requests.parse(message, chat_characters=10)


def code(message: dict[str, Any]) -> str:
    with pytest.raises(RequestError) as caught:
        parse(message)
    return caught.value.code


def test_join_with_its_defaults() -> None:
    assert parse(JOIN) == requests.Join(
        version=1,
        room="r",
        name="Ann",
        token="",
        wants=Wants(),
        client="",
        resume=None,
        role=None,
        template=None,
    )


def test_join_with_everything() -> None:
    message = JOIN | {
        "room": " r ",
        "token": "t",
        "wants": {"subscribe": True, "video": False},
        "client": "web/0.1",
        "resume": {"participant": "PA_1", "secret": "s"},
        "unknown": [],
    }
    joined = parse(message)
    assert isinstance(joined, requests.Join)
    assert joined.room == "r"
    assert joined.wants == Wants(video=False)
    assert joined.resume == requests.ResumeOf("PA_1", "s")  # type: ignore[arg-type]


def test_offer() -> None:
    media = [
        {"mid": "0", "source": "camera", "name": "front", "muted": True},
        {"mid": "1", "source": "other"},
    ]
    offer = parse(OFFER | {"media": media})
    assert offer == requests.Offer(
        SessionDescription(session_id=1, session_version=1),
        {
            "0": requests.OfferedMedia("camera", "front", True),
            "1": requests.OfferedMedia("other", "", False),
        },
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "chat", "text": "x", "to": "PA_1"}, requests.Chat("x", ParticipantId("PA_1"))),
        ({"type": "chat_edit", "message": 3, "text": "y"}, requests.ChatEdit(3, "y")),
        ({"type": "chat_delete", "message": 3}, requests.ChatDelete(3)),
        ({"type": "chat_react", "message": 3, "emoji": "👍"}, requests.ChatReact(3, "👍", True)),
        (
            {"type": "chat_react", "message": 3, "emoji": "👍", "on": False},
            requests.ChatReact(3, "👍", False),
        ),
        ({"type": "chat_react", "message": 1, "emoji": "👨‍👩‍👧"}, requests.ChatReact(1, "👨‍👩‍👧", True)),
        ({"type": "chat_read", "message": 3}, requests.ChatRead(3)),
        ({"type": "chat_typing"}, requests.ChatTyping(None)),
        ({"type": "chat_history"}, requests.ChatPage(None, None, 100)),
        ({"type": "chat_history", "files": True}, requests.ChatPage(None, None, 100, True)),
        ({"type": "chat_history", "before": 9, "limit": 5}, requests.ChatPage(9, None, 5)),
        ({"type": "chat_history", "after": 0}, requests.ChatPage(None, 0, 100)),
        ({"type": "chat_search", "text": "x"}, requests.ChatSearch("x", None, 100)),
    ],
)
def test_chat_requests(message: dict[str, Any], expected: requests.Request) -> None:
    assert parse(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "chat_edit", "text": "y"}, "bad_request"),
        ({"type": "chat_edit", "message": 1, "text": "x" * 11}, "too_large"),
        ({"type": "chat_delete", "message": 0}, "bad_request"),
        ({"type": "chat_delete", "message": "1"}, "bad_request"),
        ({"type": "chat_react", "message": 1, "emoji": ""}, "bad_request"),
        ({"type": "chat_react", "message": 1, "emoji": "x" * 17}, "bad_request"),
        ({"type": "chat_react", "message": 1, "emoji": "\n"}, "bad_request"),
        ({"type": "chat", "text": "a\0"}, "bad_request"),
        ({"type": "chat_search", "text": "\0"}, "bad_request"),
        ({"type": "chat", "text": "a", "to": "\0"}, "bad_request"),
        ({"type": "chat", "text": "a", "file": "\0"}, "bad_request"),
        ({"type": "ask", "text": "\0"}, "bad_request"),
        ({"type": "answer_question", "question": 1, "answer": "\0"}, "bad_request"),
        ({"type": "open_poll", "question": "\0", "options": ["a", "b"]}, "bad_request"),
        ({"type": "open_poll", "question": "?", "options": ["a", "\0"]}, "bad_request"),
        ({"type": "chat_react", "message": 1, "emoji": "a b"}, "bad_request"),
        ({"type": "chat_read", "message": -1}, "bad_request"),
        ({"type": "chat_history", "limit": 101}, "bad_request"),
        ({"type": "chat_history", "limit": 0}, "bad_request"),
        ({"type": "chat_history", "before": 1, "after": 1}, "bad_request"),
        ({"type": "chat_search", "text": ""}, "bad_request"),
        ({"type": "chat_search", "text": "x" * 101}, "bad_request"),
    ],
)
def test_bad_chat_requests(message: dict[str, Any], expected: str) -> None:
    assert code(message) == expected


def test_the_rest() -> None:
    assert parse({"type": "answer", "seq": 3, "sdp": "v=0"}) == requests.Answer(3, "v=0")
    for candidate in (None, {"candidate": ""}, {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host"}):
        message = {"type": "candidate", "transport": "publish", "candidate": candidate}
        assert parse(message) == requests.Candidate("publish")
    assert parse({"type": "restart_ice", "transport": "subscribe"}) == requests.RestartIce()
    assert parse({"type": "mute", "publication": "TR_1", "muted": True}) == requests.Mute("TR_1", True)  # type: ignore[arg-type]
    assert parse({"type": "unpublish", "publication": "TR_1"}) == requests.Unpublish("TR_1")  # type: ignore[arg-type]
    assert parse(SUBSCRIBE) == requests.Subscribe(("TR_1",), None, None, None, None)  # type: ignore[arg-type]
    assert parse({"type": "unsubscribe", "publications": ["TR_1"]}) == requests.Unsubscribe(("TR_1",))  # type: ignore[arg-type]
    assert parse({"type": "chat", "text": "hi"}) == requests.Chat("hi", None)
    assert parse({"type": "stats"}) == requests.Stats()
    assert parse({"type": "ping", "t": 1.5}) == requests.Ping(1.5)
    assert parse({"type": "leave", "reason": "bye"}) == requests.Leave()


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": 1},
        {"type": "x" * 65},
        JOIN | {"version": "1"},
        JOIN | {"version": True},
        JOIN | {"room": ""},
        JOIN | {"room": "  "},
        JOIN | {"room": "x" * 129},
        JOIN | {"room": "a\u0000b"},
        JOIN | {"name": None},
        JOIN | {"name": "\ud800"},
        JOIN | {"name": "x" * 65},
        JOIN | {"wants": []},
        JOIN | {"wants": {"video": 1}},
        JOIN | {"token": 5},
        JOIN | {"resume": []},
        JOIN | {"resume": {}},
        JOIN | {"resume": {"participant": "PA"}},
        OFFER | {"sdp": ""},
        OFFER | {"sdp": None},
        OFFER | {"media": {}},
        OFFER | {"media": ["0"]},
        OFFER | {"media": [{"mid": "0", "source": "kamera"}]},
        OFFER | {"media": [{"mid": "0", "source": []}]},
        OFFER | {"media": [{"mid": "", "source": "camera"}]},
        OFFER | {"media": [{"source": "camera"}]},
        OFFER | {"media": [{"mid": "0", "source": "camera"}] * 2},
        OFFER | {"media": [{"mid": str(n), "source": "camera"} for n in range(201)]},
        OFFER | {"media": [{"mid": "0", "source": "camera", "muted": "no"}]},
        {"type": "answer", "sdp": "v=0"},
        {"type": "answer", "sdp": "v=0", "seq": -1},
        {"type": "answer", "sdp": "v=0", "seq": 2**60},
        {"type": "answer", "seq": 1},
        {"type": "candidate", "transport": "both"},
        {"type": "candidate", "transport": "publish", "candidate": "x"},
        {"type": "candidate", "transport": "publish", "candidate": {"candidate": 1}},
        {"type": "restart_ice"},
        {"type": "mute", "publication": "TR_1"},
        {"type": "mute", "publication": 1, "muted": True},
        {"type": "unpublish"},
        {"type": "subscribe"},
        SUBSCRIBE | {"publications": []},
        SUBSCRIBE | {"publications": [""]},
        SUBSCRIBE | {"publications": [1]},
        SUBSCRIBE | {"publications": "TR_1"},
        SUBSCRIBE | {"publications": ["x"] * 1001},
        SUBSCRIBE | {"priority": 256},
        SUBSCRIBE | {"priority": -1},
        SUBSCRIBE | {"priority": 1.0},
        SUBSCRIBE | {"width": 100_000},
        SUBSCRIBE | {"height": "9"},
        SUBSCRIBE | {"paused": 0},
        {"type": "chat"},
        {"type": "chat", "text": ""},
        {"type": "chat", "text": "\udfff"},
        {"type": "chat", "text": "x", "to": 3},
        {"type": "ping", "t": "now"},
        {"type": "ping", "t": True},
        {"type": "ping", "t": float("inf")},
        {"type": "leave", "reason": 1},
    ],
)
def test_bad_requests(message: dict[str, Any]) -> None:
    assert code(message) == "bad_request"


def test_codes_of_their_own() -> None:
    assert code({"type": "dance"}) == "unknown_type"
    assert code({"type": "chat", "text": "x" * 11}) == "too_large"
    assert code({"type": "restart_ice", "transport": "publish"}) == "bad_state"


def test_request_id() -> None:
    assert requests.request_id({}) is None
    assert requests.request_id({"id": LARGEST_ID}) == LARGEST_ID
    for wrong in ("1", 1.0, -1, LARGEST_ID + 1, True, [], {}):
        with pytest.raises(RequestError, match="bad_request"):
            requests.request_id({"id": wrong})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "1",
        '"x"',
        "null",
        '{"a":NaN}',
        '{"a":Infinity}',
        "[" * 100_000,
        '{"a":' + "1" * 5000 + "}",
    ],
    ids=lambda text: text[:12],
)
def test_only_json_objects(text: str) -> None:
    with pytest.raises(RequestError, match="bad_request"):
        parse_object(text)
