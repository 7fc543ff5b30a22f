"""The native module is what its stub says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STUB = Path(__file__).parents[2] / "rust/py"


def test_the_stub_of_the_native_module_holds(tmp_path: Path) -> None:
    pytest.importorskip("sfu_plane")
    within = tmp_path / "allowed"
    within.write_text(
        "sfu_plane.sfu_plane\n# As the wheel is built, the module lies within a package of its name.\n"
    )
    check = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "sfu_plane", "--allowlist", str(within)],
        env={**os.environ, "MYPYPATH": str(STUB)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr
