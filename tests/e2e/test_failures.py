"""What goes wrong is said, and what can be mended mends itself."""

from __future__ import annotations

import signal
from pathlib import Path

from browser import Pages, until
from playwright.async_api import Browser
from server_process import ServerProcess, running, start


async def test_room_full_says_so(pages: Pages, tmp_path: Path) -> None:
    async with running(tmp_path, "room.max_participants=1") as small:
        alice, bob = await pages.new(), await pages.new()
        await alice.join(small.url, "full", "Alice")
        await bob.open(f"{small.url}/r/full")
        await bob.find("prejoin-name").fill("Bob")
        await bob.find("prejoin-join").click()
        await bob.find("dialog").filter(has_text="full").wait_for()
        await pages.screenshot(bob, "room-full")


async def test_the_server_restarts_and_everybody_comes_back(pages: Pages, tmp_path: Path) -> None:
    first = await start(tmp_path)
    second = None
    try:
        alice, bob = await pages.new(), await pages.new()
        await alice.join(first.url, "restart", "Alice")
        await bob.join(first.url, "restart", "Bob")
        await alice.sees("Bob")
        await first.stop(signal.SIGKILL)
        second = await start(tmp_path, port=first.port, https_port=first.https_port, rtc_port=first.rtc_port)
        await alice.sees("Bob", timeout_s=40)
        await bob.sees("Alice", timeout_s=40)
    finally:
        await first.stop()
        if second is not None:
            await second.stop()


async def test_a_dropped_socket_does_not_stop_the_picture(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    alice, bob = await pages.new(), await pages.new()
    await alice.join(server.url, room, "Alice")
    await bob.join(server.url, room, "Bob")
    await alice.sees("Bob")
    before = (await alice.inbound("video"))[0]
    await bob.page.evaluate("window.__sockets.at(-1).close()")
    await alice.sees("Bob")

    async def more() -> bool:
        now = (await alice.inbound("video"))[0]
        return bool(now["ssrc"] == before["ssrc"] and now["framesDecoded"] > before["framesDecoded"] + 30)

    await until(more, "the same stream to go on")
    after = (await alice.inbound("video"))[0]
    assert after["totalFreezesDuration"] - before["totalFreezesDuration"] < 1


async def test_permission_denied_is_explained_and_watching_is_possible(
    pages: Pages, server: ServerProcess, room: str, chromium: str
) -> None:
    from playwright.async_api import async_playwright

    alice = await pages.new()
    await alice.join(server.url, room, "Alice")
    async with async_playwright() as playwright:
        strict: Browser = await playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--deny-permission-prompts",
            ],
        )
        shy = Pages(strict, pages._artifacts)
        try:
            bob = await shy.new()
            await bob.open(f"{server.url}/r/{room}")
            await bob.find("prejoin-trouble").wait_for()
            await shy.screenshot(bob, "permission-denied")
            await bob.find("prejoin-name").fill("Bob")
            await bob.find("prejoin-join").click()
            await bob.sees("Alice")
        finally:
            await shy.close()
            await strict.close()
        assert shy.errors == []


async def test_https_link_works_with_the_own_certificate(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    alice, bob = await pages.new(), await pages.new()
    await alice.join(server.https_url, room, "Alice")
    await bob.join(server.https_url, room, "Bob")
    await alice.sees("Bob")
