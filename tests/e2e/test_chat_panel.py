"""The chat panel as people use it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from browser import Caller, Pages, until
from PIL import Image
from playwright.async_api import FilePayload, Locator, Route, expect
from server_process import ServerProcess, running


async def chatting(pages: Pages, url: str, room: str, *names: str) -> list[Caller]:
    callers = []
    for name in names:
        caller = await pages.new()
        await caller.join(url, room, name)
        await caller.find("toggle-chat").click()
        callers.append(caller)
    return callers


async def say(who: Caller, text: str) -> None:
    await who.find("chat-input").fill(text)
    await who.find("chat-send").click()
    await message(who, text).wait_for()


def message(who: Caller, text: str) -> Locator:
    return who.find("chat-message").filter(has_text=text)


async def test_edit_delete_react_and_mention(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await chatting(pages, server.url, room, "Alice", "Bob")
    await alice.find("chat-input").fill("hi")
    await bob.find("chat-typing").filter(has_text="Alice").wait_for()
    await say(alice, "the frist")
    await message(bob, "the frist").wait_for()

    await message(alice, "the frist").hover()
    await message(alice, "the frist").get_by_test_id("chat-edit").click()
    await expect(alice.find("chat-input")).to_have_value("the frist")
    await say(alice, "the first")
    await expect(message(bob, "the first")).to_contain_text("edited")
    await expect(bob.find("chat-message")).to_have_count(1)

    await message(bob, "the first").get_by_test_id("chat-react").click()
    await message(bob, "the first").get_by_test_id("chat-emoji").filter(has_text="🎉").click()
    await expect(alice.find("chat-reaction")).to_have_text("🎉 1")
    await alice.find("chat-reaction").click()
    await expect(bob.find("chat-reaction")).to_have_text("🎉 2")
    await expect(bob.find("chat-reaction")).to_have_attribute("aria-pressed", "true")

    await bob.find("chat-input").fill("@Al")
    await bob.find("chat-suggestions").get_by_text("@Alice").click()
    await bob.find("chat-input").press("End")
    await bob.find("chat-input").press_sequentially("look")
    await bob.find("chat-input").press("Enter")
    await expect(alice.find("mention")).to_have_text("@Alice")
    await pages.screenshot(alice, "chat")

    await message(alice, "the first").hover()
    await message(alice, "the first").get_by_test_id("chat-edit").click()
    await alice.find("chat-editing-stop").click()
    await expect(alice.find("chat-editing")).to_be_hidden()
    await expect(alice.find("chat-input")).to_have_value("")
    await message(alice, "the first").get_by_test_id("chat-delete").click()
    await expect(bob.find("chat-message").first).to_contain_text("deleted")
    await expect(bob.find("chat-reaction")).to_have_count(0)


async def test_history_survives_a_reload_and_a_restart(pages: Pages, room: str, tmp_path: Path) -> None:
    async with running(tmp_path, "room.chat_history=30") as first:
        (alice,) = await chatting(pages, first.url, room, "Alice")
        for number in range(1, 121, 40):
            await say(alice, f"number {number}.")
            for more in range(number + 1, number + 40):
                await alice.find("chat-input").fill(f"number {more}.")
                await alice.find("chat-send").click()
        await message(alice, "number 120.").wait_for()
    async with running(tmp_path, "room.chat_history=30") as second:
        (ben,) = await chatting(pages, second.url, room, "Ben")
        await message(ben, "number 120.").wait_for()
        await expect(ben.find("chat-message")).to_have_count(30)
        await ben.find("chat-list").evaluate("list => { list.scrollTop = 0; }")
        await expect(ben.find("chat-message")).to_have_count(80)
        await ben.find("chat-list").evaluate("list => { list.scrollTop = 0; }")
        await expect(ben.find("chat-message")).to_have_count(120)
        await expect(ben.find("chat-older")).to_be_hidden()
        texts = await ben.find("chat-text").all_text_contents()
        assert texts == [f"number {number}." for number in range(1, 121)]

        await ben.find("chat-search").fill("number 7.")
        await ben.find("chat-search").press("Enter")
        await expect(ben.find("chat-results").get_by_test_id("chat-message")).to_have_count(1)


async def test_files_are_chosen_dropped_and_saved(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await chatting(pages, server.url, room, "Alice", "Bob")
    out = io.BytesIO()
    Image.effect_noise((800, 600), 90).save(out, "PNG")
    picture: FilePayload = {"name": "noise.png", "mimeType": "image/png", "buffer": out.getvalue()}
    async with alice.page.expect_file_chooser() as choosing:
        await alice.find("chat-attach").click()
    await (await choosing.value).set_files(picture)
    await expect(bob.find("chat-picture")).to_have_js_property("naturalWidth", 480)
    async with bob.page.expect_download() as saving:
        await bob.find("chat-file-save").click()
    saved = await saving.value
    assert saved.suggested_filename == "noise.png"
    assert await asyncio.to_thread(Path(await saved.path()).read_bytes) == out.getvalue()
    await alice.find("chat-input").evaluate(
        """input => {
          const data = new DataTransfer();
          data.items.add(new File(['pasted'], 'notes.txt', {type: 'text/html'}));
          const options = {clipboardData: data, bubbles: true, cancelable: true};
          input.dispatchEvent(new ClipboardEvent('paste', options));
        }"""
    )
    await bob.find("chat-file-save").filter(has_text="notes.txt").wait_for()
    await alice.find("chat-panel").evaluate(
        """panel => {
          const data = new DataTransfer();
          data.items.add(new File(['dropped'], 'dropped.txt'));
          panel.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    await bob.find("chat-file-save").filter(has_text="dropped.txt").wait_for()
    await expect(alice.find("chat-progress")).to_have_count(0)
    await say(alice, "no file")
    await message(bob, "no file").wait_for()
    line = await message(bob, "no file").bounding_box()
    assert line is not None
    assert line["height"] < 50, "one line is no higher than a line"
    await stopped_upload(alice)
    await too_large_a_file(alice)
    await files_list(pages, alice, bob)


async def stopped_upload(alice: Caller) -> None:
    async def never(_: Route) -> None:
        """Its bytes do not get anywhere."""

    await alice.page.route("**/files/*", never)
    await alice.find("chat-files").set_input_files(
        {"name": "slow.txt", "mimeType": "text/plain", "buffer": b"slow"}
    )
    await alice.find("chat-upload-stop").click()
    await expect(alice.find("chat-progress")).to_have_count(0)
    await alice.page.unroute("**/files/*")


async def too_large_a_file(alice: Caller) -> None:
    """It is not even begun, and the limit is named."""
    await alice.find("chat-panel").evaluate(
        """panel => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(26_214_401)], 'huge.bin'));
          panel.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    await expect(alice.find("toast").filter(has_text="huge.bin")).to_contain_text("26.2 MB")


async def files_list(pages: Pages, alice: Caller, bob: Caller) -> None:
    await bob.find("chat-files-toggle").click()
    entries = bob.find("file-entry")
    await expect(entries.get_by_test_id("chat-file-save")).to_have_count(3)
    await expect(entries.first).to_contain_text("dropped.txt")
    await expect(entries.first).to_contain_text("Alice")
    await expect(message(bob, "no file")).to_be_hidden()
    await pages.screenshot(bob, "files")
    await alice.page.evaluate(
        """async () => {
          const {files, messages} = window.__sfu.room;
          for (let i = 0; i < 19; i += 1) {
            const {id} = await files.upload(new File([`${i}`], `more-${i}.txt`));
            await messages.send('', null, id);
          }
        }"""
    )
    await expect(entries).to_have_count(22)
    await bob.find("chat-files-toggle").click()
    await expect(message(bob, "no file")).to_be_attached()
    await bob.find("chat-files-toggle").click()
    await expect(entries).to_have_count(20)
    await bob.find("files-older").click()
    await expect(entries).to_have_count(22)
    await expect(entries.last).to_contain_text("noise.png")
    await expect(bob.find("files-older")).to_be_hidden()


async def test_what_grows_below_stays_in_sight(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await chatting(pages, server.url, room, "Alice", "Bob")
    await alice.page.evaluate(
        """async () => {
          for (let i = 0; i < 14; i += 1) await window.__sfu.room.messages.send(`line ${i}`);
        }"""
    )
    out = io.BytesIO()
    Image.effect_noise((800, 600), 90).save(out, "PNG")
    await alice.find("chat-files").set_input_files(
        {"name": "noise.png", "mimeType": "image/png", "buffer": out.getvalue()}
    )
    await expect(bob.find("announcer")).to_have_text("Alice sent the file noise.png")
    for caller in (alice, bob):
        await expect(caller.find("chat-picture")).to_have_js_property("naturalWidth", 480)

        async def at_end(caller: Caller = caller) -> bool:
            rest = "list => list.scrollHeight - list.scrollTop - list.clientHeight"
            below: float = await caller.find("chat-list").evaluate(rest)
            return below < 2

        await until(at_end, "the end of the chat in sight")
    await pages.screenshot(bob, "picture")
    await bob.find("chat-list").evaluate(
        """list => new Promise((done) => {
          list.addEventListener('scroll', () => done(), {once: true});
          list.scrollTop = 0;
        })"""
    )
    await say(alice, "further down")
    await message(bob, "further down").wait_for()
    assert await bob.find("chat-list").evaluate("list => list.scrollTop") < 50, "who reads above stays there"


async def test_who_may_not_write_sees_why(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await chatting(pages, server.url, room, "Alice", "Bob")
    await say(bob, "noise")
    await message(alice, "noise").wait_for()
    await alice.page.evaluate(
        """() => {
          const {classroom, participants} = window.__sfu.room;
          const [participant] = participants.keys();
          window.__bob = (chat) => classroom.moderate('set_grants', {participant, grants: {chat}});
          return window.__bob(false);
        }"""
    )
    await expect(bob.find("chat-denied")).to_be_visible()
    for gone in ("chat-input", "chat-attach"):
        await expect(bob.find(gone)).to_be_hidden()
    await message(bob, "noise").hover()
    await expect(bob.find("chat-edit")).to_be_hidden()
    await pages.screenshot(bob, "denied")
    await alice.page.evaluate("window.__bob(true)")
    await expect(bob.find("chat-denied")).to_be_hidden()
    await say(bob, "again")


async def test_a_reload_keeps_who_one_is_and_what_is_new(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    """The maker of the room reloads: owner again, the same person, everything once and in order."""
    alice, bob = await chatting(pages, server.url, room, "Alice", "Bob")
    await say(bob, "one")
    await message(alice, "one").wait_for()
    await say(alice, "two")
    await expect(bob.find("chat-message")).to_have_count(2)
    await expect(alice.find("chat-seen")).to_have_text("Seen by Bob")

    await alice.page.reload()
    await bob.find("chat-to").locator("option", has_text="Alice (away)").wait_for(state="attached")
    await bob.find("chat-to").select_option(label="Alice (away)")
    await say(bob, "three, for you alone")
    await bob.find("chat-to").select_option(label="Everyone")
    await say(bob, "four")
    await alice.find("prejoin-join").click()
    await expect(alice.find("chat-unread")).to_have_text("2")
    await alice.find("toggle-chat").click()
    texts = ["one", "two", "three, for you alone", "four"]
    await expect(alice.find("chat-text")).to_have_text(texts)
    await expect(alice.find("chat-new")).to_have_count(1)
    await expect(message(alice, "two")).to_have_attribute("data-own", "true")
    await expect(alice.find("chat-unread")).to_be_hidden()
    await say(alice, "five")
    await expect(bob.find("chat-text")).to_have_text([*texts, "five"])
    role = await alice.page.evaluate("window.__sfu.room.self.role")
    assert role == "owner"
    await pages.screenshot(alice, "chat-after-reload")

    # Another tab of the same browser is another person, who owns nothing.
    tab = Caller(await alice.page.context.new_page())
    await tab.join(server.url, room, "Alice")
    assert await tab.page.evaluate("window.__sfu.room.self.role") == "participant"
    assert await alice.page.evaluate("window.__sfu.room.state") == "connected"
