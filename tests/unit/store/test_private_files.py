"""Nobody else on the machine reads what the server keeps."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfu.durable import make_private
from sfu.store import people
from sfu.store.store import open_store


@pytest.fixture(autouse=True)
def ordinary_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def of_databases(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in folder.glob("*.db*")}


@pytest.mark.parametrize("url", ["", "sqlite:///{}/other.db"])
async def test_a_database_is_private_in_a_folder_that_existed(tmp_path: Path, url: str) -> None:
    tmp_path.chmod(0o755)  # noqa: ASYNC240 - at once
    for _ in range(2):
        async with open_store(url.format(tmp_path), tmp_path) as store:
            await store.writes.durable(people.crashed())
            modes = of_databases(tmp_path)
            assert {name.partition(".")[2] for name in modes} == {"db", "db-wal", "db-shm", "db.lock"}
            assert set(modes.values()) == {0o600}


async def test_one_that_everybody_could_read_becomes_private(tmp_path: Path) -> None:
    async with open_store("", tmp_path):
        pass
    database = tmp_path / "sfu.db"
    database.chmod(0o644)
    async with open_store("", tmp_path):
        assert mode(database) == 0o600


def test_what_somebody_gave_to_a_group_stays_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.touch()
    for given, kept in ((0o644, 0o600), (0o666, 0o600), (0o640, 0o640), (0o600, 0o600)):
        path.chmod(given)
        make_private(path)
        assert mode(path) == kept
    make_private(tmp_path / "none")
