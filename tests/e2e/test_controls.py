"""Controls that no other test presses, each with what it does, many on one page."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path

from browser import Caller, Pages, until
from playwright.async_api import FloatRect, expect
from server_process import ServerProcess, running

from sfu.server import tokens
from sfu_client import Room

SECRET = "s" * 32

# Devices of the microphones that are being sent.
_SENT = "window.__connections.flatMap(pc => pc.getSenders()).map(each => each.track?.label).filter(Boolean)"

# Signalling fails from now on, and what there is of it ends; `window.__restore()` lets it connect again.
_CUT = """
() => {
  const Real = window.WebSocket;
  window.WebSocket = class extends Real {
    constructor(url, ...rest) { super('ws://127.0.0.1:9/', ...rest); }
  };
  window.__restore = () => { window.WebSocket = Real; };
  window.__sockets.at(-1)?.close();
}
"""


async def copied(caller: Caller) -> str:
    """What the clipboard has now; it is empty afterwards."""
    text: str = await caller.page.evaluate(
        """async () => {
          const text = await navigator.clipboard.readText();
          await navigator.clipboard.writeText('');
          return text;
        }"""
    )
    return text


async def test_pages_around_a_call(pages: Pages, server: ServerProcess, room: str) -> None:
    ann = await pages.new(permissions=["clipboard-read", "clipboard-write", "microphone", "camera"])
    await ann.open(server.url)
    await ann.find("language").select_option("zh")
    await expect(ann.find("landing-new")).to_contain_text("新建房间")
    await ann.find("language").select_option("en")
    await ann.find("landing-kind").select_option("classroom")
    await ann.find("landing-new").click()
    await ann.page.wait_for_url(re.compile(r"/r/[a-z]+-[a-z]+-[0-9]{4}\?kind=classroom$"))
    made = (await ann.find("prejoin-room").text_content()) or ""
    await ann.find("prejoin-name").fill("Ann")
    await ann.turn_off("prejoin-camera")
    await ann.find("prejoin-join").click()
    await ann.find("leave").wait_for()
    assert await ann.page.evaluate("window.__sfu.room.classroom.room.template") == "classroom"

    for copy in ("alone-copy", "copy-link"):
        await ann.find(copy).click()
        assert await until(lambda: copied(ann), "a link in the clipboard") == f"{server.url}/r/{made}"
    stage = ann.page.locator(".stage")
    await expect(stage).to_have_attribute("data-view", "grid")
    await ann.find("toggle-view").click()
    await expect(stage).to_have_attribute("data-view", "speaker")
    await expect(ann.find("toggle-view")).to_have_attribute("aria-pressed", "true")
    await ann.find("open-help").click()
    await ann.page.locator('[data-testid="dialog"][data-code="help"]').wait_for()
    await ann.find("dialog-close").click()
    await settings(pages, ann)

    await ann.find("leave").click()
    await ann.find("left-home").click()
    await ann.find("recent-room").click()
    await expect(ann.find("prejoin-room")).to_have_text(made)
    await ann.find("home").click()
    await ann.find("recent-forget").click()
    await expect(ann.find("recent-room")).to_have_count(0)
    await ann.find("landing-room").fill(f"{server.url}/r/{room}")
    await ann.find("landing-go").click()
    await expect(ann.find("prejoin-room")).to_have_text(room)


async def settings(pages: Pages, ann: Caller) -> None:
    """Devices, the language and the shortcuts are chosen in the call, which goes on."""
    await ann.find("open-settings").click()
    microphone = ann.find("device-microphone")
    label = (await microphone.locator("option").last.text_content()) or ""
    assert label not in await ann.page.evaluate(_SENT)
    await microphone.select_option(label=label)

    async def sent() -> bool:
        return label in await ann.page.evaluate(_SENT)

    await until(sent, "the other microphone")
    for device, select in (("camera", ann.find("device-camera")), ("speaker", ann.find("device-speaker"))):
        value = await select.locator("option").last.get_attribute("value")
        await select.select_option(value=value)
        await expect(select).to_have_value(value or "")
        assert await ann.page.evaluate(f"JSON.parse(localStorage.getItem('sfu.{device}'))") == value
    await ann.find("settings-shortcuts").uncheck()
    await pages.screenshot(ann, "settings")
    await ann.find("language").select_option("zh")
    await expect(ann.find("open-settings")).to_contain_text("设置")
    await expect(ann.find("open-settings")).to_be_focused()
    await expect(ann.find("tile")).to_contain_text("Ann")
    assert await ann.page.evaluate("window.__sfu.room.state") == "connected"
    await ann.page.keyboard.press("p")
    await ann.find("toggle-chat").click()
    await expect(ann.find("chat-panel")).to_be_visible()
    await expect(ann.find("people-panel")).to_be_hidden()
    await ann.page.keyboard.press("Escape")
    await pages.screenshot(ann, "chinese")
    await ann.find("open-settings").click()
    await ann.find("settings-shortcuts").check()
    await ann.find("language").select_option("en")
    await expect(ann.find("open-settings")).to_contain_text("Settings")
    await expect(ann.find("open-settings")).to_be_focused()
    await ann.page.keyboard.press("p")
    await expect(ann.find("people-panel")).to_be_visible()


async def test_tiles_board_data_and_rights(pages: Pages, server: ServerProcess, room: str) -> None:
    tia = await pages.new()
    await tia.watch(server.url, room + "?kind=classroom", "Tia")
    async with contextlib.AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(Room.connect(server.url, room, name=name, auto_subscribe=False))
            for name in ("Ben", "Cid", "Dan")
        ]
        await data(tia, peers[0])
        await board(pages, tia)
        await tiles(tia)
        student = await pages.new()
        await student.watch(server.url, room, "Eve")
        await expect(student.find("toggle-screen")).to_be_disabled()
        for attribute in ("title", "aria-label"):
            await expect(student.find("toggle-screen")).to_have_attribute(
                attribute, "Share your screen: the host has not allowed it"
            )
        await tia.find("toggle-people").click()
        await tia.find("person").filter(has_text="Ben").get_by_test_id("person-more").click()
        await tia.find("record-allow").click()
        await tia.find("person").filter(has_text="Ben").get_by_test_id("person-more").click()
        await tia.find("record-deny").click()
        ben = f"window.__sfu.room.participants.get('{peers[0].me.id}').grants.record"

        async def taken() -> bool:
            return await tia.page.evaluate(ben) is False

        await until(taken, "the right to record is taken")


async def data(tia: Caller, ben: Room) -> None:
    """What comes while the panel is closed is marked; the game is no raw text; lossy is sent lossy."""
    await ben.state.set("noughts-and-crosses", {"cells": ["x", *[""] * 8], "turn": "o", "players": {}})
    await expect(tia.find("data-unread")).to_have_text("1")
    await ben.data.send({"x": 1}, topic="cursor")
    await expect(tia.find("data-unread")).to_have_text("2")
    await tia.find("toggle-data").click()
    await expect(tia.find("data-unread")).to_be_hidden()
    await expect(tia.find("topic-list")).to_contain_text("cursor")
    await expect(tia.find("state-entry")).to_have_count(0)
    received = ben.data.listen("")
    await tia.find("data-content").fill("perhaps")
    await tia.find("data-lossy").check()
    await tia.find("data-send").click()
    message = await asyncio.wait_for(anext(received), 10)
    assert (message.data, message.reliable) == ("perhaps", False)
    await tia.page.keyboard.press("Escape")


async def board(pages: Pages, tia: Caller) -> None:
    await tia.find("toggle-board").click()
    canvas = tia.find("board-canvas")

    async def beside() -> FloatRect | None:
        area, tile = await canvas.bounding_box(), await tia.tile("Ben").bounding_box()
        return area if area and tile and tile["x"] > area["x"] + area["width"] else None

    area = await until(beside, "the faces beside the board")
    red = tia.page.get_by_role("button", name="Red pen")
    await red.click()
    await expect(red).to_have_attribute("aria-pressed", "true")
    await tia.page.mouse.move(area["x"] + 50, area["y"] + 50)
    await tia.page.mouse.down()
    await tia.page.mouse.move(area["x"] + 250, area["y"] + 90, steps=5)
    await tia.page.mouse.up()
    await tia.page.get_by_role("img", name="Whiteboard, strokes: 1").wait_for()
    await pages.screenshot(tia, "board")
    await tia.page.set_viewport_size({"width": 390, "height": 844})
    await expect(tia.tile("Ben")).to_be_visible()

    async def below() -> bool:
        area, tile = await canvas.bounding_box(), await tia.tile("Ben").bounding_box()
        return bool(area and tile and tile["y"] > area["y"] + area["height"] and area["width"] > 340)

    await until(below, "the faces below the board")
    await pages.screenshot(tia, "board-phone")
    await tia.page.set_viewport_size({"width": 1280, "height": 800})
    await tia.find("board-clear").click()
    await tia.find("dialog-confirm").click()
    await tia.page.get_by_role("img", name="Whiteboard, strokes: 0").wait_for()
    await tia.find("board-close").click()


async def tiles(tia: Caller) -> None:
    ben = tia.tile("Ben")
    await ben.hover()
    await ben.get_by_test_id("tile-pin").click()
    await expect(ben).to_have_class(re.compile(r"\bmain\b"))
    await tia.page.set_viewport_size({"width": 390, "height": 844})
    position = tia.page.locator(".pager-position")
    await expect(position).to_have_text("1 of 2")
    await tia.find("page-next").click()
    await expect(position).to_have_text("2 of 2")
    await expect(tia.find("page-next")).to_be_disabled()
    await tia.find("page-previous").click()
    await expect(position).to_have_text("1 of 2")
    await tia.page.set_viewport_size({"width": 1280, "height": 800})
    await ben.hover()
    await ben.get_by_test_id("tile-pin").click()
    await expect(ben).not_to_have_class(re.compile(r"\bmain\b"))


# The browser plays nothing before it was asked to by a tap.
_SILENT = """
const play = HTMLMediaElement.prototype.play;
window.__silent = true;
HTMLMediaElement.prototype.play = function () {
  if (this instanceof HTMLAudioElement && window.__silent) {
    return Promise.reject(new DOMException('a tap first', 'NotAllowedError'));
  }
  return play.call(this);
};
"""


async def test_what_fails_can_be_tried_again(pages: Pages, server: ServerProcess, room: str) -> None:
    ann, ben = await pages.new(), await pages.new()
    await ben.page.add_init_script(_SILENT)
    await ann.open(f"{server.url}/r/{room}")
    await ann.find("prejoin-name").fill("Ann")
    await ann.turn_off("prejoin-camera")
    await ann.page.evaluate(_CUT)
    await ann.find("prejoin-join").click()
    unreachable = ann.page.locator('[data-testid="dialog"][data-code="server_unreachable"]')
    # It tries again by itself when it has counted down.
    await expect(unreachable).to_contain_text(re.compile("in [45] s"))
    await ann.page.evaluate("window.__restore()")
    await ann.find("dialog-retry").click()
    await ann.find("leave").wait_for()

    await ben.watch(server.url, room, "Ben")
    await ben.find("tap-to-hear").wait_for()
    await ben.page.evaluate("window.__silent = false")
    await ben.find("tap-to-hear").click()
    await expect(ben.find("tap-to-hear")).to_be_hidden()
    assert await ben.page.evaluate("[...document.querySelectorAll('audio')].every(each => !each.paused)")

    await ben.page.evaluate(
        """() => {
          const refused = () => Promise.reject(new DOMException('', 'NotAllowedError'));
          navigator.mediaDevices.getUserMedia = refused;
        }"""
    )
    await ben.find("toggle-camera").click()
    await ben.page.locator('[data-testid="dialog"][data-code="media_denied"]').wait_for()
    await ben.find("dialog-ok").click()
    await expect(ben.find("dialog")).to_have_count(0)

    await ann.page.evaluate(_CUT)
    # Not while it is about to try by itself.
    await expect(ann.find("reconnecting")).to_contain_text(re.compile("in ([4-9]|10) s"), timeout=30_000)
    await ann.page.evaluate("window.__restore()")
    await ann.find("reconnect-now").click()
    await expect(ann.find("reconnecting")).to_be_hidden()


async def test_turned_away_and_removed(pages: Pages, server: ServerProcess, room: str) -> None:
    async with Room.connect(server.url, room, name="Owner", auto_subscribe=False) as owner:
        request = owner._connection.request
        await request("set_room", lobby=True)
        ann = await pages.new()
        await ann.open(f"{server.url}/r/{room}")
        await ann.find("prejoin-name").fill("Ann")
        await ann.find("prejoin-join").click()
        await ann.find("lobby-cancel").click()
        await expect(ann.find("lobby-screen")).to_have_count(0)
        await expect(ann.find("left")).to_contain_text("You did not wait to be let in")
        await ann.find("language").select_option("zh")
        await expect(ann.find("left")).to_contain_text("您没有等到被允许进入")
        await ann.find("language").select_option("en")
        await expect(ann.find("left-rejoin")).to_have_text("Ask again")
        await ann.find("left-rejoin").click()
        await ann.find("lobby-cancel").click()
        await expect(ann.find("lobby-screen")).to_have_count(0)
        await expect(ann.find("left-rejoin")).to_have_text("Ask again")
        await pages.screenshot(ann, "did-not-wait")
        await request("set_room", lobby=False)
        await ann.find("left-rejoin").click()
        await ann.find("leave").wait_for()
        for choice, seen in (("dialog-rejoin", "leave"), ("dialog-home", "landing-new")):
            await request("remove", participant=await ann.page.evaluate("window.__sfu.room.self.id"))
            await ann.find(choice).click()
            await ann.find(seen).wait_for()


async def test_who_was_removed_is_let_back_in(pages: Pages, tmp_path: Path) -> None:
    def link(identity: str, role: str) -> str:
        given = {"identity": identity, "room": "ward", "ttl_s": 600, "now_s": int(time.time())}
        return f"ward#token={tokens.mint('k1', SECRET, role=role, **given)}"

    async with running(tmp_path, f"auth.keys=k1:{SECRET}") as guarded:
        tia, ben = await pages.new(), await pages.new()
        await tia.watch(guarded.url, link("tia", "owner"), "Tia")
        await ben.watch(guarded.url, link("ben@ward", "participant"), "Ben")
        await tia.find("toggle-people").click()
        await tia.find("removed-people").click()
        await tia.find("removed-nobody").wait_for()
        await tia.find("dialog-close").click()
        await tia.find("person").filter(has_text="Ben").get_by_test_id("person-more").click()
        await tia.find("remove").click()
        await tia.find("dialog-confirm").click()
        await ben.find("dialog-rejoin").click()
        await ben.find("dialog-close").click()
        await ben.find("prejoin-join").wait_for()
        await tia.find("removed-people").click()
        entry = tia.find("removed-person").filter(has_text="ben@ward")
        await pages.screenshot(tia, "removed-people")
        await entry.get_by_test_id("readmit").click()
        await tia.find("removed-nobody").wait_for()
        await expect(entry).to_have_count(0)
        await tia.find("dialog-close").click()
        await ben.find("prejoin-join").click()
        await ben.find("leave").wait_for()


async def test_a_token_is_revoked(pages: Pages, tmp_path: Path) -> None:
    def token(identity: str, role: str) -> str:
        return tokens.mint(
            "k1",
            SECRET,
            identity=identity,
            room="ward",
            ttl_s=600,
            now_s=int(time.time()),
            role=role,
            jti=identity,
        )

    async with running(tmp_path, f"auth.keys=k1:{SECRET}") as guarded:
        tia = await pages.new()
        await tia.watch(guarded.url, f"ward#token={token('tia', 'owner')}", "Tia")
        camera = token("camera", "device")
        async with Room.connect(guarded.url, "ward", token=camera, name="Camera") as device:
            await tia.find("toggle-people").click()
            await tia.find("person").filter(has_text="Camera").get_by_test_id("person-more").click()
            await tia.find("revoke").click()
            await tia.find("dialog-confirm").click()
            await tia.tile("Camera").wait_for(state="detached")

            async def closed() -> bool:
                return device.closed is not None

            await until(closed, "the device is out")
