"""The page of the HTTP API in a real browser."""

from __future__ import annotations

from browser import Pages
from playwright.async_api import expect
from server_process import ServerProcess


async def test_the_reference_lists_the_endpoints_and_asks_one(pages: Pages, server: ServerProcess) -> None:
    caller = await pages.new()
    await caller.open(server.url + "/api/v1/docs")
    counts, rooms = caller.find("api-get_stats"), caller.find("api-get_rooms")
    await expect(rooms).to_be_visible()
    await counts.locator("summary").click()
    await counts.get_by_role("button", name="Send").click()
    await expect(counts.get_by_test_id("api-answer")).to_contain_text('"rooms"')
    await rooms.locator("summary").click()
    await rooms.get_by_role("button", name="Send").click()
    await expect(rooms.get_by_test_id("api-answer")).to_contain_text("bad_token")
    await caller.find("api-token").fill("a.b.c")
    async with caller.page.expect_request("**/api/v1/rooms") as asking:
        await rooms.get_by_role("button", name="Send").click()
    assert (await asking.value).headers["authorization"] == "Bearer a.b.c"
    await pages.screenshot(caller, "reference")
