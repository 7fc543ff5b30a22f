"""Extensions in a real server: the examples do what they say, and a bad one harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from signalling import clients, local_config, until

from sfu.config import Config, ExtensionsConfig
from sfu.errors import ConfigError
from sfu.extensions import Accept, Change, Data, Event, Hooks, Message, Refuse
from sfu.server.events import RoomEvent
from sfu_client import Room, VideoSource

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(EXAMPLES / "extensions"))


def extended(*modules: str, **values: Any) -> Config:
    return local_config(extensions=ExtensionsConfig(modules=modules, **values))


@contextlib.contextmanager
def module(extend: Callable[[Hooks], None]) -> Iterator[str]:
    """A module of the test's own."""
    made = types.ModuleType("an_extension")
    made.extend = extend  # type: ignore[attr-defined]
    sys.modules["an_extension"] = made
    yield "an_extension"
    del sys.modules["an_extension"]


async def test_the_profanity_filter_masks_and_refuses() -> None:
    async with clients(extended("profanity_filter")) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        sent = await ann.request("chat", text="Oh heck, it works")
        assert sent["message"]["text"] == "Oh h***, it works"
        assert (await ben.next("chat"))["message"]["text"] == "Oh h***, it works"
        refused = await ann.request("chat", text="WHY DOES NOBODY LISTEN")
        assert (refused["code"], refused["message"]) == ("refused", "Please do not shout.")
        edited = await ann.request("chat_edit", message=sent["message"]["id"], text="darn")
        assert edited["message"]["text"] == "d***"


async def test_messages_keep_their_order_through_a_slow_extension() -> None:
    waits = iter((0.05, 0.0, 0.02, 0.0))

    async def slow(message: Message) -> None:
        await asyncio.sleep(next(waits))

    with module(lambda hooks: hooks.on_message(slow)) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            for number in range(4):
                await ann.send({"type": "chat", "id": 10 + number, "text": str(number)})
            told = [await ann.receive() for _ in range(4)]
            assert [each["message"]["text"] for each in told] == ["0", "1", "2", "3"]


async def test_the_quiz_master_opens_polls() -> None:
    async with clients(extended("quiz_master")) as those:
        ann = await those.join()
        await ann.request("chat", text="!quiz")
        poll = (await ann.next("poll"))["poll"]
        assert (poll["open"], len(poll["options"])) == (True, 3)
        assert (await ann.next("chat"))["message"]["name"] == "Quiz master"
        assert (await ann.request("vote_poll", poll=poll["id"], choices=[1]))["type"] == "ok"


async def test_a_failing_extension_harms_nobody_and_is_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    async def bad(message: Message) -> None:
        calls.append(message.text)
        raise ZeroDivisionError

    async def never(event: Event) -> None:
        await asyncio.Event().wait()

    def extend(hooks: Hooks) -> None:
        hooks.on_message(bad)
        hooks.on_event(never)

    with module(extend) as name:
        async with clients(extended(name, max_failures=3, timeout_s=0.02)) as those:
            ann = await those.join()
            for number in range(5):
                assert (await ann.request("chat", text=str(number)))["message"]["text"] == str(number)
            await until(lambda: caplog.text.count("switched off") == 2)
    assert calls == ["0", "1", "2"]
    assert [record.levelno for record in caplog.records if "switched off" in record.message] == [
        logging.ERROR
    ] * 2


async def test_an_extension_judges_the_shared_state() -> None:
    def judge(change: Change, entries: Any) -> Accept | Refuse:
        return Accept() if change.key == "score" else Refuse("rules", "only scores")

    with module(lambda hooks: hooks.judge_state(judge)) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            assert (await ann.request("state_set", key="score", value=1))["type"] == "ok"
            assert (await ann.request("state_set", key="other", value=1))["code"] == "rules"


async def test_noughts_and_crosses_is_won_by_who_stays() -> None:
    async with clients(extended("noughts_and_crosses")) as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        board = ["x"] + [""] * 8
        key = "noughts-and-crosses"
        assert (await ann.request("state_set", key=key, value={"cells": board}))["type"] == "ok"
        again = await ann.request("state_set", key=key, value={"cells": ["x", "x"] + [""] * 7})
        assert again["code"] == "illegal_move"
        await ann.request("leave")
        assert (await ben.next("state_patch"))["value"]["winner"] is None
        patch = await ben.next("state_patch")
        assert (patch["value"]["winner"], patch["participant"]) == ("o", "operator")


@pytest.mark.parametrize("name", ["not_there_at_all", "json"])
async def test_a_module_that_cannot_extend_stops_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        async with clients(extended(name)):
            pass


async def show(source: VideoSource, stop: asyncio.Event) -> None:
    """A picture whose left half goes on and off every second."""
    picture = np.zeros((240, 320, 3), np.uint8)
    number = 0
    while not stop.is_set():
        picture[:, :160] = 255 if number // 10 % 2 else 0
        source.push(picture.copy())
        number += 1
        await asyncio.sleep(0.1)


async def test_the_motion_alarm_sees_a_camera() -> None:
    told: list[RoomEvent] = []
    async with clients(extended("motion_alarm")) as those:
        those.server._conference.events.listen(told.append)
        ann = await those.join()
        stop = asyncio.Event()
        async with Room.connect(those.server.http_url, "r", name="Cam", auto_subscribe=False) as room:
            source = VideoSource()
            showing = asyncio.create_task(show(source, stop))
            await room.publish(source, source="camera")
            said = await ann.next("chat")
            stop.set()
            await showing
        assert said["message"]["name"] == "Motion"
        (alarm,) = [event for event in told if event.type == "alarm"][:1]
        assert alarm.data["motion"] > 0.3


async def test_data_is_heard() -> None:
    heard: list[Data] = []

    async def hear(data: Data) -> None:
        heard.append(data)

    with module(lambda hooks: hooks.on_data(hear, "game")) as name:
        async with (
            clients(extended(name)) as those,
            Room.connect(those.server.http_url, "r", name="Ann", auto_subscribe=False) as ann,
            Room.connect(those.server.http_url, "r", name="Ben", auto_subscribe=False),
        ):
            await ann.data.send("left", topic="game")
            await ann.data.send("unheard", topic="other")
            await until(lambda: heard)
        assert [(each.topic, each.payload, each.text) for each in heard] == [("game", b"left", True)]
