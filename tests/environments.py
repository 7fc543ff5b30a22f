"""Environments that are made for one test, from the files in dist/ that `make dist` builds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Dist:
    """What `make dist` built."""

    sdist: Path
    wheel: Path
    plane: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip, and without anything but what `install` put there."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin/python"

    def install(self, *words: str | Path) -> None:
        """Wheels alone are taken: nothing is compiled."""
        uv("pip", "install", "--python", self.python, "--no-build", *words)

    def run(self, *words: str | Path, cwd: Path = Path("/"), **extra: str) -> str:
        """Output of a command that finds no compiler, and no checkout."""
        return checked([str(word) for word in words], cwd, {"PATH": str(self.folder / "bin"), **extra})


def uv(*words: str | Path) -> None:
    checked([sys.executable, "-m", "uv", "-q", *map(str, words)], ROOT, dict(os.environ))


def checked(command: Sequence[str], cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    return done.stdout
