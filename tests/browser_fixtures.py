"""Fixtures that open pages in a real Chromium. A conftest.py takes them by importing them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from browser import LAUNCH_ARGUMENTS, Pages
from playwright.async_api import Browser, async_playwright
from server_process import ROOT

ARTIFACTS = ROOT / "artifacts"


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


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Opens pages, each in its own browser context; a script error on any of them fails the test."""
    ARTIFACTS.mkdir(exist_ok=True)
    opened = Pages(browser, ARTIFACTS / request.node.name)
    yield opened
    await opened.close()
    assert opened.errors == []
