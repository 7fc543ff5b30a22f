"""Which plane the configuration gets, with and without the native one."""

from __future__ import annotations

import logging
import os
import random
import sys
import tomllib
import types
from importlib import metadata
from pathlib import Path

import pytest

import sfu
from sfu.config import MediaConfig
from sfu.errors import ConfigError
from sfu.ids import TransportKey
from sfu.media.plane import MediaPlane
from sfu.media.python_plane import PythonPlane
from sfu.server import planes
from sfu.server.planes import cpu_quota, make_plane, thread_count


class Nowhere:
    def send(self, transport: TransportKey, packet: bytes) -> None: ...


def made(name: str) -> MediaPlane:
    return make_plane(name, Nowhere(), rng=random.Random(1), cache_packets=64)


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sfu.media.native_plane", raising=False)
    monkeypatch.setitem(sys.modules, "sfu_plane", None)


@pytest.mark.usefixtures("without_native")
def test_without_the_native_plane_auto_is_the_python_plane_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sfu.server.planes")
    assert isinstance(made("auto"), PythonPlane)
    assert len(caplog.records) == 1
    assert "Python" in caplog.text


@pytest.mark.usefixtures("without_native")
def test_asking_for_a_plane_that_is_not_installed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"media\.plane"):
        made("rust")


def test_the_native_plane_is_taken_where_it_is_installed() -> None:
    native_plane = pytest.importorskip("sfu.media.native_plane", exc_type=ImportError)
    assert isinstance(made("auto"), native_plane.NativePlane)
    assert isinstance(made("rust"), native_plane.NativePlane)
    assert isinstance(made("python"), PythonPlane)


@pytest.mark.parametrize("version", ["0.0.9", None])
def test_a_native_plane_of_another_version_is_not_taken(
    version: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def installed(name: str) -> str:
        assert name == "pysfu-plane"
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    stand_in = types.ModuleType("sfu.media.native_plane")
    stand_in.NativePlane = PythonPlane  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sfu.media.native_plane", stand_in)
    monkeypatch.setattr(metadata, "version", installed)
    assert isinstance(made("auto"), PythonPlane)
    assert f"pysfu-plane is of version {version or 'unknown'}" in caplog.text
    with pytest.raises(ConfigError, match=rf"media\.plane: .* the server of version {sfu.__version__}"):
        made("rust")
    assert isinstance(made("python"), PythonPlane)


def test_the_plane_of_this_tree_is_of_the_servers_version() -> None:
    root = Path(__file__).parents[3]
    cargo = tomllib.loads((root / "rust/Cargo.toml").read_text())
    assert cargo["workspace"]["package"]["version"] == sfu.__version__


OLD = {"cpu/x/cpu.cfs_period_us": "100000"}


def quota(root: Path, own: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> float | None:
    """The quota with `own` as /proc/self/cgroup, and `files` below the folder of cgroups."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda p, **k: own if str(p) == "/proc/self/cgroup" else read(p, **k)
    )
    return cpu_quota(root)


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None),
        ("0::/of/the/host\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("4:cpu,cpuacct:/x\n3:memory:/y\n", OLD | {"cpu/x/cpu.cfs_quota_us": "50000"}, 0.5),
        ("4:cpu,cpuacct:/x\n", OLD | {"cpu/x/cpu.cfs_quota_us": "-1"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {}, None),
    ],
)  # fmt: skip
def test_a_cgroups_quota_is_found(
    own: str, files: dict[str, str], cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quota(tmp_path, own, files, monkeypatch) == cores


def test_threads_keep_to_cores_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    for found, threads in ((None, 8), (0.5, 1), (1.5, 2), (64.0, 8)):
        monkeypatch.setattr(planes, "cpu_quota", lambda root, found=found: found)
        assert thread_count(MediaConfig()) == threads
    assert thread_count(MediaConfig(threads=5)) == 5, "what is configured holds"
