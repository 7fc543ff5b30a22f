"""Every command of docs/operate.md, one after another, in a folder that stands for the machine.

What the machine itself would do is done by stand-ins: `systemctl` starts and stops the command of the unit
that was copied, and those that need root or an engine check what they are given.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import ROOT
from server_process import free_port

PLACES = ("/opt/pysfu", "/etc/", "/usr/share/", "/var/lib/pysfu")
RUN_BY_OTHERS = {"make dist"}
"""`make interop` has run it: what it builds is what these commands install."""

STAND_INS = {
    "useradd": 'test "${*: -1}" = pysfu',
    "chgrp": 'test "$1" = pysfu && test -f "$2"',
    "journalctl": 'test "$1 $2" = "--unit pysfu" && tail "$MACHINE/log"',
    "docker": 'test "$1 $2" = "compose -f" && test -f "$3" && test -n "$SFU_RTC__ANNOUNCE"',
    "logrotate": 'test -f "$2"',
    "systemctl": """
        unit=$MACHINE/etc/systemd/system/pysfu.service
        stop() {
            pid=$(cat "$MACHINE/pid"); kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
        }
        start() {
            command=$(sed -n 's/^ExecStart=//p' "$unit")
            SFU_SERVER__DATA_DIR=$MACHINE/data $command >>"$MACHINE/log" 2>&1 & echo $! >"$MACHINE/pid"
            for _ in $(seq 300); do
                curl -fs "http://127.0.0.1:$PORT/healthz" >/dev/null && return; sleep 0.1
            done
            cat "$MACHINE/log"; return 1
        }
        case $1 in
            daemon-reload) test -f "$unit" ;;
            enable) start ;;
            restart) stop; start ;;
            reload) kill -HUP "$(cat "$MACHINE/pid")" ;;
            *) exit 64 ;;
        esac""",
}


def commands() -> list[str]:
    """Each block of the document is one script, as whoever pastes it runs it."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / "docs/operate.md").read_text(), re.S)


class Machine:
    """A folder that stands for the root of a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, media = free_port(), free_port()
        self._numbers = {"7880": str(self.port), "7882": str(media)}
        for name in ("etc/systemd/system", "etc/bash_completion.d", "etc/logrotate.d", "opt", "bin"):
            (folder / name).mkdir(parents=True)
        for name in ("zsh/vendor-completions", "fish/vendor_completions.d"):
            (folder / "usr/share" / name).mkdir(parents=True)
        shutil.copytree(ROOT / "deploy", folder / "src/deploy")
        (folder / "src/dist").symlink_to(ROOT / "dist")
        for path in (folder / "src/deploy").iterdir():
            if path.is_file():
                path.write_text(self._here(path.read_text()))
        for name, script in STAND_INS.items():
            path = folder / "bin" / name
            path.write_text(f"#!/usr/bin/env bash\nset -u\n{script}\n")
            path.chmod(0o755)
        (folder / "bin/python3").symlink_to(sys.executable)

    def run(self, script: str) -> str:
        kept = "\n".join(line for line in script.splitlines() if line not in RUN_BY_OTHERS)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(kept)],
            cwd=self.folder / "src", capture_output=True, text=True, check=False,
            env={
                "PATH": f"{self.folder}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder),
                "MACHINE": str(self.folder), "PORT": str(self.port),
            },
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _here(self, text: str) -> str:
        for place in PLACES:
            text = re.sub(rf"(?<![\w.]){re.escape(place)}", f"{self.folder}{place}", text)
        for number, ours in self._numbers.items():
            text = text.replace(number, ours)
        return text

    def end(self) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "pid").read_text()), signal.SIGTERM)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.end()


def test_the_document_works_from_its_first_command_to_its_last(machine: Machine) -> None:
    said = [machine.run(script) for script in commands()]
    assert "pysfu" in said[0]
    assert any('"participants"' in text for text in said), "the counts were read"
    log = (machine.folder / "log").read_text()
    assert log.count("the native media plane forwards") >= 2, "it was started, and started again"
    assert urllib.request.urlopen(f"http://127.0.0.1:{machine.port}/healthz").status == 200
    for name in ("etc/bash_completion.d/sfu", "usr/share/fish/vendor_completions.d/sfu.fish"):
        assert "completion" in (machine.folder / name).read_text()
