"""Secrets on the command line: what others on the machine see of them."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfu.__main__ import main
from sfu.cli.arguments import VARIABLE, given, masked
from sfu.loading.keys import keys

SECRET = "s" * 32


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("serve --set auth.keys=k:hidden", "serve --set auth.keys=***"),
        (
            "serve --set=auth.keys=k:hidden --set server.port=1",
            "serve --set=auth.keys=*** --set server.port=1",
        ),
        ("serve --set ice.turn_secret=hidden", "serve --set ice.turn_secret=***"),
        ("serve --set storage.s3_secret=hidden", "serve --set storage.s3_secret=***"),
        ("serve --set webhooks.secret=hidden", "serve --set webhooks.secret=***"),
        ("serve --se ice.turn_password=hidden", "serve --se ice.turn_password=***"),
        ("serve --set storage.url=postgresql://u:hidden@db/n", "serve --set storage.url=***"),
        (
            "serve --set auth.jwks_url=https://u:hidden@id/k?t=hidden",
            "serve --set auth.jwks_url=https://u:***@id/k?t=***",
        ),
        ("camera rtsp://u:hidden@cam/1 --copy", "camera rtsp://u:***@cam/1 --copy"),
        ("camera 0 --audio=rtsp://u:hidden@cam/1", "camera 0 --audio=rtsp://u:***@cam/1"),
        ("camera 0 --token hidden", "camera 0 --token ***"),
        ("camera 0 --token=hidden", "camera 0 --token=***"),
        ("view --tok hidden --server https://u:hidden@sfu", "view --tok *** --server https://u:***@sfu"),
        ("camera clip.mp4 --room lab", "camera clip.mp4 --room lab"),
        ("token --room r --identity ann", "token --room r --identity ann"),
    ],
)
def test_what_the_list_of_processes_shows(typed: str, shown: str) -> None:
    assert " ".join(masked(typed.split())) == shown


def test_a_process_with_a_secret_starts_itself_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda path, command, environ: started.append((command, dict(environ))))
    typed = ["camera", "rtsp://u:hidden@cam/1"]
    monkeypatch.setattr(sys, "orig_argv", ["python", "/bin/sfu", *typed])
    given(typed, {"HOME": "/h"})
    ((command, environ),) = started
    assert command == ["python", "/bin/sfu", "camera", "rtsp://u:***@cam/1"]
    assert environ["HOME"] == "/h"
    assert given(command[2:], environ) == typed
    assert VARIABLE not in environ, "no child inherits it"

    assert len(started) == 1
    monkeypatch.setattr(sys, "orig_argv", ["python", "/bin/sfu", "camera", "0"])
    assert given(["camera", "0"], {}) == ["camera", "0"]
    assert len(started) == 1


def test_a_process_that_may_start_nothing_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(*given: object) -> None:
        raise PermissionError(errno.EPERM, "")

    monkeypatch.setattr(os, "execve", forbidden)
    typed = ["serve", "--set", "auth.keys=k:hidden"]
    monkeypatch.setattr(sys, "orig_argv", ["python", "/bin/sfu", *typed])
    assert given(typed, {}) == typed
    said = capsys.readouterr().err
    assert "secrets stay in the list of processes" in said
    assert "Operation not permitted" in said
    assert "hidden" not in said


async def test_no_secret_is_in_the_list_of_processes_nor_in_the_log(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sfu", "camera", "rtsp://u:hidden@127.0.0.1:9/1"]
    environ = {**os.environ, "SFU_TOKEN": "x", "HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        *command, "--server", "http://u:hidden@127.0.0.1:9", env=environ, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(60):
            while b"opening it again" not in said:
                line = await process.stderr.readline()
                assert line, said
                said += line
        listed = Path(f"/proc/{process.pid}/cmdline").read_bytes()  # noqa: ASYNC240 - of the kernel
    finally:
        process.kill()
        await process.wait()
    assert b"hidden" not in said
    assert b"hidden" not in listed
    assert b"rtsp://u:***@127.0.0.1:9/1" in listed


def test_the_token_is_made_with_a_key_of_the_command_line_all_the_same() -> None:
    command = [sys.executable, "-m", "sfu", "token", "--set", f"auth.keys=k:{SECRET}"]
    made = subprocess.run(
        [*command, "--room", "r", "--identity", "ann"], capture_output=True, text=True, check=True
    )
    assert made.stdout.count(".") == 2


def test_the_source_is_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SFU_SOURCE", "none-such.mp4")
    assert main(["camera"]) == os.EX_NOINPUT
    assert "none-such.mp4" in capsys.readouterr().err


def test_every_secret_of_the_configuration_is_masked() -> None:
    names = [key.name for key in keys() if key.secret]
    assert {"auth.keys", "ice.turn_secret", "webhooks.secret"} <= set(names)
    for name in names:
        assert masked(["serve", "--set", f"{name}=hidden"]) == ["serve", "--set", f"{name}=***"]
