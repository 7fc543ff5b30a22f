"""Backups, restoring and moving, as docs/operate.md has it: each by a round trip of its own commands."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import shlex
import sqlite3
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from postgres import postgres
from signalling import clients, local_config
from test_files_in_a_bucket import Bucket, bucket
from test_files_live import Sender, picture

from sfu.__main__ import main
from sfu.config import Config, ServerConfig, StorageConfig
from sfu.server.contents import Folder

__all__ = ["bucket"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|werkzeug).*")

OPERATE = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()


def commands(first: str) -> list[list[str]]:
    """The document's commands that begin so, as a shell would split them."""
    lines = [line for block in re.findall(r"```bash\n(.*?)```", OPERATE, re.S) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"sfu {first}")]


def test_every_command_of_these_chapters_is_run_here() -> None:
    """Those of a shell of an administrator (`sh`) are run by `tests/installed`."""
    run = ("backup", "restore", "storage copy", "person export")
    lines = [line for block in re.findall(r"```bash\n(.*?)```", OPERATE, re.S) for line in block.splitlines()]
    assert all(line.startswith(tuple(f"sfu {each}" for each in run)) for line in lines), lines


def keeping(folder: Path, **storage: str) -> Config:
    server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(folder))
    return local_config(server=server, storage=StorageConfig(**storage))


def settings(folder: Path, **storage: str) -> list[str]:
    chosen = [f"server.data_dir={folder}", *(f"storage.{name}={value}" for name, value in storage.items())]
    return [word for each in chosen for word in ("--set", each)]


async def sfu(*words: str) -> int:
    return await asyncio.to_thread(main, list(words))


async def use(config: Config) -> tuple[str, str]:
    """Chat, a picture, and a file of another room."""
    async with clients(config) as those:
        ann = await those.join()
        await ann.request("chat", text="hello")
        file = await Sender(those, ann).upload("sky.png", picture())
        await ann.request("chat", text="", file=file["id"])
        return file["id"], ann.joined["pass"]


async def check(config: Config, file: str, told: str) -> None:
    """It is all there, and goes on: numbers, contents, small pictures, and the pass of who was there."""
    async with clients(config) as those:
        ann = await those.join(**{"pass": told})
        assert ann.joined["chat"][0]["text"] == "hello"
        sender = Sender(those, ann)
        assert await (await sender.ask("GET", f"/{file}")).read() == picture()
        small = await (await sender.ask("GET", f"/{file}/thumbnail")).read()
        assert Image.open(io.BytesIO(small)).size == (480, 320)
        sent = (await ann.request("chat", text="again"))["message"]
        assert sent["id"] == ann.joined["chat"][-1]["id"] + 1


async def test_a_backup_of_a_running_server_comes_back_elsewhere(tmp_path: Path) -> None:
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    (command,), (back, replacing) = commands("backup"), commands("restore")
    async with clients(keeping(old)) as those:
        ann = await those.join()
        await ann.request("chat", text="hello")
        file = await Sender(those, ann).upload("sky.png", picture())
        await ann.request("chat", text="", file=file["id"])
        assert await sfu(*command[:-1], str(backup), *settings(old)) == 0
        await ann.request("chat", text="too late")
        assert await sfu(*command[:-1], str(backup), *settings(old)) == os.EX_CANTCREAT
        assert await sfu(*back[:-1], str(backup), *settings(old)) == os.EX_UNAVAILABLE, "it runs"
    assert backup.stat().st_mode & 0o777 == 0o600
    assert {each for each in os.listdir(tmp_path) if each.startswith(".")} == set()
    assert await sfu(*back[:-1], str(backup), *settings(new)) == 0
    assert (new / "passes.key").read_text() == (old / "passes.key").read_text()
    await check(keeping(new), file["id"], ann.joined["pass"])
    # Where something is, only with a word; what was there is kept.
    assert await sfu(*back[:-1], str(backup), *settings(new)) == os.EX_CONFIG
    assert await sfu(*replacing[:-1], str(backup), *settings(new)) == 0
    (aside,) = new.glob("replaced-*")
    assert {"sfu.db", "files", "passes.key"} <= {each.name for each in aside.iterdir()}
    await check(keeping(new), file["id"], ann.joined["pass"])


async def test_a_log_of_a_killed_server_does_not_undo_a_restore(tmp_path: Path) -> None:
    backup, database = tmp_path / "backup.tar", tmp_path / "data" / "sfu.db"
    log = database.with_name("sfu.db-wal")
    file, told = await use(keeping(tmp_path / "data"))
    assert await sfu("backup", str(backup), *settings(tmp_path / "data")) == 0
    async with clients(keeping(tmp_path / "data")) as those:
        await (await those.join()).request("chat", text="undone")
        left = log.read_bytes()
    log.write_bytes(left)
    assert await sfu("restore", "--replace", str(backup), *settings(tmp_path / "data")) == 0
    with contextlib.closing(sqlite3.connect(database)) as restored:
        assert ("undone",) not in restored.execute("SELECT text FROM messages").fetchall()
    await check(keeping(tmp_path / "data"), file, told)


async def test_a_content_that_goes_meanwhile_takes_its_row_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup.tar"
    async with clients(keeping(tmp_path / "data")) as those:
        ann = await those.join()
        sender = Sender(those, ann)
        going, staying = [await sender.upload(name, name.encode()) for name in ("going", "staying")]
        loop, save = asyncio.get_running_loop(), Folder.save

        async def saved(self: Folder, *arguments: object, **more: object) -> None:
            monkeypatch.setattr(Folder, "save", save)
            asking = asyncio.run_coroutine_threadsafe(sender.json("DELETE", f"/{going['id']}"), loop)
            assert (await asyncio.wrap_future(asking))[0] == 200
            await save(self, *arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Folder, "save", saved)
        assert await sfu("backup", str(backup), *settings(tmp_path / "data")) == 0
    with tarfile.open(backup) as archive:
        (tmp_path / "copy.db").write_bytes(archive.extractfile("sfu.db").read())  # type: ignore[union-attr]
        kept = {name.removeprefix("files/") for name in archive.getnames() if name.startswith("files/")}
    copy = sqlite3.connect(tmp_path / "copy.db")
    rows = copy.execute("SELECT id, sha256 FROM files").fetchall()
    copy.close()
    assert [row[0] for row in rows] == [staying["id"]]
    assert {row[1] for row in rows} <= kept


@pytest.mark.parametrize("fault", ["no tar", "cut", "changed", "none", "other"])
async def test_what_is_no_whole_backup_changes_nothing(
    tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, data = tmp_path / "backup.tar", tmp_path / "data"
    await use(keeping(data))
    assert await sfu("backup", str(backup), *settings(data)) == 0
    content = backup.read_bytes()
    if fault == "no tar":
        backup.write_bytes(b"x" * 2000)
    elif fault == "cut":
        backup.write_bytes(content[: len(content) // 2])
    elif fault == "changed":
        start = content.index(picture()[:50])
        backup.write_bytes(content[: start + 60] + b"x" + content[start + 61 :])
    elif fault == "none":
        backup.unlink()
    else:
        with tarfile.open(backup, "w") as archive:
            archive.add(data / "sfu.db", "sfu.db")
    before = {path.name for path in data.iterdir()}
    assert await sfu("restore", "--replace", str(backup), *settings(data)) == os.EX_CONFIG
    assert {path.name for path in data.iterdir()} == before
    assert "backup" in capsys.readouterr().err


async def test_a_backup_of_a_bucket_comes_back_in_a_folder_and_a_bucket(
    tmp_path: Path, bucket: Bucket
) -> None:
    backup = tmp_path / "backup.tar"
    chosen = {"s3_endpoint": bucket.endpoint, "s3_key": "k", "s3_secret": "s"}
    one, two = {"files": "s3://kept/one", **chosen}, {"files": "s3://kept/two", **chosen}
    file, told = await use(keeping(tmp_path / "one", **one))
    assert await sfu("backup", str(backup), *settings(tmp_path / "one", **one)) == 0
    assert await sfu("restore", str(backup), *settings(tmp_path / "two", **two)) == 0
    await check(keeping(tmp_path / "two", **two), file, told)
    assert await sfu("restore", str(backup), *settings(tmp_path / "three")) == 0
    await check(keeping(tmp_path / "three"), file, told)


@pytest.mark.postgres
async def test_between_sqlite_and_postgresql_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.tar"
    to_postgres, to_sqlite = commands("storage copy")
    file, told = await use(keeping(data))
    with postgres() as url:
        assert await sfu(*to_postgres[:-1], url, *settings(data)) == 0
        assert "messages" in capsys.readouterr().out
        await check(keeping(data, url=url), file, told)
        assert await sfu(*to_postgres[:-1], url, *settings(data)) == os.EX_CONFIG, "it is not empty"
        # A backup of PostgreSQL, into a SQLite file; and the way back.
        assert await sfu("backup", str(backup), *settings(data, url=url)) == 0
        assert await sfu(*to_sqlite[:-1], f"sqlite:///{data}/back.db", *settings(data, url=url)) == 0
    await check(keeping(data, url=f"sqlite:///{data}/back.db"), file, told)
    assert await sfu("restore", str(backup), *settings(tmp_path / "new")) == 0
    await check(keeping(tmp_path / "new"), file, told)
    with postgres() as url:
        assert await sfu("restore", str(backup), *settings(tmp_path / "newer", url=url)) == 0
        await check(keeping(tmp_path / "newer", url=url), file, told)
        assert await sfu("restore", str(backup), *settings(tmp_path / "last", url=url)) == os.EX_CONFIG


async def test_an_export_only_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = commands("person export")
    words = [{"IDENTITY": "nobody", "DIR": str(tmp_path / "saved")}.get(word, word) for word in command]
    data = tmp_path / "data"
    await use(keeping(data))
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert await sfu(*words, *settings(data)) == 0
    assert json.loads(capsys.readouterr().out)["users"] == []
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


READING = [["person", "export", "ann"], ["person", "erase", "ann"], ["backup", "b.tar"],
           ["storage", "copy", "--to", "sqlite:///other.db"]]  # fmt: skip


@pytest.mark.parametrize("command", READING, ids=lambda command: " ".join(command[:2]))
async def test_where_nothing_is_nothing_is_made(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await sfu(*command, *settings(tmp_path / "mistyped")) == os.EX_CONFIG
    assert f"there is no database at {tmp_path}/mistyped/sfu.db" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", READING, ids=lambda command: " ".join(command[:2]))
async def test_no_command_upgrades(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(keeping(tmp_path / "data"))
    for revision, told in (("0004", "made by an older version"), ("9999", "made by a newer version")):
        database = sqlite3.connect(tmp_path / "data" / "sfu.db", isolation_level=None)
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.close()
        monkeypatch.chdir(tmp_path)
        assert await sfu(*command, *settings(tmp_path / "data")) == os.EX_CONFIG
        assert told in capsys.readouterr().err
        assert not (tmp_path / "b.tar").exists()
