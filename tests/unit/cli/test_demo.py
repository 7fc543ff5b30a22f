"""What `sfu demo` starts beside the server."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sfu.cli import demo
from sfu.config import Config


async def test_a_folder_of_that_name_in_the_current_directory_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []

    async def keep(*command: str, **_: Any) -> None:
        commands.append(command)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "create_subprocess_exec", keep)
    with pytest.raises(asyncio.CancelledError):
        await demo.run_camera(Config(), "http://127.0.0.1:9")
    (command,) = commands
    await asyncio.to_thread(_help, command, tmp_path)


def _help(command: tuple[str, ...], folder: Path) -> None:
    package = folder / "sfu"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('code of the current directory ran')")
    (package / "__main__.py").touch()
    done = subprocess.run([*command, "--help"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "camera" in done.stdout
