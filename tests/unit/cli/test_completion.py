from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sfu.__main__ import COMMANDS, main
from sfu.cli.completion import SHELLS


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(text: str, tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    path = tmp_path / "sfu.bash"
    path.write_text(text)
    asked = f"""
        set -eu
        source {path}
        COMP_WORDS=({" ".join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1} COMPREPLY=()
        $(complete -p sfu | sed -E 's/.*-F ([^ ]+).*/\\1/') sfu {words[-1]!r} {words[-2]!r}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_bash_completes_commands_options_and_choices(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = script("bash", capsys)
    assert {module.NAME for module in COMMANDS} <= set(completed(text, tmp_path, "sfu", ""))
    assert completed(text, tmp_path, "sfu", "ser") == ["serve"]
    assert set(completed(text, tmp_path, "sfu", "serve", "--")) >= {"--config", "--set"}
    assert set(completed(text, tmp_path, "sfu", "completion", "")) >= set(SHELLS)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for module in COMMANDS:
        assert module.NAME in text
    assert "no-retry" in text
