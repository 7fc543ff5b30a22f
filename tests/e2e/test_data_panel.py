"""The data panel as people use it: shared state, messages by topic, a game."""

from __future__ import annotations

from browser import Caller, Pages, until
from playwright.async_api import Locator, expect
from server_process import ServerProcess

from sfu_client import Room


async def open_panel(who: Caller, *sections: str) -> None:
    """The panel with these sections unfolded."""
    await who.find("toggle-data").click()
    for section in sections:
        folded = who.page.locator(f'[data-testid="data-section-{section}"]:not([open]) > summary')
        if await folded.count():
            await folded.click()


async def send(who: Caller, topic: str, content: str, to: str = "") -> None:
    await who.find("data-topic").fill(topic)
    await who.find("data-to").select_option(label=to or "Everybody")
    await who.find("data-content").fill(content)
    await who.find("data-send").click()
    await expect(who.find("data-content")).to_have_value("")


def topic(who: Caller, name: str) -> Locator:
    return who.page.locator(f'[data-testid="topic"][data-topic="{name}"]')


def entry(who: Caller, key: str) -> Locator:
    return who.page.locator(f'[data-testid="state-entry"][data-key="{key}"]')


async def test_state_and_messages_between_two_pages(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pages.new(), await pages.new()
    await alice.watch(server.url, room, "Alice")
    await bob.watch(server.url, room, "Bob")
    await open_panel(alice)
    await bob.page.keyboard.press("d")
    await expect(bob.find("data-panel")).to_be_visible()

    await alice.find("state-key").fill("score")
    await alice.find("state-value").fill('{"alice": 3}')
    await alice.find("state-set").click()
    await expect(entry(bob, "score")).to_contain_text('{"alice":3}')
    await expect(entry(bob, "score")).to_contain_text("version 1")
    await bob.find("state-key").fill("note")
    await bob.find("state-value").fill("<b>plain text</b>")
    await bob.find("state-value").press("Enter")
    await expect(entry(alice, "note")).to_contain_text("<b>plain text</b>")

    await send(alice, "cursor", '{"x": 17, "y": 4}')
    await expect(topic(bob, "cursor")).to_contain_text('Alice{"x":17,"y":4}')
    await expect(topic(alice, "cursor")).to_contain_text("You")
    await send(bob, "", "only for owners", "owner")
    await expect(topic(alice, "")).to_contain_text("Bobonly for owners")
    await send(alice, "cursor", "to Bob", "Bob")
    await expect(topic(bob, "cursor").get_by_test_id("data-message")).to_have_count(2)
    await pages.screenshot(bob, "panel")

    late = await pages.new(locale="zh-CN")
    await late.watch(server.url, room, "Li")
    await open_panel(late)
    await expect(late.find("data-panel")).to_contain_text("共享状态")
    await expect(entry(late, "score")).to_contain_text('{"alice":3}')
    await entry(bob, "score").get_by_test_id("state-delete").click()
    await expect(entry(late, "score")).to_have_count(0)
    await expect(entry(alice, "note")).to_have_count(1)
    await pages.screenshot(late, "panel-chinese")


async def test_a_game_is_played_by_mouse_and_keyboard(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pages.new(), await pages.new()
    await alice.watch(server.url, room, "Alice")
    await bob.watch(server.url, room, "Bob")
    for who in (alice, bob):
        await open_panel(who, "game")

    async def status(who: Caller, text: str) -> None:
        await expect(who.find("game-status")).to_have_text(text)

    await alice.find("game-cell").nth(0).click()
    await status(bob, "Your turn: ◯")
    await bob.find("game-cell").nth(3).click()
    await status(alice, "Your turn: ✕")
    await bob.find("game-cell").nth(4).click(force=True)
    await expect(bob.find("game-cell").nth(4)).to_have_text("")
    await alice.find("game-cell").nth(0).focus()
    await alice.page.keyboard.press("ArrowRight")
    await alice.page.keyboard.press("Enter")
    await expect(bob.find("game-cell").nth(1)).to_have_text("✕")
    await expect(bob.find("game-cell").nth(1)).to_have_attribute("aria-label", "Cell 2, cross")
    await bob.find("game-cell").nth(4).click()
    await expect(alice.find("game-cell").nth(4)).to_have_text("◯")
    await alice.find("game-cell").nth(2).click()
    for who in (alice, bob):
        await status(who, "Alice has won with ✕.")
    await pages.screenshot(alice, "won")
    await bob.find("game-again").click()
    await expect(alice.find("game-cell").nth(0)).to_have_text("")
    await status(alice, "Your turn: ✕")


async def test_who_may_send_no_data_sees_no_controls(pages: Pages, server: ServerProcess, room: str) -> None:
    async with Room.connect(server.url, room, name="Owner", auto_subscribe=False) as owner:
        await owner.state.set("note", "for all to see")
        student = await pages.new()
        await student.watch(server.url, room, "Student")
        await open_panel(student, "game")
        await expect(student.find("data-send")).to_be_visible()
        await expect(student.find("game-status")).to_have_text("Your turn: ✕")

        async def there() -> list[str]:
            return list(owner.participants)

        [of_student] = await until(there, "the student to be there")
        await owner._connection.request("set_grants", participant=of_student, grants={"data": False})
        for control in ("data-send", "state-set", "state-delete", "game-again"):
            await expect(student.find(control)).to_be_hidden()
        await expect(student.find("game-cell").first).to_have_attribute("aria-disabled", "true")
        await expect(entry(student, "note")).to_contain_text("for all to see")
