"""A real PostgreSQL on loopback, of its own for one test run, for the tests marked `postgres`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import free_port

MISSING = "PostgreSQL is not installed: Debian's package is called postgresql"


def binaries() -> Path:
    """The folder of `initdb` and `postgres`; Debian keeps it off the PATH. Skips, or in CI fails, without."""
    on_path = shutil.which("initdb")
    found = [Path(on_path)] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].resolve().parent
    if os.environ.get("CI"):
        pytest.fail(MISSING + ", and in CI it must be: see tests/install_tools.sh")
    pytest.skip(MISSING)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A server that is gone at the end; yields the URL of its first database."""
    bin_folder, port = binaries(), free_port()
    # It refuses to run as root, so there it runs as the user that its package made.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="sfu-postgres-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, log = Path(folder, "data"), Path(folder, "log")
        subprocess.run(
            [bin_folder / "initdb", "-D", data, "-U", "sfu", "--auth=trust", "--no-sync", "-E", "UTF8"],
            check=True, capture_output=True, user=user, cwd=folder,
        )  # fmt: skip
        listen = ["-h", "127.0.0.1", "-p", str(port), "-k", ""]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [bin_folder / "postgres", "-D", data, *listen, "-c", "fsync=off"],
                stdout=out, stderr=out, user=user, cwd=folder,
            )  # fmt: skip
        try:
            ready = [bin_folder / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-U", "sfu"]
            deadline = time.monotonic() + 30
            while subprocess.run(ready, capture_output=True, check=False).returncode:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield f"postgresql://sfu@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # the fast shutdown: it waits for no client
            process.wait(20)
