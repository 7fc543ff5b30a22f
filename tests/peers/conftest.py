"""Stacks that nobody here wrote. `make interop` installs them, and one that is missing is a failure."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio
from browser_fixtures import browser, chromium, pages
from media_files import make_opus, make_vp8
from server_process import ROOT, ServerProcess, running
from tools import tool

__all__ = ["browser", "chromium", "pages"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here shares one event loop and one server."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A peer that was not tried has not passed."""
    report = yield
    if report.skipped:
        report.outcome, report.longrepr = "failed", f"{item.name} was skipped: {report.longrepr}"
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server that media reaches by any address of this machine: Firefox takes no loopback address."""
    async with running(tmp_path_factory.mktemp("server"), "rtc.bind=0.0.0.0") as process:
        yield process


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("_", "-")[:60]


@pytest.fixture(scope="session")
def vp8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of moving VP8 with a keyframe each second."""
    return make_vp8(tmp_path_factory.mktemp("vp8") / "camera.ivf")


@pytest.fixture(scope="session")
def opus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a tone in Ogg, a page for every 20 ms."""
    return make_opus(tmp_path_factory.mktemp("opus") / "microphone.ogg")


@pytest.fixture(scope="session")
def pion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/pion, built."""
    program = tmp_path_factory.mktemp("pion") / "pion"
    subprocess.run([tool("go"), "build", "-o", program, "."], cwd=ROOT / "examples/pion", check=True)
    return program
