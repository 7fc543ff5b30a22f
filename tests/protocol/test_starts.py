"""What an administrator reads where `sfu serve` cannot start, and its exit status."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
import sqlite3
import subprocess
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import postgres
from server_process import ROOT, command, environ, free_port

from sfu.config import AuthConfig, Config, ServerConfig
from sfu.errors import ConfigError, RequestError, StartError
from sfu.server import passes, tls
from sfu.server.access import Access
from sfu.server.storage import Storage, data_dir, open_storage
from sfu.store import engine
from sfu.store.engine import parse_url
from sfu.store.store import open_store


def refused(folder: Path, *settings: str, **extra: str) -> tuple[int, str]:
    """Exit status and last line of a server that does not start."""
    chosen = (
        "server.host=127.0.0.1",
        "rtc.bind=127.0.0.1",
        f"server.port={free_port()}",
        f"rtc.port={free_port()}",
        "server.https_port=-1",
        f"server.data_dir={folder}",
        *settings,
    )
    done = subprocess.run(
        command("serve", *(word for each in chosen for word in ("--set", each))),
        env=environ(**extra), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("key", ["server.port", "server.https_port"])
def test_a_port_in_use_is_named(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        status, line = refused(tmp_path, f"{key}={number}")
    assert status == os.EX_UNAVAILABLE
    assert line == f"sfu: unavailable: {key}: 127.0.0.1:{number}: Address already in use"


def test_a_media_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        number = other.getsockname()[1]
        status, line = refused(tmp_path, f"rtc.port={number}")
    assert status == os.EX_UNAVAILABLE
    assert line == f"sfu: unavailable: rtc.port: UDP 127.0.0.1:{number}: Address already in use"


def test_a_host_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, line = refused(tmp_path, "server.host=192.0.2.1")
    assert status == os.EX_TEMPFAIL
    assert "server.host: 192.0.2.1:" in line
    assert "Cannot assign" in line


@pytest.mark.parametrize("https", ["-1", "0"])
def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path, https: str) -> None:
    path = tmp_path / "data"
    path.write_text("")
    status, line = refused(path, f"server.https_port={https}")
    assert status == os.EX_CONFIG
    assert line == f"sfu: configuration: server.data_dir: {path}: File exists"


@pytest.mark.parametrize("name", ["passes.key", "sfu.db.lock", "cert.pem"])
def test_a_file_of_ours_that_is_a_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    status, line = refused(tmp_path, "server.https_port=0")
    assert status == os.EX_CONFIG
    assert f"{tmp_path / name}: Is a directory" in line


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sfu.db"
    path.write_bytes(b"this is no database" * 500)
    status, line = refused(tmp_path)
    assert status == os.EX_CONFIG
    assert line == f"sfu: configuration: storage.url: {path}: file is not a database"


async def test_a_database_that_cannot_be_opened_is_told_in_the_systems_words(tmp_path: Path) -> None:
    (tmp_path / "sfu.db").mkdir()
    with pytest.raises(ConfigError, match=rf"storage\.url: {tmp_path}/sfu\.db: Is a directory"):
        async with open_store("", tmp_path):
            pass


async def test_a_database_that_another_program_holds_may_be_free_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.store.engine.BUSY_MS", 10)
    with sqlite3.connect(tmp_path / "sfu.db", isolation_level=None) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StartError, match=r"database is locked") as raised:
            async with open_store("", tmp_path):
                pass
    assert raised.value.status == os.EX_TEMPFAIL


async def test_a_database_that_can_only_be_read_is_found_out_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store("", tmp_path):
        pass
    prepare = engine._prepare_sqlite
    monkeypatch.setattr(
        engine, "_prepare_sqlite", lambda made, begin, **pragmas: prepare(made, begin, query_only="ON")
    )
    with pytest.raises(ConfigError, match=r"storage\.url: .*sfu\.db: attempt to write a readonly database"):
        async with open_store("", tmp_path):
            pass


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


def test_a_user_without_a_home_is_asked_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homeless(monkeypatch)
    with pytest.raises(ConfigError, match=r"server\.data_dir: ~.*: name a folder"):
        data_dir(Config())
    with pytest.raises(ConfigError, match=r"server\.data_dir: ~.*: name a folder"):
        data_dir(Config(server=ServerConfig(data_dir="~/data")))


@pytest.mark.parametrize(
    ("key", "use"),
    [
        ("auth.revoked_file", lambda path: Access(AuthConfig(revoked_file=path), None)),
        ("server.tls_cert", lambda path: tls.context(ServerConfig(tls_cert=path, tls_key=path), Path())),
    ],
)
def test_other_paths_need_a_home_only_where_they_name_it(
    key: str, use: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    homeless(monkeypatch)
    with pytest.raises(ConfigError, match=rf"{key}: ~/file: name a folder that needs no home"):
        use("~/file")


async def test_a_full_disk_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sfu.db-wal").mkdir()
    for full in ("f_bavail", "f_favail"):
        said = types.SimpleNamespace(f_bavail=1, f_files=9, f_favail=1)
        setattr(said, full, 0)
        monkeypatch.setattr(os, "statvfs", lambda path, said=said: said)
        with pytest.raises(StartError, match=r"storage\.url: .*sfu\.db: No space left") as raised:
            async with open_store("", tmp_path):
                pass
        assert raised.value.status == os.EX_TEMPFAIL


async def test_a_folder_of_files_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def claim(self: Storage) -> None:
        cause = OSError(errno.ENOSPC, "", str(tmp_path / "files"))
        raise RequestError("storage_failed", "hidden") from cause

    monkeypatch.setattr(Storage, "claim", claim)
    with pytest.raises(StartError, match=rf"server\.data_dir: {tmp_path}/files: No space left"):
        async with open_storage(Config(server=ServerConfig(data_dir=str(tmp_path)))):
            pass


def test_a_home_is_needed_only_where_nothing_else_names_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homeless(monkeypatch)
    assert data_dir(Config(server=ServerConfig(data_dir=str(tmp_path)))) == tmp_path
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_dir(Config()) == tmp_path / "pysfu"


def test_an_empty_xdg_folder_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "")
    assert data_dir(Config()) == tmp_path / ".local/share/pysfu"


@pytest.mark.parametrize("broken", [b"", b"ab" * 7, b"\xff" * 64, b"zz" * 32])
def test_a_broken_key_of_passes_is_made_anew(
    tmp_path: Path, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "passes.key"
    path.write_bytes(broken)
    passes.Passes(tmp_path, 0)
    assert "passes.key is broken" in caplog.text
    made = path.read_text()
    assert len(made) == 64
    passes.Passes(tmp_path, 0)
    assert path.read_text() == made


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.mark.postgres
class TestPostgreSQL:
    async def test_one_that_is_away_may_come(self, tmp_path: Path) -> None:
        url = f"postgresql://sfu:a-password@127.0.0.1:{free_port()}/postgres"
        with pytest.raises(StartError, match=r"storage\.url: 127\.0\.0\.1:\d+: Connection refused") as raised:
            await self.opened(url, tmp_path)
        assert raised.value.status == os.EX_TEMPFAIL
        assert "a-password" not in str(raised.value)

    async def test_one_that_does_not_answer_may_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sfu.store.engine.CONNECT_S", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            number = silent.getsockname()[1]
            with pytest.raises(StartError, match=rf"storage\.url: 127\.0\.0\.1:{number}: "):
                await self.opened(f"postgresql://sfu@127.0.0.1:{number}/postgres", tmp_path)

    async def test_a_database_that_it_does_not_have_is_configuration(
        self, postgresql: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=r'storage\.url: .* database "nosuch" does not exist'):
            await self.opened(postgresql.replace("/postgres", "/nosuch"), tmp_path)

    @pytest.mark.parametrize("parameter", ["sslmode=disable", "sslmode=prefer", "ssl=disable"])
    async def test_sslmode_is_understood(self, postgresql: str, tmp_path: Path, parameter: str) -> None:
        await self.opened(f"{postgresql}?{parameter}", tmp_path)

    async def test_ssl_that_it_does_not_speak_is_configuration(self, postgresql: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"storage\.url: .*SSL"):
            await self.opened(f"{postgresql}?sslmode=require", tmp_path)

    async def opened(self, url: str, folder: Path) -> None:
        async with asyncio.timeout(20), open_store(url, folder):
            pass


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://h/d?sslmod=require", "'sslmod' is not known"),
        ("postgresql://h/d?sslmode=maybe", "sslmode is one of disable"),
        ("sqlite:////f?mode=ro", "'mode' is not known"),
    ],
)
def test_a_parameter_of_the_database_that_is_not_known_is_refused(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_url(url)
