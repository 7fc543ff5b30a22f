"""Real Chromium with fake devices against the real server."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from browser_fixtures import browser, chromium, pages
from playwright.async_api import expect
from server_process import ServerProcess, running

__all__ = ["browser", "chromium", "pages"]

# Two cores may have four browsers' cameras to encode: what takes a moment elsewhere takes seconds then.
expect.set_options(timeout=15_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here shares one event loop and one browser, and is marked so that it can be left out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with running(tmp_path_factory.mktemp("server")) as process:
        yield process


_rooms = itertools.count(1)


@pytest.fixture
def room() -> str:
    return f"room-{next(_rooms)}"
