"""Telemetry in a real browser: a device sends, the page shows its plot and its alarms."""

from __future__ import annotations

import asyncio
import csv
import re
import time
from pathlib import Path

from browser import Pages, until
from playwright.async_api import expect
from server_process import ServerProcess, command, environ
from signalling import clients, local_config

from sfu.config import RoomConfig
from sfu_client import Room, Series, events

PULSE = Series(name="pulse", title="Pulse", unit="1/min", low=50, high=110, hysteresis=5)


async def test_a_value_is_seen_beside_the_picture_and_alarms(
    pages: Pages, server: ServerProcess, room: str, tmp_path: Path
) -> None:
    ann = await pages.new(accept_downloads=True)
    await ann.watch(server.url, room, "Ann")
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(PULSE)
        for value in (70, 72, 75):
            await device.telemetry.send({"pulse": value})
        tile = ann.tile("Monitor")
        await expect(tile.get_by_test_id("gauge-value")).to_have_text("75 1/min")
        await expect(ann.find("alarm")).to_have_count(0)
        await expect(tile.get_by_test_id("gauge-alarm")).to_be_hidden()
        await device.telemetry.send({"pulse": 130})
        await expect(tile.get_by_test_id("gauge-alarm")).to_have_text("too high")
        await expect(
            ann.page.get_by_text("Alarm: Pulse of Monitor is too high: 130 1/min").first
        ).to_be_visible()
        await expect(ann.find("alarms").get_by_role("alert")).to_have_text(
            "Alarm: Pulse of Monitor is too high: 130 1/min"
        )
        await pages.screenshot(ann, "tile")
        await tile.get_by_test_id("gauges").click()
        await expect(ann.find("series-value")).to_contain_text("130 1/min")
        await ann.find("alarm-acknowledge").click()
        await expect(ann.find("alarm-acknowledge")).to_be_hidden()
        await expect(ann.find("alarm")).to_have_count(0)
        await expect(ann.find("series-value")).to_contain_text("too high, acknowledged")
        await pages.screenshot(ann, "dialog")
        async with ann.page.expect_download() as downloading:
            await ann.find("telemetry-csv").click()
        saved = tmp_path / "telemetry.csv"
        await (await downloading.value).save_as(saved)
        with saved.open(encoding="utf-8-sig", newline="") as file:
            assert [row[3] for row in csv.reader(file)] == ["value", "70.0", "72.0", "75.0", "130.0"]
    await expect(ann.page.get_by_test_id("gauges")).to_have_count(0)


async def test_an_alarm_cannot_be_overlooked_and_is_there_for_who_comes_later(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    ann, ben = await pages.new(), await pages.new(viewport={"width": 390, "height": 844})
    await ann.watch(server.url, room, "Ann")
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(PULSE, Series(name="oxygen", title="Oxygen", unit="%", low=90))
        await device.telemetry.send({"pulse": 130, "oxygen": 97})
        await expect(ann.find("alarm")).to_have_count(1)
        await ben.watch(server.url, room, "Ben")
        await expect(ben.find("alarms").get_by_role("alert")).to_contain_text("Pulse of Monitor is too high")
        await pages.screenshot(ben, "phone")
        # Ben does not moderate: he sees it, and where it comes from.
        await expect(ben.find("alarm-bar-acknowledge")).to_be_hidden()
        await ben.find("alarm-show").click()
        await expect(ben.find("series-value").first).to_contain_text("130 1/min")
        await expect(ben.find("series-set-limits")).to_have_count(0)
        # What is behind a modal dialog is inert, so it is said in there as well.
        await device.telemetry.send({"oxygen": 80})
        await expect(ben.find("alarm-echo")).to_contain_text("Oxygen of Monitor is too low: 80 %")
        await ben.page.keyboard.press("Escape")
        # By keyboard alone.
        await ann.find("alarm-bar-acknowledge").first.focus()
        await ann.page.keyboard.press("Enter")
        await expect(ann.find("alarm")).to_have_count(1)
        await expect(ben.find("alarm")).to_have_count(1)
        await expect(ben.tile("Monitor").locator("[data-alarm='acknowledged']")).to_have_count(1)
        await device.telemetry.send({"oxygen": 96})
        await expect(ann.find("alarm")).to_have_count(0)


async def test_a_dead_sensor_does_not_look_alive(pages: Pages, server: ServerProcess, room: str) -> None:
    ann = await pages.new()
    await ann.watch(server.url, room, "Ann")
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(Series(name="pulse", title="Pulse", silent_s=6))
        await device.telemetry.send({"pulse": 70})
        tile = ann.tile("Monitor")
        await expect(tile.get_by_test_id("gauge-value")).to_have_text("70")
        line = tile.locator(".gauge .plot-line")
        before = await line.get_attribute("points")
        await expect(ann.find("alarms").get_by_role("alert")).to_have_text(
            "Alarm: Pulse of Monitor: no new value for 6 s", timeout=20_000
        )
        await expect(tile.get_by_test_id("gauge-value")).to_have_text(re.compile(r"^70 · \d+ s ago$"))
        await expect(tile.locator("[data-stale='true']")).to_have_count(1)
        await expect(tile.get_by_test_id("gauge-alarm")).to_have_text("no new value")
        # It has moved to the left: the right edge is now.
        assert await line.get_attribute("points") != before
        await pages.screenshot(ann, "silent")
        await device.telemetry.send({"pulse": 71})
        await expect(tile.get_by_test_id("gauge-value")).to_have_text("71")
        await expect(tile.locator("[data-stale='true']")).to_have_count(0)
        await expect(ann.find("alarm")).to_have_count(0)
        await device.telemetry.declare(PULSE)
        await device.telemetry.send({"pulse": 130})
        await expect(ann.find("alarm")).to_have_count(1)
    # It has left by itself, and took its alarm along.
    await expect(ann.find("alarm")).to_have_count(0)
    await expect(ann.page.get_by_text("Monitor has left; the alarm of Pulse ends with it")).to_be_visible()


async def test_that_a_device_was_lost_stays_until_it_is_put_away(pages: Pages, room: str) -> None:
    async with clients(local_config(room=RoomConfig(grace_s=1))) as those:
        ann = await pages.new()
        await ann.watch(those.server.http_url, room, "Ann")
        device = await those.join(room, "Monitor", role="device")
        await device.request(
            "telemetry_declare", series=[{"name": "pulse", "title": "Pulse", "silent_s": 60}]
        )
        await device.request("telemetry", samples=[["pulse", time.time_ns() // 1_000_000, 71]])
        await expect(ann.tile("Monitor").get_by_test_id("gauge-value")).to_have_text("71")
        await device.drop()
        alarm = ann.find("alarms").get_by_role("alert")
        await expect(alarm).to_have_text("Alarm: Monitor was lost. Pulse was last: 71", timeout=20_000)
        await expect(ann.tile("Monitor")).to_have_count(0)
        await ann.find("alarm-dismiss").click()
        await expect(alarm).to_have_count(0)


async def test_limits_are_set_on_the_page_by_keyboard(pages: Pages, server: ServerProcess, room: str) -> None:
    ann = await pages.new()
    await ann.watch(server.url, room, "Ann")
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(PULSE)
        await device.telemetry.send({"pulse": 100})
        told = device.events()
        await ann.tile("Monitor").get_by_test_id("gauges").click()
        await ann.find("series-set-limits").click()
        await expect(ann.find("limit-low")).to_be_focused()
        await expect(ann.find("limit-low")).to_have_value("50")
        await ann.find("limit-low").fill("95")
        await ann.page.keyboard.press("Tab")
        await expect(ann.find("limit-high")).to_be_focused()
        await ann.find("limit-high").fill("90")
        await ann.page.keyboard.press("Enter")
        await expect(ann.find("limits-fault")).to_have_text("The first limit must be below the second.")
        await pages.screenshot(ann, "limits")
        await ann.find("limit-low").fill("")
        await ann.find("limits-save").click()
        await expect(ann.find("limit-low")).to_have_count(0)
        await expect(ann.page.locator(".series-limits")).to_have_text("at most 90")
        # The value that is there is judged by them at once.
        await expect(ann.find("series-value")).to_contain_text("too high")
        await expect(ann.find("alarm")).to_have_count(1)
        async with asyncio.timeout(20):
            while not isinstance(event := await anext(told), events.AlarmChanged):
                pass
        assert (event.alarm.limit, event.alarm.value) == (90, 100)
        await ann.find("series-set-limits").click()
        await ann.find("limit-high").fill("1")
        await ann.find("limits-cancel").click()
        await expect(ann.page.locator(".series-limits")).to_have_text("at most 90")
        await ann.find("series-set-limits").click()
        await ann.find("limit-high").fill("")
        await ann.page.keyboard.press("Enter")
        await expect(ann.find("alarm")).to_have_count(0)
        await expect(ann.page.locator(".series-limits")).to_have_text("")


async def test_a_camera_shows_the_load_of_its_machine(pages: Pages, server: ServerProcess, room: str) -> None:
    ann = await pages.new(viewport={"width": 390, "height": 844})
    await ann.watch(server.url, room, "Ann")
    process = await asyncio.create_subprocess_exec(
        *command("camera", "synthetic", "--server", server.url, "--room", room, "--name", "Shed"),
        "--telemetry",
        "0.5",
        env=environ(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await ann.sees("Shed")
        values = ann.tile("Shed").get_by_test_id("gauge-value")
        await until(values.count, "values of the machine")
        await expect(values.first).to_contain_text("%")
        await pages.screenshot(ann, "phone")
    finally:
        process.terminate()
        await process.wait()
