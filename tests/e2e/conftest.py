"""Real Chromium with fake devices against the real server."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from browser import LAUNCH_ARGUMENTS, Pages
from playwright.async_api import Browser, async_playwright, expect
from server_process import ServerProcess, running

ARTIFACTS = Path(__file__).parents[2] / "artifacts"

# Two cores may have four browsers' cameras to encode: what takes a moment elsewhere takes seconds then.
expect.set_options(timeout=15_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here shares one event loop and one browser, and is marked so that it can be left out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, and in CI it must be: see tests/install_tools.sh")
        pytest.skip("Chromium is not installed: Debian's package is called chromium")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=LAUNCH_ARGUMENTS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with running(tmp_path_factory.mktemp("server")) as process:
        yield process


_rooms = itertools.count(1)


@pytest.fixture
def room() -> str:
    return f"room-{next(_rooms)}"


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Opens pages, each in its own browser context; a script error on any of them fails the test."""
    ARTIFACTS.mkdir(exist_ok=True)
    opened = Pages(browser, ARTIFACTS / request.node.name)
    yield opened
    await opened.close()
    assert opened.errors == []
