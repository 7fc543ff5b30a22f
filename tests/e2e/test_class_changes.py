"""What a teacher changes for others, pressed on the teacher's page and seen on theirs."""

from __future__ import annotations

from browser import Caller, Pages, until
from playwright.async_api import expect
from server_process import ServerProcess
from test_class import WINDOW, draw_a_line, ink, light, moderate


async def told(caller: Caller, text: str) -> None:
    """Wait until it stands on the page for a moment."""
    await caller.find("toast").filter(has_text=text).first.wait_for()


async def confirm(caller: Caller) -> None:
    await caller.find("dialog-confirm").click()


async def asks_to_come_in(caller: Caller, url: str, name: str) -> None:
    await caller.open(url)
    await caller.find("prejoin-name").fill(name)
    await caller.find("prejoin-join").click()
    await caller.find("lobby-screen").wait_for()


async def test_what_a_teacher_changes_is_seen_by_students(pages: Pages, server: ServerProcess) -> None:
    tia = await light(pages, camera=False)
    ben, cid = [await light(pages, camera=False, viewport=WINDOW) for _ in range(2)]
    link = await a_new_classroom(tia, server.url)
    await through_the_lobby(tia, ben, cid, link)
    await rights(tia, ben)
    await turns(tia, ben, cid)
    await silence(tia, ben, cid)
    await questions(tia, ben)
    await polls(tia, cid)
    await breakouts(tia, ben, cid)
    await a_board_is_cleared(tia)
    await a_second_teacher(tia, ben)
    await the_same_person_twice(pages, tia, link)


async def a_new_classroom(tia: Caller, url: str) -> str:
    """Made on the first page, of the same kind after a reload; the link that others get says no kind."""
    await tia.open(url)
    await tia.find("landing-kind").select_option("classroom")
    await tia.find("landing-new").click()
    await tia.find("prejoin-join").wait_for()
    await tia.page.reload()
    await tia.find("prejoin-name").fill("Tia")
    await tia.find("prejoin-join").click()
    await tia.find("leave").wait_for()
    assert await tia.page.evaluate("window.__sfu.room.classroom.room.template") == "classroom"
    return tia.page.url.partition("?")[0]


async def through_the_lobby(tia: Caller, ben: Caller, cid: Caller, link: str) -> None:
    await tia.find("toggle-people").click()
    await tia.find("lobby").click()
    await tia.has(tia.find("lobby"), "aria-pressed", "true")
    await asks_to_come_in(ben, link, "Ben")
    await asks_to_come_in(cid, link, "Cid")
    for key in ("h", "w"):
        await cid.page.keyboard.press(key)
    await tia.find("admit-all").click()
    for student in (ben, cid):
        await student.find("leave").wait_for()
        await student.tile("Tia").wait_for()
    await expect(cid.find("board-canvas")).to_be_hidden()
    await cid.has(cid.find("toggle-hand"), "aria-pressed", "false")
    assert await tia.page.evaluate("window.__sfu.room.classroom.hands") == [], "no key acts in the lobby"
    await tia.find("lobby").click()
    await tia.has(tia.find("lobby"), "aria-pressed", "false")


async def rights(tia: Caller, ben: Caller) -> None:
    for deny, allow, button, says in (
        ("mic-deny", "mic-allow", "toggle-mic", ("Your microphone was taken away", "You may speak now")),
        (
            "camera-deny",
            "camera-allow",
            "toggle-camera",
            ("Your camera was taken away", "You may use your camera"),
        ),
    ):
        await moderate(tia, "Ben", deny)
        await expect(ben.find(button)).to_be_disabled()
        await told(ben, says[0])
        await moderate(tia, "Ben", allow)
        await expect(ben.find(button)).to_be_enabled()
        await told(ben, says[1])
    await ben.find("toggle-mic").click()
    await tia.has(tia.tile("Ben"), "data-muted", "false")
    await moderate(tia, "Ben", "mute")
    await ben.has(ben.find("toggle-mic"), "aria-pressed", "false")
    await moderate(tia, "Ben", "chat-deny")
    await told(ben, "You may not write in the chat any more")
    await moderate(tia, "Ben", "chat-allow")
    await told(ben, "You may write in the chat now")
    await moderate(tia, "Ben", "make-presenter")
    await told(ben, "You are a presenter now")
    await expect(ben.find("toggle-screen")).to_be_enabled()
    await moderate(tia, "Ben", "make-participant")
    await told(ben, "You are a participant now")
    await expect(ben.find("toggle-screen")).to_be_disabled()
    await moderate(tia, "Ben", "screen-allow")
    await told(ben, "You may share your screen now")
    await moderate(tia, "Ben", "screen-deny")
    await expect(ben.find("toggle-screen")).to_be_disabled()
    offered = await tia.page.evaluate(
        """async () => {
          const {moderationOf} = await import('/static/ui/moderation.js');
          const device = {id: 'PA_x', name: 'X', role: 'device', grants: {publish: true}, muted: true};
          return moderationOf(device, window.__sfu.room).map((each) => each.testid);
        }"""
    )
    assert "remove" in offered
    assert "revoke" not in offered, "where nobody has a token there is none to revoke"


async def turns(tia: Caller, ben: Caller, cid: Caller) -> None:
    await ben.find("toggle-hand").click()
    await tia.has(tia.find("person").filter(has_text="Ben"), "data-hand", "1")
    await moderate(tia, "Ben", "lower-hand")
    await told(ben, "Your hand was lowered")
    for place, (student, name) in enumerate(((ben, "Ben"), (cid, "Cid")), 1):
        await student.find("toggle-hand").click()
        await tia.has(tia.find("person").filter(has_text=name), "data-hand", str(place))
    await tia.find("lower-hands").click()
    for student in (ben, cid):
        await student.has(student.find("toggle-hand"), "aria-pressed", "false")
    await ben.find("toggle-hand").click()
    await tia.has(tia.find("person").filter(has_text="Ben"), "data-hand", "1")
    await moderate(tia, "Ben", "call-on")
    await told(ben, "It is your turn")
    await expect(ben.find("announcer")).to_contain_text("It is your turn")
    await expect(tia.find("person").filter(has_text="not yet called on")).to_contain_text("Cid")
    await tia.find("not-yet").click()
    await expect(tia.find("person")).to_have_count(1)
    await expect(tia.find("person")).to_contain_text("Cid")
    await tia.find("not-yet").click()
    await expect(tia.find("person")).to_have_count(3)
    await moderate(tia, "Ben", "spotlight")
    await told(ben, "You are shown large to everybody")
    await expect(cid.tile("Ben").get_by_test_id("tile-spotlight")).to_be_visible()
    await moderate(tia, "Ben", "spotlight-end")
    await expect(cid.tile("Ben").get_by_test_id("tile-spotlight")).to_be_hidden()


async def silence(tia: Caller, ben: Caller, cid: Caller) -> None:
    await tia.find("silence").click()
    for student in (ben, cid):
        await expect(student.find("toggle-mic")).to_be_disabled()
    await moderate(tia, "Ben", "mic-allow")
    await expect(ben.find("toggle-mic")).to_be_enabled()
    await expect(cid.find("toggle-mic")).to_be_disabled()
    await tia.find("silence").click()
    await expect(cid.find("toggle-mic")).to_be_enabled()


async def questions(tia: Caller, ben: Caller) -> None:
    await ben.page.keyboard.press("q")
    await ben.find("question-input").fill("Why is the sky blue?")
    await ben.find("question-send").click()
    await tia.find("toggle-class").click()
    await tia.find("question-reply").click()
    await tia.find("question-answer-cancel").click()
    await expect(tia.find("question-answer-form")).to_be_hidden()
    await tia.find("question-reply").click()
    await tia.find("question-answer-input").fill("Because of Rayleigh")
    await ben.find("question-vote").click()
    await expect(tia.find("question")).to_contain_text("0")
    await expect(tia.find("question-answer-input")).to_be_focused()
    await tia.find("question-answer-send").click()
    await expect(ben.find("question")).to_contain_text("Because of Rayleigh")
    await told(ben, "was answered: Because of Rayleigh")
    await tia.find("question-remove").click()
    await expect(ben.find("question")).to_have_count(0)


async def polls(tia: Caller, cid: Caller) -> None:
    await tia.find("poll-new-open").click()
    await tia.find("poll-question").fill("Which are prime?")
    await tia.find("poll-add-option").click()
    for index, text in enumerate(("Two", "Three", "Four")):
        await tia.find("poll-new-option").nth(index).fill(text)
    await tia.find("poll-multiple").check()
    await tia.find("poll-start").click()
    await told(cid, "New poll: Which are prime?")
    await cid.page.keyboard.press("q")
    await expect(cid.find("poll-several")).to_be_visible()
    for index in (0, 1):
        await cid.find("poll-option").nth(index).click()
        await cid.has(cid.find("poll-option").nth(index), "aria-pressed", "true")
    await expect(tia.find("poll-count").nth(1)).to_have_text("1 · 100 %")
    for index in (0, 1):
        await cid.find("poll-option").nth(index).click()
        await cid.has(cid.find("poll-option").nth(index), "aria-pressed", "false")
    await expect(tia.find("poll")).to_contain_text("0 answered")
    await tia.find("poll-remove").click()
    await expect(cid.find("poll")).to_have_count(0)


async def breakouts(tia: Caller, ben: Caller, cid: Caller) -> None:
    await tia.find("toggle-people").click()
    await tia.find("breakouts").click()
    await tia.find("breakout-start").click()
    await ben.find("breakout-banner").filter(has_text="Room 1").wait_for()
    await cid.find("breakout-banner").filter(has_text="Room 2").wait_for()
    writing = tia.find("breakout-text")
    await writing.fill("Five minutes")
    await ben.page.reload()
    await ben.find("prejoin-join").click()
    await ben.find("breakout-banner").filter(has_text="Room 1").wait_for()
    await expect(tia.find("breakout-of")).to_have_count(2)
    await tia.find("breakout-of").nth(0).select_option("2")
    await tia.find("breakout-of").nth(1).select_option("2")
    for student in (ben, cid):
        await student.find("breakout-banner").filter(has_text="Room 2").wait_for()
    await expect(writing).to_have_value("Five minutes")
    await writing.focus()
    await (
        tia.find("breakout-of")
        .nth(0)
        .evaluate(
            """(select) => {
          select.value = '1';
          select.dispatchEvent(new Event('change'));
        }"""
        )
    )

    async def moved() -> bool:
        rooms = [await each.find("breakout-banner").text_content() for each in (ben, cid)]
        return sorted(rooms, key=str) == ["You are in Room 1", "You are in Room 2"]

    await until(moved, "one of them to be in the first room")
    await expect(writing).to_be_focused()
    await tia.page.keyboard.press("Enter")
    for student in (ben, cid):
        kept = student.page.locator(".toast.kept", has_text="Five minutes")
        await kept.get_by_test_id("toast-close").click()
        await kept.wait_for(state="detached")
    await tia.find("breakout-close").click()
    await tia.find("dialog-close").click()
    await expect(ben.find("breakout-banner")).to_be_hidden()


async def a_board_is_cleared(tia: Caller) -> None:
    await tia.find("toggle-board").click()
    await draw_a_line(tia)
    await tia.find("board-clear").click()
    await tia.find("dialog-cancel").click()

    async def drawn() -> bool:
        return await ink(tia) > 500

    await until(drawn, "the line on the board")
    await tia.find("board-clear").click()
    await confirm(tia)

    async def white() -> bool:
        return await ink(tia) == 0

    await until(white, "an empty board")
    await tia.find("board-close").click()


async def a_second_teacher(tia: Caller, ben: Caller) -> None:
    """Ben is made a teacher; Tia leaves, comes back, and is one still."""
    await moderate(tia, "Ben", "make-owner")
    await confirm(tia)
    await told(ben, "You are in charge of this room now")
    await tia.has(tia.find("person").filter(has_text="Ben"), "data-role", "owner")
    await tia.find("leave").click()
    await ben.tile("Tia").wait_for(state="detached")
    await tia.find("left-rejoin").click()
    await ben.tile("Tia").wait_for()
    await tia.find("toggle-people").click()
    await tia.find("moderator-tools").wait_for()


async def the_same_person_twice(pages: Pages, tia: Caller, link: str) -> None:
    """Another browser that brings Tia's pass takes her place, and she is told and may take it back."""
    seats = await tia.page.evaluate("localStorage.getItem('sfu.seats')")
    other = await light(pages, camera=False, viewport=WINDOW)
    await other.page.add_init_script(f"localStorage.setItem('sfu.seats', {seats!r});")
    await other.open(link)
    await other.find("prejoin-name").fill("Tia")
    await other.find("prejoin-join").click()
    await other.find("leave").wait_for()
    await tia.page.locator('[data-testid="dialog"][data-code="replaced"]').wait_for()
    await tia.find("dialog-rejoin").click()
    await tia.find("leave").wait_for()
    await other.page.locator('[data-testid="dialog"][data-code="replaced"]').wait_for()
