"""Which plane the configuration gets, with and without the native one."""

from __future__ import annotations

import logging
import random
import sys

import pytest

from sfu.errors import ConfigError
from sfu.ids import TransportKey
from sfu.media.plane import MediaPlane
from sfu.media.python_plane import PythonPlane
from sfu.server.planes import make_plane


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
