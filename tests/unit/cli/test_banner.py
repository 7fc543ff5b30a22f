"""What `sfu serve` prints at its start, where nothing can be printed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SHOW = """
import sys
from sfu.cli import banner
from sfu.config import Config
banner.show(Config(), "http://127.0.0.1:1", "https://127.0.0.1:2", "")
print("goes on", file=sys.stderr)
"""


@pytest.mark.parametrize("output", ["full", "not read", "closed"])
def test_a_server_without_an_output_goes_on(output: str) -> None:
    if output == "full" and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    if output == "not read":
        reading, out = os.pipe()
        os.close(reading)
    else:
        out = os.open("/dev/full" if output == "full" else os.devnull, os.O_WRONLY)
    closing = "import os; os.close(1); import sys; sys.stdout = None\n" if output == "closed" else ""
    try:
        done = subprocess.run(
            [sys.executable, "-c", closing + _SHOW], stdout=out, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(out)
    assert (done.returncode, "goes on" in done.stderr) == (0, True), done.stderr
    assert "Traceback" not in done.stderr


def test_the_links_are_printed() -> None:
    done = subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, text=True, check=True)
    assert "http://localhost:1/" in done.stdout
