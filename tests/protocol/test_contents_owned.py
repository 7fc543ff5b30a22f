"""Whose the contents of files are: nobody deletes what another database knows."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from signalling import clients, local_config
from test_files_in_a_bucket import Bucket, bucket, storage
from test_files_live import Sender

from sfu import clock
from sfu.__main__ import main
from sfu.config import Config, ServerConfig, StorageConfig
from sfu.errors import ConfigError, StartError
from sfu.server.contents import open_contents
from sfu.server.storage import ASIDE_DAYS, DAY_MS, Storage, open_storage
from sfu.store.snapshot import snapshot
from sfu.store.store import open_store

__all__ = ["bucket"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|moto|werkzeug).*")

Configured = Callable[[str], Config]


@pytest_asyncio.fixture(params=["folder", "bucket"])
async def configured(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Configured]:
    """A configuration with the database of a name; the contents are in the same place for all."""
    kept: Bucket | None = request.getfixturevalue("bucket") if request.param == "bucket" else None

    def of(name: str) -> Config:
        # A bucket is what servers of several machines share.
        folder = tmp_path / (name if kept else "data")
        server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(folder))
        chosen = storage(kept) if kept else StorageConfig()
        database = f"sqlite:///{folder}/{name}.db"
        return local_config(server=server, storage=StorageConfig(**{**vars(chosen), "url": database}))

    yield of


async def upload(config: Config, *names: str) -> None:
    async with clients(config) as those:
        ann = Sender(those, await those.join())
        for name in names:
            await ann.upload(name, name.encode())


async def test_a_database_that_is_a_stranger_there_is_refused(configured: Configured) -> None:
    await upload(configured("one"), "a.txt")
    with pytest.raises(ConfigError, match="not those of this database"):
        async with open_storage(configured("other")):
            pass
    async with open_storage(configured("one")) as opened:
        assert len(await opened.contents.hashes()) == 1
        # As from before contents had an owner: who knows them takes them, who does not is refused.
        await opened.contents.claim("")
    with pytest.raises(ConfigError, match="knows none of the 1"):
        async with open_storage(configured("other")):
            pass
    async with open_storage(configured("one")) as opened:
        assert await opened.contents.owner() == opened.store.id


async def test_a_place_without_contents_is_whose_who_comes(configured: Configured) -> None:
    for name in ("one", "other"):
        async with open_storage(configured(name)) as opened:
            assert await opened.contents.owner() == opened.store.id


async def settled(opened: Storage) -> None:
    """Until the first clearing has looked at all contents."""
    known = (await opened.contents.hashes()) | (await opened.contents.aside()).keys()
    async with asyncio.timeout(20):
        while len(await opened.contents.aside()) < len(known) - 1:
            await asyncio.sleep(0.01)


async def test_yesterdays_database_put_back_loses_nothing(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured("one")
    folder = Path(config.server.data_dir)
    await upload(config, "before.txt")
    shutil.copy(folder / "one.db", tmp_path / "yesterday.db")
    await upload(config, "after.txt", "later.txt")
    (folder / "one.db").rename(tmp_path / "today.db")
    shutil.copy(tmp_path / "yesterday.db", folder / "one.db")
    async with open_storage(config) as opened:
        await settled(opened)
        assert (len(await opened.contents.hashes()), len(await opened.contents.aside())) == (1, 2)
    assert "2 contents belong to no file" in caplog.text
    shutil.copy(tmp_path / "today.db", folder / "one.db")
    async with open_storage(config) as opened:
        assert (len(await opened.contents.hashes()), len(await opened.contents.aside())) == (3, 0)
    assert "2 contents that were set aside belong to files again" in caplog.text


async def test_what_is_set_aside_goes_after_days(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured("one")
    await upload(config, "a.txt")
    async with open_storage(config) as opened:
        content = tmp_path / "lost"
        content.write_text("lost")
        await opened.contents.keep("ab" * 32, content, None)
        now_ms = clock.wall_ms()
        for days, left in ((0, 1), (ASIDE_DAYS - 1, 1), (ASIDE_DAYS + 1, 0)):
            await opened.sweep(now_ms + days * DAY_MS)
            assert len(await opened.contents.aside()) == left
            assert len(await opened.contents.hashes()) == 1
    assert f"1 contents that were set aside {ASIDE_DAYS} days ago are deleted" in caplog.text


async def test_a_wrong_clock_sets_nothing_aside_and_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(tmp_path))
    config = local_config(server=server, storage=StorageConfig(retention_days=365))
    await upload(config, "a.txt")
    now_ms = clock.wall_ms()
    monkeypatch.setattr(clock, "wall_ms", lambda: now_ms + 730 * DAY_MS)
    cleared: list[object] = []

    async def clear(*arguments: object) -> None:
        cleared.append(arguments)

    monkeypatch.setattr("sfu.server.storage._clear_once", clear)
    async with open_storage(config) as opened:
        for _ in range(20):
            await asyncio.sleep(0)
        assert not opened.store.believed
        assert not cleared
    monkeypatch.setattr(clock, "wall_ms", lambda: now_ms)
    async with open_storage(config) as opened:
        async with asyncio.timeout(20):
            while not cleared:
                await asyncio.sleep(0.01)


async def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/a.db", tmp_path):
        with pytest.raises(StartError, match="another server or command is using"):
            async with open_store(f"sqlite:///{tmp_path}/b.db", tmp_path):
                pass
        (tmp_path / "a.db.lock").unlink()
        with pytest.raises(StartError, match="another server or command is using"):
            async with open_store(f"sqlite:///{tmp_path}/a.db", tmp_path):
                pass
    assert not (tmp_path / "b.db").exists()


async def test_an_export_of_a_backup_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a server runs: neither its files nor the backup."""
    data, backup = tmp_path / "data", tmp_path / "backup"
    backup.mkdir()
    server = ServerConfig(host="127.0.0.1", port=0, https_port=-1, data_dir=str(data))
    async with clients(local_config(server=server, storage=StorageConfig())) as those:
        ann = Sender(those, await those.join())
        await ann.upload("before.txt", b"before")
        async with open_contents(StorageConfig(), data) as contents:
            await snapshot(those.server._conference.chat._store.engines.write, backup / "sfu.db")
            await ann.upload("after.txt", b"after")
            content = (backup / "sfu.db").read_bytes()
            arguments = [
                "--set",
                f"storage.url=sqlite:///{backup}/sfu.db",
                "--set",
                f"server.data_dir={data}",
            ]
            status = await asyncio.to_thread(main, ["person", "export", "nobody", *arguments])
            assert status == os.EX_OK
            assert [each.name for each in backup.iterdir()] == ["sfu.db"]
            assert (backup / "sfu.db").read_bytes() == content
            assert len(await contents.hashes()) == 2
            assert await contents.aside() == {}
    assert '"users": []' in capsys.readouterr().out
