from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sfu.durable import write_private


def test_only_the_owner_may_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"open to all")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["fsync", "open"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space") as raised:
        write_private(path, b"new")
    monkeypatch.undo()
    assert raised.value.filename == str(path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"key": b"old"}


def test_what_a_power_cut_left_aside_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".key.new").write_bytes(b"half")
    write_private(tmp_path / "key", b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_content_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    seen: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(path.exists()))
    write_private(path, b"x")
    assert seen == [False, True]
