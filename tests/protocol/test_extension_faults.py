"""Extensions with every fault that code can have: calls go on, and each message is answered."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from server_process import running
from signalling import Clients, Signal, clients, local_config, until

from sfu.config import Config, ExtensionsConfig, LimitsConfig
from sfu.errors import ConfigError, RequestError
from sfu.extensions import Accept, Event, Hooks, Message, Refuse, Refused
from sfu.server import hook_thread
from sfu.server.events import RoomEvent


def extended(name: str, **values: Any) -> Config:
    return local_config(extensions=ExtensionsConfig(modules=(name,), **values))


@contextlib.contextmanager
def module(extend: Callable[[Hooks], object]) -> Iterator[str]:
    """A module of the test's own."""
    made = types.ModuleType("a_faulty_extension")
    made.extend = extend  # type: ignore[attr-defined]
    sys.modules["a_faulty_extension"] = made
    yield "a_faulty_extension"
    del sys.modules["a_faulty_extension"]


async def stop(those: Clients) -> None:
    """As SIGTERM does."""
    async with asyncio.timeout(10):
        await those.server.stop("test")


async def post(those: Clients, ann: Signal, text: str) -> dict[str, Any]:
    headers = {"Authorization": f"Participant {ann.me}:{ann.joined['secret']}"}
    url = f"{those.server.http_url}/api/v1/rooms/r/messages"
    async with those.http.post(url, json={"text": text}, headers=headers) as answer:
        return dict(await answer.json())


async def test_a_server_with_a_listener_to_everything_stops() -> None:
    heard: list[str] = []

    async def hear(event: Event) -> None:
        heard.append(event.type)
        await asyncio.sleep(0)

    with module(lambda hooks: hooks.on_event(hear)) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            for number in range(20):
                await ann.request("chat", text=str(number))
            await stop(those)
    assert heard[:2] == ["room_started", "participant_joined"]


async def test_sigterm_ends_a_server_whose_extension_holds_on_to_everything(tmp_path: Path) -> None:
    (tmp_path / "clinging.py").write_text(
        "import asyncio, time\n"
        "async def cling():\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.to_thread(time.sleep, 3600)\n"
        "        except asyncio.CancelledError:\n"
        "            time.sleep(3600)\n"
        "async def extend(hooks):\n"
        "    hooks.task = asyncio.create_task(cling())\n"
        "    await asyncio.sleep(0.1)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server_process.ROOT", tmp_path)
        patch.setattr("server_process.environ", with_path(str(tmp_path)))
        async with running(tmp_path, "extensions.modules=clinging") as server:
            assert await server.stop() == 0
        assert "left behind" in server.log.read_text()


def with_path(folder: str) -> Callable[[], dict[str, str]]:
    import server_process

    kept = server_process.environ()
    kept["PYTHONPATH"] += f":{folder}"
    return lambda: kept


def cancels() -> NoReturn:
    raise asyncio.CancelledError


@pytest.mark.parametrize("fault", [cancels, sys.exit, lambda: exit_with(KeyboardInterrupt)])
async def test_what_would_end_a_task_or_the_program_is_a_failure_of_the_hook(
    fault: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    async def on_event(event: Event) -> None:
        told.append(event.type)
        fault()

    async def on_message(message: Message) -> None:
        fault()

    def extend(hooks: Hooks) -> None:
        hooks.on_event(on_event)
        hooks.on_message(on_message)

    with module(extend) as name:
        async with clients(extended(name, max_failures=3)) as those:
            ann = await those.join()
            for number in range(4):
                assert (await ann.request("chat", text=str(number)))["message"]["text"] == str(number)
            await until(lambda: caplog.text.count("switched off") == 2)
            await stop(those)
    assert len(told) == 3


def exit_with(error: type[BaseException]) -> NoReturn:
    raise error


async def test_a_task_of_an_extension_that_exits_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def leave() -> None:
        sys.exit(3)

    async def on_message(message: Message) -> str:
        tasks.append(asyncio.create_task(leave()))
        await asyncio.sleep(0)
        return message.text.upper()

    with module(lambda hooks: hooks.on_message(on_message)) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            for text in ("one", "two"):
                assert (await ann.request("chat", text=text))["message"]["text"] == text.upper()
    assert caplog.text.count("wanted to exit") == 2


async def test_code_that_blocks_costs_only_its_own_hooks(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()
    calls: list[str] = []

    async def block(message: Message) -> None:
        calls.append(message.text)
        go_on.wait(20)

    with module(lambda hooks: hooks.on_message(block)) as name:
        async with clients(extended(name, timeout_s=0.2, max_failures=2)) as those:
            ann, ben = await those.join(), await those.join(name="Ben")
            sending = asyncio.create_task(ann.request("chat", text="0"))
            await until(lambda: calls)
            # The hook blocks at this moment, and the server answers.
            assert (await ben.request("ping"))["type"] == "pong"
            assert not sending.done()
            assert (await sending)["message"]["text"] == "0"
            for text in ("1", "2"):
                assert (await ann.request("chat", text=text))["message"]["text"] == text
            assert caplog.text.count("switched off") == 1
            assert (await stats(those))["extensions"] | {"calls": 0} == {
                "calls": 0, "failures": 2, "dropped": 0, "switched_off": 1,
            }  # fmt: skip
            go_on.set()
    assert calls == ["0"]


async def stats(those: Clients) -> dict[str, Any]:
    async with those.http.get(f"{those.server.http_url}/api/v1/stats") as answer:
        return dict(await answer.json())


async def test_a_hook_that_swallows_its_cancellation_is_left_to_itself() -> None:
    cancelled: list[str] = []

    async def stay(message: Message) -> None:
        while message.text == "first":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(message.text)

    with module(lambda hooks: hooks.on_message(stay)) as name:
        async with clients(extended(name, timeout_s=0.1)) as those:
            ann = await those.join()
            for text in ("first", "second"):
                assert (await ann.request("chat", text=text))["message"]["text"] == text
            assert cancelled == ["first"]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(hook_thread, "CLOSE_S", 0.2)
                await stop(those)


@pytest.mark.parametrize("text", ["x" * 100_000, "", "\ud800", "a\0b", 5])
async def test_a_text_that_nobody_could_send_is_a_failure(text: Any) -> None:
    async def spoil(message: Message) -> Any:
        return text

    with module(lambda hooks: hooks.on_message(spoil)) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            assert (await ann.request("chat", text="as it was"))["message"]["text"] == "as it was"
            assert (await ann.request("chat_history"))["messages"][0]["text"] == "as it was"
            assert (await stats(those))["extensions"]["failures"] == 1


async def test_what_is_written_over_http_is_asked_about_too() -> None:
    seen: list[Message] = []

    async def clean(message: Message) -> str:
        seen.append(message)
        if "spam" in message.text:
            raise Refused("No advertising here.")
        return message.text.replace("heck", "h***")

    with module(lambda hooks: hooks.on_message(clean)) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            ben = await those.join(name="Ben")
            assert (await post(those, ann, "oh heck"))["text"] == "oh h***"
            assert (await ben.next("chat"))["message"]["text"] == "oh h***"
            refused = (await post(those, ann, "spam"))["error"]
            assert refused == {"code": "refused", "message": "No advertising here."}
    assert (seen[0].participant, seen[0].name, seen[0].to) == (ann.me, "Ann", None)


async def test_messages_keep_their_order_when_the_hook_is_switched_off_between_them() -> None:
    first = threading.Event()

    async def slow(message: Message) -> None:
        await asyncio.to_thread(first.wait, 10)
        raise ZeroDivisionError

    with module(lambda hooks: hooks.on_message(slow)) as name:
        async with clients(extended(name, max_failures=1)) as those:
            ann = await those.join()
            for number in range(5):
                await ann.send({"type": "chat", "id": 10 + number, "text": str(number)})
            first.set()
            assert [(await ann.receive())["message"]["text"] for _ in range(5)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("fault", ["raise SystemExit(5)", "def extend(hooks: x", "extend = 5"])
async def test_a_module_that_cannot_be_loaded_says_so_at_the_start(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cannot_load.py").write_text(fault)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cannot_load", raising=False)
    with pytest.raises(ConfigError, match=r"extensions\.modules: cannot_load: \w+"):
        async with clients(extended("cannot_load")):
            pass


@pytest.mark.parametrize("fault", [SystemExit, asyncio.CancelledError, ZeroDivisionError])
async def test_extend_that_fails_stops_the_start_and_may_be_async(fault: type[BaseException]) -> None:
    async def extend(hooks: Hooks) -> None:
        await asyncio.sleep(0)
        raise fault

    with module(extend) as name, pytest.raises(ConfigError, match=name):
        async with clients(extended(name)):
            pass


async def test_extend_may_be_async() -> None:
    async def shout(message: Message) -> str:
        return message.text.upper()

    async def extend(hooks: Hooks) -> None:
        await asyncio.sleep(0)
        hooks.on_message(shout)

    with module(extend) as name:
        async with clients(extended(name)) as those:
            ann = await those.join()
            assert (await ann.request("chat", text="hi"))["message"]["text"] == "HI"


@contextlib.contextmanager
def captured(judge: Any = None) -> Iterator[tuple[str, list[Hooks]]]:
    """A module that hands out its hooks."""
    got: list[Hooks] = []

    def extend(hooks: Hooks) -> None:
        got.append(hooks)
        if judge is not None:
            hooks.judge_state(judge)

    with module(extend) as name:
        yield name, got


async def test_the_server_writes_any_key_of_the_shared_state_past_the_judge() -> None:
    with captured(lambda change, entries: Refuse("rules", "only the server")) as (name, got):
        async with clients(extended(name)) as those:
            ann = await those.join()
            (hooks,) = got
            assert (await ann.request("state_set", key="score", value=1))["code"] == "rules"
            value = {"ann": 1}
            version = await asyncio.to_thread(hooks.set_state, "r", "score", value)
            value["ann"] = 2
            told = await ann.next("state_patch")
            assert (told["key"], told["value"], told["version"]) == ("score", {"ann": 1}, version)
            assert hooks.state("r")["score"].value == {"ann": 1}
            with pytest.raises(RequestError) as refused:
                hooks.set_state("r", "score", 0, if_version=0)
            assert refused.value.code == "conflict"
            with pytest.raises(RequestError) as refused:
                hooks.set_state("r", "score", object())
            assert refused.value.code == "bad_request"
            with pytest.raises(RequestError) as refused:
                hooks.set_state("another", "score", 0)
            assert refused.value.code == "not_found"
            hooks.delete_state("r", "score", if_version=version)
            assert (await ann.next("state_patch"))["deleted"] is True
            hooks.act("r", {"type": "state_set", "key": "by_act", "value": [1]})
            assert (await ann.next("state_patch"))["key"] == "by_act"


async def test_a_judge_that_exits_refuses() -> None:
    def judge(change: Any, entries: Any) -> Accept:
        sys.exit(1)

    with captured(judge) as (name, _):
        async with clients(extended(name)) as those:
            ann = await those.join()
            assert (await ann.request("state_set", key="k", value=1))["code"] == "judge_failed"


async def test_an_extension_sets_thresholds_and_raises_alarms_of_its_own() -> None:
    told: list[RoomEvent] = []
    with captured() as (name, got):
        async with clients(extended(name)) as those:
            those.server._conference.events.listen(told.append)
            ann, cam = await those.join(), await those.join(name="Cam", role="device")
            await cam.request("telemetry_declare", series=[{"name": "pulse"}])
            (hooks,) = got
            message = {"type": "telemetry_thresholds", "participant": cam.me, "series": "pulse", "high": 5}
            hooks.act("r", message)
            assert (await ann.next("telemetry_series", participant=cam.me))["series"][0]["high"] is None
            assert (await ann.next("telemetry_series", participant=cam.me))["series"][0]["high"] == 5
            for bad in (object(), float("nan"), "\ud800"):
                with pytest.raises(RequestError) as refused:
                    hooks.alarm("r", {"motion": bad})
                assert refused.value.code == "bad_request"
            await asyncio.to_thread(hooks.alarm, "r", {"motion": 1}, text="Something moves")
            assert (await ann.next("broadcast"))["text"] == "Something moves"
            assert [event.data for event in told if event.type == "alarm"] == [
                {"identity": "server", "motion": 1}
            ]


async def test_what_an_extension_says_has_the_limits_of_the_chat() -> None:
    with captured() as (name, got):
        config = extended(name)
        async with clients(Config(**{**vars(config), "limits": LimitsConfig(chat_characters=10)})) as those:
            await those.join()
            with pytest.raises(RequestError) as refused:
                await got[0].say("r", "x" * 11)
            assert refused.value.code == "too_large"
            assert await got[0].say("r", "x" * 10) == 1
