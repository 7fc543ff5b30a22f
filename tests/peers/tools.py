"""Commands that the tests here need."""

from __future__ import annotations

import shutil


def tool(name: str) -> str:
    """The path of a command that `tests/peers/install.sh` provides."""
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed: run make interop, or tests/peers/install.sh"
    return path
