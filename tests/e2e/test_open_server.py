"""A server that strangers can enter says so in the page."""

from __future__ import annotations

from pathlib import Path

from browser import Pages
from playwright.async_api import expect
from server_process import ServerProcess, running


async def test_an_open_server_says_so_until_it_is_put_away(pages: Pages, tmp_path: Path, room: str) -> None:
    async with running(tmp_path, "server.host=0.0.0.0") as server:
        ann = await pages.new()
        await ann.watch(server.url, room, "Ann")
        note = ann.find("open-server")
        await expect(note).to_be_visible()
        await expect(note).to_contain_text("open to everybody")
        await ann.find("open-server-close").click()
        await expect(note).to_have_count(0)


async def test_a_server_of_this_machine_alone_says_nothing(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    ann = await pages.new()
    await ann.watch(server.url, room, "Ann")
    await expect(ann.find("open-server")).to_be_hidden()
