import asyncio
import json
import os
import subprocess
import tomllib
from pathlib import Path

import jwt
import pytest
from server_process import ROOT, command, environ

from sfu.__main__ import COMMANDS, main, parser
from sfu.store import files, people
from sfu.store.files import StoredFile
from sfu.store.store import open_store

KEPT = "ab" * 32


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SFU_")]:
        monkeypatch.delenv(name)


SECRET = "s" * 32
TOKEN = ["token", "--set", f"auth.keys=k:{SECRET}", "--room", "r", "--identity", "cam"]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for module in COMMANDS:
        assert module.NAME in text


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.NAME)
def test_every_command_explains_itself(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([module.NAME, "--help"]) == 0
    assert "usage: sfu" in capsys.readouterr().out


def test_usage_errors_have_their_own_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dance"]) == os.EX_USAGE
    assert main([]) == os.EX_USAGE
    assert "usage" in capsys.readouterr().err


def test_configuration_errors_name_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--set", "server.prt=1", "--set", "rtc.port=99999"]) == os.EX_CONFIG
    text = capsys.readouterr().err
    assert "server.prt" in text
    assert "rtc.port" in text


def test_config_shows_what_is_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--set", "server.port=8123"]) == 0
    assert "port = 8123" in capsys.readouterr().out


def test_a_missing_file_is_a_configuration_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config", "/nowhere.toml"]) == os.EX_CONFIG
    assert "/nowhere.toml" in capsys.readouterr().err


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sfu.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 8123\ndata_dir = '/srv/b\xc3\xbccher'\n")
    assert main(["config", "--config", str(file)]) == 0
    out = capsys.readouterr().out
    assert "port = 8123" in out
    assert "/srv/bücher" in out


def test_a_file_in_another_encoding_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sfu.toml"
    file.write_bytes("[server]".encode("utf-16"))
    assert main(["config", "--config", str(file)]) == os.EX_CONFIG
    assert "not UTF-8" in capsys.readouterr().err


def test_an_empty_name_of_a_file_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "--config", ""]) == os.EX_CONFIG
    monkeypatch.setenv("SFU_CONFIG", "")
    assert main(["config"]) == os.EX_CONFIG
    assert capsys.readouterr().err.count("is empty") == 2


def test_what_commands_make_is_nobody_elses() -> None:
    before = os.umask(0o022)
    try:
        assert main(["config"]) == 0
        assert os.umask(before) == 0o077
    finally:
        os.umask(before)


def test_token_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--room", "r", "--identity", "ann"]) == os.EX_CONFIG
    assert "auth.keys" in capsys.readouterr().err


def test_token_carries_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "token",
        "--set",
        f"auth.keys=k:{SECRET}",
        "--room",
        "r",
        "--identity",
        "cam",
        "--role",
        "device",
    ]
    rights = ["--publish", "camera", "--deny", "chat", "--grant", "record", "--id", "c1"]
    assert main([*arguments, *rights]) == 0
    claims = jwt.decode(capsys.readouterr().out.strip(), SECRET, algorithms=["HS256"])
    assert claims["iss"] == "k"
    assert claims["sub"] == "cam"
    assert claims["room"] == "r"
    assert claims["grants"] == {"publish": ["camera"], "chat": False, "record": True}
    assert (claims["role"], claims["jti"]) == ("device", "c1")


def test_token_refuses_an_unknown_key() -> None:
    arguments = [*TOKEN, "--key", "other"]
    assert main(arguments) == os.EX_CONFIG


def test_token_refuses_an_unknown_source(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TOKEN, "--publish", "smell"]
    assert main(arguments) == os.EX_USAGE
    assert "smell" in capsys.readouterr().err


def test_parser_is_reusable() -> None:
    assert parser().parse_args(["config"]).command == "config"


def test_a_person_is_exported_and_erased(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--set", f"server.data_dir={tmp_path}"]

    async def meet() -> None:
        async with open_store("", tmp_path) as store:
            store.writes.submit(people.joined("PA_1", "r", "ann", "Ann", 1))
            for number, sha256 in enumerate((KEPT, "ef" * 32)):
                file = StoredFile(
                    id=f"FI_{number}", room="r", identity="ann", name="a b.txt", type="text/plain", bytes=5,
                    sha256=sha256, width=None, height=None, created_ms=1,
                )  # fmt: skip
                store.writes.submit(files.added(file))

    content = tmp_path / "files" / KEPT[:2] / KEPT
    content.parent.mkdir(parents=True)
    content.write_text("hello")
    asyncio.run(meet())
    assert main(["person", "export", "ann", *folder]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in exported["users"]] == ["Ann"]
    assert [row["room"] for row in exported["sessions"]] == ["r"]
    saved = tmp_path / "saved"
    assert main(["person", "export", "ann", "--files", str(saved), *folder]) == os.EX_IOERR
    assert "FI_1: no such content" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in saved.iterdir()} == {"FI_0 a b.txt": "hello"}
    assert main(["person", "erase", "ann", *folder]) == 0
    assert not content.exists()
    assert main(["person", "export", "ann", *folder]) == 0
    assert not any(json.loads(capsys.readouterr().out).values())


@pytest.mark.parametrize("place", ["file", "command line"])
def test_a_locale_that_lacks_a_letter_ends_no_command(place: str, tmp_path: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = tmp_path / "sfu.toml"
    path.write_text("[server]\ndata_dir = '/srv/bücher'\n", encoding="utf-8")
    words = ("--config", str(path)) if place == "file" else ("--set", "server.data_dir=/srv/bücher")
    done = subprocess.run(
        command("config", *words), env=environ(**locale), cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout.decode())["server"]["data_dir"] == "/srv/bücher"
