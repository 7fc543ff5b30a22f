"""The keyboard's focus stays where it was, whatever the others do and whatever opens and closes."""

from __future__ import annotations

from browser import Caller, Pages
from playwright.async_api import expect
from server_process import ServerProcess

from sfu_client import Room


async def focused(who: Caller, test_id: str) -> None:
    await expect(who.page.locator(f'[data-testid="{test_id}"]:focus')).to_have_count(1)


async def head_focused(who: Caller, panel: str) -> None:
    await expect(who.find(panel).locator(".panel-head h2")).to_be_focused()


async def test_focus_stays_when_others_act(pages: Pages, server: ServerProcess, room: str) -> None:
    tia = await pages.new()
    await tia.watch(server.url, room, "Tia")
    peer = {"auto_subscribe": False}
    async with (
        Room.connect(server.url, room, name="Ben", **peer) as ben,
        Room.connect(server.url, room, name="Cid", **peer) as cid,
    ):
        await people(tia, cid)
        await questions_and_polls(tia, ben, cid)
        await board(tia)
        await reactions_and_menu(tia)


async def people(tia: Caller, cid: Room) -> None:
    await tia.page.keyboard.press("p")
    await head_focused(tia, "people-panel")
    person = tia.find("person").filter(has_text="Ben")
    await person.get_by_test_id("person-more").click()
    await person.get_by_test_id("spotlight").focus()
    await cid._connection.request("raise_hand", raised=True)
    await expect(tia.find("person").first).to_contain_text("Cid")
    await expect(person.get_by_test_id("spotlight")).to_be_focused()
    await tia.page.keyboard.press("Enter")
    await tia.has(tia.tile("Ben"), "data-spotlight", "true")
    await expect(person.get_by_test_id("person-more")).to_be_focused()
    await tia.find("lock").focus()
    await tia.page.keyboard.press("Enter")
    await expect(tia.find("lock")).to_have_attribute("aria-pressed", "true")
    await focused(tia, "lock")
    await tia.page.keyboard.press("Enter")
    await person.get_by_test_id("person-message").click()
    await focused(tia, "chat-input")
    await tia.page.keyboard.press("Escape")
    await focused(tia, "toggle-people")


async def questions_and_polls(tia: Caller, ben: Room, cid: Room) -> None:
    await tia.find("toggle-class").click()
    await head_focused(tia, "class-panel")
    await ben._connection.request("ask", text="Is zero even?")
    await tia.find("question-vote").focus()
    await tia.page.keyboard.press("Enter")
    await expect(tia.find("question-vote")).to_have_attribute("aria-pressed", "true")
    await focused(tia, "question-vote")
    await cid._connection.request("ask", text="Who is right?")
    await expect(tia.find("question")).to_have_count(2)
    asked = tia.find("question").filter(has_text="Is zero even?")
    await expect(asked.get_by_test_id("question-vote")).to_be_focused()
    await tia.find("poll-new-open").click()
    await tia.find("poll-question").fill("Even?")
    for place, text in enumerate(("Yes", "No")):
        await tia.find("poll-new-option").nth(place).fill(text)
    await tia.find("poll-start").click()
    await tia.find("poll-option").nth(1).focus()
    await tia.page.keyboard.press("Enter")
    await expect(tia.find("poll-option").nth(1)).to_have_attribute("aria-pressed", "true")
    await expect(tia.find("poll-option").nth(1)).to_be_focused()
    await tia.page.keyboard.press("Escape")
    await focused(tia, "toggle-class")


async def board(tia: Caller) -> None:
    await tia.page.keyboard.press("w")
    await focused(tia, "board")
    for tool, place in (("board-color", 2), ("board-width", 1), ("board-eraser", 0)):
        button = tia.find(tool).nth(place)
        await button.focus()
        await tia.page.keyboard.press("Enter")
        await expect(button).to_have_attribute("aria-pressed", "true")
        await expect(button).to_be_focused()
    await tia.find("board-close").click()
    await focused(tia, "toggle-class")


async def reactions_and_menu(tia: Caller) -> None:
    button = tia.find("toggle-reactions")
    await expect(button).to_have_attribute("aria-expanded", "false")
    await button.click()
    await expect(button).to_have_attribute("aria-expanded", "true")
    await expect(tia.find("reaction-choice").first).to_be_focused()
    await tia.page.keyboard.press("Tab")
    await tia.page.keyboard.press("Enter")
    await tia.find("reaction").first.wait_for()
    await expect(button).to_have_attribute("aria-expanded", "false")
    await focused(tia, "toggle-reactions")
    await tia.page.set_viewport_size({"width": 390, "height": 844})
    await tia.find("toggle-more").click()
    await focused(tia, "toggle-reactions")
    await tia.find("toggle-data").click()
    await head_focused(tia, "data-panel")
    await tia.find("data-panel").get_by_test_id("panel-close").click()
    await focused(tia, "toggle-more")
