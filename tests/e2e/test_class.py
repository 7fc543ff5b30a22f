"""A lesson in real Chromium: a teacher, four students, a device, and everything a class does."""

from __future__ import annotations

import asyncio

from browser import Caller, Pages, until
from playwright.async_api import Download, FilePayload, expect
from server_process import ServerProcess, command, environ

PHONE = {"width": 390, "height": 844}
WINDOW = {"width": 640, "height": 480}

# Five people on a small machine: little pictures, few of them.
_SMALL = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (wanted) =>
  ask({...wanted, ...(wanted.video ? {video: {width: 160, height: 90, frameRate: 5}} : {})});
"""


_NO_CAMERA = "localStorage.setItem('sfu.cameraOn', 'false');"


async def light(pages: Pages, *, camera: bool = True, **context: object) -> Caller:
    caller = await pages.new(**context)
    await caller.page.add_init_script(_SMALL if camera else _SMALL + _NO_CAMERA)
    return caller


async def moderate(teacher: Caller, name: str, action: str) -> None:
    """Press one of the moderator's actions on somebody; the people panel is open."""
    person = teacher.find("person").filter(has_text=name)
    await person.get_by_test_id("person-more").click()
    await teacher.find(action).click()


async def draw_a_line(caller: Caller) -> None:
    box = await caller.find("board-canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.3
    await caller.page.mouse.move(x, y)
    await caller.page.mouse.down()
    for step in range(1, 9):
        await caller.page.mouse.move(x + step * 30, y + (step % 3) * 25)
    await caller.page.mouse.up()


async def ink(caller: Caller) -> int:
    """How many pixels of the board are not white."""
    counted: int = await caller.find("board-canvas").evaluate(
        """(canvas) => {
          const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          let inked = 0;
          for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] < 600) inked += 1;
          return inked;
        }"""
    )
    return counted


async def test_a_lesson(pages: Pages, server: ServerProcess, room: str) -> None:
    tia = await light(pages)
    await tia.join(server.url, room, "Tia", "?kind=classroom")
    ben = await light(pages, viewport=WINDOW)
    others = [await light(pages, camera=False, viewport=size) for size in (WINDOW, PHONE, WINDOW)]
    students = [ben, *others]
    cid, dan, eve = others
    for student, name in zip(students, NAMES, strict=True):
        await student.join(server.url, room, name)
    await ben.sees("Tia")
    # Students do not share before they are allowed.
    await expect(ben.find("toggle-screen")).to_be_disabled()

    await hands(pages, tia, ben, cid)
    await question_and_poll(pages, tia, students)
    await spotlight_and_mute(tia, ben, cid)
    await whiteboard(pages, tia, ben, dan)
    await breakouts(pages, tia, ben, cid)
    await device_and_file(pages, server.url, room, tia, ben, dan)
    await attendance(tia)
    await pages.screenshot(dan, "phone")

    await moderate(tia, "Eve", "remove")
    await tia.find("dialog-confirm").click()
    await eve.page.locator('[data-testid="dialog"][data-code="removed"]').wait_for()


async def read(saved: Download) -> bytes:
    """What was saved."""
    path = await saved.path()
    return await asyncio.to_thread(path.read_bytes)


NAMES = ("Ben", "Cid", "Dan", "Eve")


async def hands(pages: Pages, tia: Caller, ben: Caller, cid: Caller) -> None:
    await ben.find("toggle-hand").click()
    await tia.tile("Ben").get_by_test_id("tile-hand").wait_for()
    await cid.page.keyboard.press("h")
    await tia.find("toggle-people").click()
    await tia.has(tia.find("person").first, "data-hand", "1")
    await expect(tia.find("person").first).to_contain_text("Ben")
    await tia.has(tia.find("person").filter(has_text="Cid"), "data-hand", "2")
    await pages.screenshot(tia, "hands")
    await moderate(tia, "Ben", "call-on")
    await ben.has(ben.find("toggle-hand"), "aria-pressed", "false")
    await tia.find("person").filter(has_text="answered 1×").filter(has_text="Ben").wait_for()
    await moderate(tia, "Ben", "screen-allow")
    await expect(ben.find("toggle-screen")).to_be_enabled()
    await ben.page.keyboard.press("p")
    await expect(ben.find("person")).to_have_count(5)
    # A student has no moderator's tools.
    await expect(ben.find("moderator-tools")).to_be_hidden()
    await expect(ben.find("person-more")).to_have_count(0)


async def question_and_poll(pages: Pages, tia: Caller, students: list[Caller]) -> None:
    ben, cid, dan, eve = students
    await ben.page.keyboard.press("q")
    await expect(ben.find("question-input")).to_be_visible()
    await expect(ben.find("poll-new")).to_be_hidden()
    await ben.find("question-input").fill("Will this be in the exam?")
    await ben.find("question-send").click()
    await tia.find("class-unread").wait_for()
    await cid.page.keyboard.press("q")
    await cid.find("question-vote").click()
    await tia.find("toggle-class").click()
    await tia.find("question").filter(has_text="Will this be in the exam?").filter(has_text="2").wait_for()
    await tia.find("poll-new-open").click()
    await tia.find("poll-question").fill("Is the sum of two odd numbers even?")
    for index, text in enumerate(("Always", "Sometimes")):
        await tia.find("poll-new-option").nth(index).fill(text)
    await tia.find("poll-start").click()
    await dan.find("toggle-more").click()
    await dan.find("toggle-class").click()
    for student, choice in ((ben, 0), (cid, 0), (dan, 1)):
        await student.find("poll-option").nth(choice).click()
    await tia.find("poll").filter(has_text="2 · 67 %").filter(has_text="1 · 33 %").wait_for()
    await expect(tia.find("poll-missing")).to_contain_text("Eve")
    await pages.screenshot(tia, "poll")
    await pages.screenshot(dan, "poll-phone")
    await tia.find("question-answer").click()
    await tia.find("poll-close").click()
    await ben.page.locator('[data-testid="poll"][data-open="false"]').wait_for()
    await ben.page.locator('[data-testid="question"][data-answered="true"]').wait_for()
    for student in (ben, cid, dan):
        await student.find("class-panel").get_by_test_id("panel-close").click()
    await eve.page.keyboard.press("r")
    await eve.find("reaction-choice").nth(1).click()
    await tia.find("reaction").first.wait_for()


async def spotlight_and_mute(tia: Caller, ben: Caller, cid: Caller) -> None:
    await tia.find("toggle-people").click()
    await moderate(tia, "Ben", "spotlight")
    for caller in (tia, cid):
        await caller.has(caller.tile("Ben"), "data-spotlight", "true")
        await caller.page.locator('[data-testid="tile"].main', has_text="Ben").wait_for()
    await moderate(tia, "Ben", "spotlight-end")
    await cid.has(cid.tile("Ben"), "data-spotlight", "false")
    await tia.find("mute-all").click()
    for student in (ben, cid):
        await student.has(student.find("toggle-mic"), "aria-pressed", "false")
    await tia.has(tia.tile("Ben"), "data-muted", "true")
    await tia.has(tia.tile("Tia"), "data-muted", "false")
    await ben.find("toggle-mic").click()
    await tia.has(tia.tile("Ben"), "data-muted", "false")


async def whiteboard(pages: Pages, tia: Caller, ben: Caller, dan: Caller) -> None:
    await tia.page.keyboard.press("Escape")
    await tia.find("toggle-board").click()
    await tia.find("board-canvas").wait_for()
    await draw_a_line(tia)
    await ben.page.keyboard.press("w")

    async def inked() -> bool:
        return await ink(ben) > 500

    await until(inked, "the teacher's stroke on a student's board")
    async with tia.page.expect_download() as download:
        await tia.find("board-svg").click()
    assert (await read(await download.value)).count(b"<polyline") == 1
    async with tia.page.expect_download() as download:
        await tia.find("board-png").click()
    assert (await read(await download.value)).startswith(b"\x89PNG")
    await pages.screenshot(ben, "whiteboard")
    await dan.page.keyboard.press("w")
    await dan.find("board-canvas").wait_for()
    await pages.screenshot(dan, "whiteboard-phone")
    await dan.find("board-close").click()
    await tia.find("board-close").click()
    await ben.find("board-close").click()


async def breakouts(pages: Pages, tia: Caller, ben: Caller, cid: Caller) -> None:
    await tia.find("toggle-people").click()
    await tia.find("breakouts").click()
    await tia.find("breakout-count").fill("2")
    await tia.find("breakout-start").click()
    await ben.find("breakout-banner").filter(has_text="Room 1").wait_for()
    await cid.find("breakout-banner").filter(has_text="Room 2").wait_for()
    await ben.tile("Cid").wait_for(state="detached")
    await ben.tile("Dan").wait_for()
    await tia.find("breakout-text").fill("Five minutes left")
    await tia.find("breakout-broadcast").click()
    await ben.page.get_by_text("Five minutes left").first.wait_for()
    await pages.screenshot(tia, "breakouts")
    await tia.find("breakout-visit").nth(1).click()
    await ben.tile("Tia").wait_for()
    await pages.screenshot(ben, "in-a-breakout-room")
    await tia.find("breakout-close").click()
    await tia.find("dialog-close").click()
    await ben.tile("Cid").wait_for()
    await expect(ben.find("breakout-banner")).to_be_hidden()
    await cid.sees("Ben")


async def device_and_file(pages: Pages, url: str, room: str, tia: Caller, ben: Caller, dan: Caller) -> None:
    """A microscope joins with its temperature, and its picture goes to the class as a file."""
    camera = [
        "camera",
        "synthetic",
        "--server",
        url,
        "--room",
        room,
        "--name",
        "Microscope",
        "--size",
        "320x180",
    ]
    process = await asyncio.create_subprocess_exec(
        *command(*camera, "--fps", "5", "--telemetry", "0.5"),
        env=environ(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await tia.sees("Microscope", timeout_s=40)
        await tia.tile("Microscope").get_by_test_id("gauge-value").first.wait_for()
        await pages.screenshot(tia, "device")
    finally:
        process.terminate()
        await process.wait()
    await tia.page.keyboard.press("c")
    await dan.page.keyboard.press("c")
    await ben.page.keyboard.press("c")
    notes: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"cells divide"}
    await ben.find("chat-files").set_input_files(notes)
    async with dan.page.expect_download() as saving:
        await dan.find("chat-file-save").filter(has_text="notes.txt").click()
    assert await read(await saving.value) == b"cells divide"
    await pages.screenshot(tia, "file")
    await tia.find("toggle-people").click()


async def attendance(tia: Caller) -> None:
    async with tia.page.expect_download() as download:
        await tia.find("attendance").click()
    lines = (await read(await download.value)).decode("utf-8-sig").splitlines()
    assert [line.split(",")[1:3] for line in lines[1:]] == [
        ["Tia", "owner"],
        *([name, "participant"] for name in NAMES),
        ["Microscope", "device"],
    ]


async def test_the_lobby_of_a_consultation(pages: Pages, server: ServerProcess, room: str) -> None:
    tia, ben = await light(pages), await light(pages, viewport=PHONE)
    await tia.join(server.url, room, "Tia", "?kind=consultation")
    await ben.open(f"{server.url}/r/{room}")
    await ben.find("prejoin-name").fill("Ben")
    await ben.find("prejoin-join").click()
    await ben.find("lobby-screen").wait_for()
    await pages.screenshot(ben, "lobby")
    await tia.find("people-unread").wait_for()
    await tia.find("toggle-people").click()
    await tia.find("waiting").filter(has_text="Ben").wait_for()
    await pages.screenshot(tia, "somebody-waits")
    await tia.find("admit").click()
    await ben.find("leave").wait_for()
    await ben.sees("Tia")
    await tia.find("lock").click()
    await tia.has(tia.find("lock"), "aria-pressed", "true")
    eve = await light(pages)
    await eve.open(f"{server.url}/r/{room}")
    # A Cyrillic letter: on the screen it is the teacher's name.
    await eve.find("prejoin-name").fill("\u0422ia")
    await eve.find("prejoin-join").click()
    await eve.page.locator('[data-testid="dialog"][data-code="room_locked"]').wait_for()
    await eve.find("dialog-close").click()
    await tia.find("lock").click()
    await tia.has(tia.find("lock"), "aria-pressed", "false")
    await eve.find("prejoin-join").click()
    await tia.find("waiting").filter(has_text="\u0422ia").get_by_test_id("same-name").wait_for()
    await tia.find("person").filter(has_text="Tia").get_by_test_id("same-name").wait_for()
    await tia.find("deny").click()
    await eve.page.locator('[data-testid="dialog"][data-code="denied"]').wait_for()
