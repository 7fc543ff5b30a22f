"""A link with a token: what the address, the history and a reload have of it."""

from __future__ import annotations

import time
from pathlib import Path

from browser import Pages
from playwright.async_api import expect
from server_process import running

from sfu.server import tokens

SECRET = "s" * 32


def token(identity: str, room: str) -> str:
    return tokens.mint(
        "k1", SECRET, identity=identity, room=room, ttl_s=600, now_s=int(time.time()), role="owner"
    )


async def test_the_token_leaves_the_address_and_a_reload_still_joins(pages: Pages, tmp_path: Path) -> None:
    async with running(tmp_path, f"auth.keys=k1:{SECRET}") as guarded:
        tia = await pages.new()
        mine, other = token("tia", "ward"), token("tia", "office")
        await tia.watch(guarded.url, f"ward#token={mine}&lang=en", "Tia")
        assert await tia.page.evaluate("location.href") == f"{guarded.url}/r/ward#lang=en"
        assert await tia.page.evaluate("history.length") == 2, "no other entry has it"
        await tia.page.reload()
        await tia.find("prejoin-join").click()
        await tia.find("leave").wait_for()
        assert await tia.page.evaluate("window.__sfu.room.self.identity") == "tia"

        await tia.page.goto(f"{guarded.url}/r/office")
        await tia.find("prejoin-join").click()
        await expect(tia.find("dialog-close")).to_be_visible()
        await tia.find("dialog-close").click()

        # The link of the same room in the same tab: only the fragment changes.
        await tia.page.goto(f"{guarded.url}/r/office#token={other}")
        await tia.find("prejoin-join").click()
        await tia.find("leave").wait_for()
        assert await tia.page.evaluate("location.href") == f"{guarded.url}/r/office"

        answer = await tia.page.request.get(f"{guarded.url}/r/ward")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"

        alone = await pages.new()
        await alone.page.goto(f"{guarded.url}/r/ward")
        assert await alone.page.evaluate("sessionStorage.getItem('sfu.token')") is None, "one tab keeps it"
