"""Whatever a client writes, it gets an answer of the protocol, and another session stays alive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signalling import Clients, Signal, clients, local_config

from sfu.config import LimitsConfig, RoomConfig
from sfu.errors import RequestError
from sfu.server import act_requests, data, requests
from sfu.server.validation import parse_object

TYPES = (
    "join", "offer", "answer", "candidate", "restart_ice", "mute", "unpublish", "subscribe", "unsubscribe",
    "chat", "chat_edit", "chat_delete", "chat_react", "chat_read", "chat_typing", "chat_history",
    "chat_search", "stats", "ping", "leave", "board", "revoke", *act_requests.PARSERS,
)  # fmt: skip
MEMBERS = (
    "version", "room", "name", "token", "wants", "client", "resume", "sdp", "media", "seq", "transport",
    "candidate", "publication", "publications", "muted", "priority", "width", "height", "paused", "text",
    "to", "t", "reason", "id", "message", "emoji", "on", "before", "after", "limit", "chat_after",
    "role", "template", "participant", "participants", "grants", "source", "locked", "lobby", "waiting",
    "names", "key", "value", "if_version",
    "breakout", "raised", "question", "voted", "answered", "answer", "options", "multiple", "poll", "choices",
    "reaction", "stroke", "color", "points",
)  # fmt: skip

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["publish", "subscribe", "camera", "microphone", "v=0\r\n", "PA_x", "TR_x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["mid", "source", "participant", "secret", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
messages = st.builds(
    lambda kind, members: {"type": kind, **members},
    st.sampled_from(TYPES) | values,
    st.dictionaries(st.sampled_from(MEMBERS), values, max_size=6),
)
texts = messages.map(json.dumps) | st.text(max_size=200) | st.binary(max_size=50).map(repr)


def refusal(text: str) -> str:
    """The code with which a text is refused, empty when it is a request."""
    try:
        message = parse_object(text)
        requests.request_id(message)
        requests.parse(message, chat_characters=100)
    except RequestError as error:
        error.message.encode()
        return error.code
    return ""


def data_refusal(message: bytes) -> str:
    try:
        data.unpack(message)
    except RequestError as error:
        return error.code
    return ""


@given(texts)
def test_every_text_is_a_request_or_a_documented_error(text: str) -> None:
    assert refusal(text) in {"", "bad_request", "unknown_type", "too_large", "bad_state"}


@given(
    st.binary(max_size=300) | st.builds(data.pack, st.dictionaries(st.text(max_size=5), values), st.binary())
)
def test_every_data_message_is_read_or_refused(message: bytes) -> None:
    assert data_refusal(message) in {"", "bad_request"}


LOOSE = local_config(
    limits=LimitsConfig(messages_per_s=1e6, message_burst=1_000_000, sessions_per_address=10_000),
    room=RoomConfig(grace_s=0, empty_s=0),
)


async def attack(those: Clients, sequence: list[str]) -> None:
    """Join, then send everything; whatever comes back is the protocol's."""
    stranger = await those.join(name="Stranger")
    with contextlib.suppress(ConnectionError):
        for text in sequence:
            await stranger.socket.send_str(text.encode(errors="replace").decode())
        await stranger.send({"type": "ping", "t": 12345})
        while (answer := await stranger.receive())["type"] != "pong" or answer.get("t") != 12345:
            if answer["type"] == "closed":
                assert answer["code"] != "internal", sequence
                break
            if answer["type"] == "error":
                assert answer["code"]
    await stranger.drop()


async def alive(witness: Signal) -> bool:
    return (await witness.request("ping", t=1))["type"] == "pong"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(texts, min_size=1, max_size=15))
def test_garbage_never_stops_another_session(caplog: pytest.LogCaptureFixture, sequence: list[str]) -> None:
    async def scenario() -> Any:
        async with clients(LOOSE) as those:
            witness = await those.join(name="Witness")
            await attack(those, sequence)
            assert await alive(witness)

    asyncio.run(scenario())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
