"""The page's main flows in Firefox, in a call with Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from browser import Caller, Pages, until
from firefox import Firefox, FirefoxPage, firefox
from playwright.async_api import expect
from server_process import ServerProcess
from tools import tool


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser_of_fay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firefox]:
    async with firefox(tmp_path_factory.mktemp("firefox"), tool("firefox-esr"), tool("Xvfb")) as started:
        yield started


@dataclass
class Call:
    """Fay is in Firefox, Chris in Chromium."""

    fay: FirefoxPage
    chris: Caller


@pytest_asyncio.fixture(loop_scope="session")
async def call(
    browser_of_fay: Firefox, pages: Pages, server: ServerProcess, room: str
) -> AsyncIterator[Call]:
    fay, chris = await browser_of_fay.page(), await pages.new()
    await fay.join(server.url, room, "Fay")
    await chris.join(server.url, room, "Chris")
    yield Call(fay, chris)
    await fay.close()
    assert browser_of_fay.errors == []


async def chris_sees_fay(chris: Caller) -> None:
    """Wait until Fay's picture changes: Firefox's own camera shows one colour after another."""

    async def shown() -> dict[str, Any] | None:
        look = await chris.look("Fay")
        return look if look and look["mean"] > 10 else None

    first = await until(shown, "a picture of Fay", 40)

    async def changed() -> bool:
        look = await shown()
        return look is not None and look["hash"] != first["hash"]

    await until(changed, "another picture of Fay", 20)


async def test_they_see_and_hear_each_other(call: Call) -> None:
    fay, chris = call.fay, call.chris
    await fay.sees("Chris")
    await chris_sees_fay(chris)
    await chris.hears(timeout_s=30)

    async def heard() -> bool:
        return await fay.energy() > 1e-5

    await until(heard, "sound in Firefox", 30)

    async def decoded() -> bool:
        return any(report.get("framesDecoded", 0) > 50 for report in await fay.inbound("video"))

    await until(decoded, "50 decoded frames in Firefox", 40)


async def test_microphone_and_camera_are_turned_off_and_on(call: Call) -> None:
    fay, chris = call.fay, call.chris
    await chris_sees_fay(chris)
    await fay.turn("toggle-mic", on=False)
    await chris.has(chris.tile("Fay"), "data-muted", "true")
    await fay.turn("toggle-mic", on=True)
    await chris.has(chris.tile("Fay"), "data-muted", "false")
    await fay.turn("toggle-camera", on=False)
    await chris.has(chris.tile("Fay"), "data-state", "off")
    await fay.turn("toggle-camera", on=True)
    await chris_sees_fay(chris)

    await chris.turn_off("toggle-mic")

    async def told() -> bool:
        tile = await fay.tile("Chris")
        return tile is not None and tile["muted"] == "true"

    await until(told, "Fay is told that Chris is muted")


async def test_chat_goes_both_ways(call: Call) -> None:
    fay, chris = call.fay, call.chris
    await fay.click("toggle-chat")
    await chris.find("toggle-chat").click()
    await fay.fill("chat-input", "hello from Fay")
    await fay.click("chat-send")
    await expect(chris.find("chat-message").filter(has_text="hello from Fay")).to_be_visible()
    await chris.find("chat-input").fill("hello from Chris")
    await chris.find("chat-send").click()

    async def read() -> bool:
        return any("hello from Chris" in text for text in await fay.texts("chat-message"))

    await until(read, "the answer in Firefox's chat")


async def test_screens_are_shared_both_ways(call: Call) -> None:
    fay, chris = call.fay, call.chris
    await fay.sees("Chris")
    await fay.click("toggle-screen")

    async def shared() -> bool:
        look = await chris.look("Fay", "screen")
        return bool(look and look["width"] > 100)

    await until(shared, "Fay's screen in Chromium", 30)
    await fay.click("toggle-screen")
    await chris.tile("Fay", "screen").wait_for(state="detached")
    await chris.find("toggle-screen").click()

    async def seen() -> bool:
        look = await fay.look("Chris", "screen")
        return bool(look and look["width"] > 100)

    await until(seen, "Chris's screen in Firefox", 30)


async def test_who_leaves_is_gone_and_comes_back(call: Call) -> None:
    fay, chris = call.fay, call.chris
    await chris_sees_fay(chris)
    await fay.click("leave")
    await chris.tile("Fay").wait_for(state="detached")
    await fay.click("left-rejoin")
    await chris_sees_fay(chris)
    await fay.sees("Chris")
