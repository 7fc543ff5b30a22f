"""Telemetry in a real browser: a device sends, the page shows its plot and its alarms."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

from browser import Pages, until
from playwright.async_api import expect
from server_process import ServerProcess, command, environ

from sfu_client import Room, Series

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
        await expect(tile.get_by_test_id("gauge-alarm")).to_be_hidden()
        await device.telemetry.send({"pulse": 130})
        await expect(tile.get_by_test_id("gauge-alarm")).to_have_text("too high")
        await expect(
            ann.page.get_by_text("Alarm: Pulse of Monitor is too high: 130 1/min").first
        ).to_be_visible()
        await pages.screenshot(ann, "tile")
        await tile.get_by_test_id("gauges").click()
        await expect(ann.find("series-value")).to_contain_text("130 1/min")
        await ann.find("alarm-acknowledge").click()
        await expect(ann.find("alarm-acknowledge")).to_be_hidden()
        await pages.screenshot(ann, "dialog")
        async with ann.page.expect_download() as downloading:
            await ann.find("telemetry-csv").click()
        saved = tmp_path / "telemetry.csv"
        await (await downloading.value).save_as(saved)
        with saved.open(encoding="utf-8-sig", newline="") as file:
            assert [row[3] for row in csv.reader(file)] == ["value", "70.0", "72.0", "75.0", "130.0"]
    await expect(ann.page.get_by_test_id("gauges")).to_have_count(0)


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
