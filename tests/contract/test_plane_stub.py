"""The native module is what its stub says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STUB = Path(__file__).parents[2] / "rust/py"


def test_the_stub_of_the_native_module_holds() -> None:
    pytest.importorskip("sfu_plane")
    check = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "sfu_plane"],
        env={**os.environ, "MYPYPATH": str(STUB)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
