"""What an administrator installs: files, without a compiler, on old and new versions of what it needs."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from environments import ROOT, Dist, Environment, uv
from server_process import free_port

CLIENT = ("client_capture", "client_tracks", "simulcast_sender")
SERVER = ("access_parts", "certificates", "pages", "tls", "tokens")
LIVE = ("api", "client_room", "files_in_a_bucket", "files_live", "signalling_live")
TRIED = (
    "tests/unit/store",
    "tests/unit/cli",
    *(f"tests/unit/client/test_{name}.py" for name in CLIENT),
    *(f"tests/unit/server/test_{name}.py" for name in SERVER),
    *(f"tests/unit/transport/test_{name}.py" for name in ("dtls_end", "peer")),
    *(f"tests/protocol/test_{name}.py" for name in LIVE),
)
"""Those that call what may have changed: web, database, tokens, certificates, pictures, transports."""


@pytest.fixture(scope="session")
def dist() -> Dist:
    """A file that is missing fails, as all that `make interop` lacks does."""
    found = []
    for pattern in ("pysfu-*.tar.gz", "pysfu-*.whl", "pysfu_plane-*.whl"):
        (path,) = (ROOT / "dist").glob(pattern)
        found.append(path)
    return Dist(*found)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    uv("venv", "--python", sys.executable, tmp_path / "venv")
    return Environment(tmp_path / "venv")


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return listed.split()


def test_the_sdist_has_the_documents(dist: Dist) -> None:
    with tarfile.open(dist.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = set(tracked("docs", "deploy", "sfu", "static", "clients", "LICENSE", "CHANGELOG.md")) - names
    assert not missing


def test_the_wheel_has_all_that_runs(dist: Dist) -> None:
    names = zipfile.ZipFile(dist.wheel).namelist()
    wanted = [*tracked("sfu"), *tracked("clients/sfu_client"), *tracked("static")]
    places = [re.sub("^clients/", "", re.sub("^static/", "sfu/web/", name)) for name in wanted]
    assert not set(places) - set(names)


def test_the_plane_is_for_every_python_from_3_11_on(dist: Dist) -> None:
    assert "-cp311-abi3-" in dist.plane.name


def test_a_bare_environment_runs_on_the_native_plane(
    dist: Dist, environment: Environment, tmp_path: Path
) -> None:
    environment.install(dist.wheel, dist.plane)
    sfu = environment.folder / "bin/sfu"
    assert "pysfu" in environment.run(sfu, "--version")
    with pytest.raises(AssertionError, match="No module named 'cv2'"):
        environment.run(environment.python, "-c", "import cv2")
    with pytest.raises(AssertionError, match=re.escape("pip install 'pysfu[camera]'")):
        environment.run(sfu, "camera", "synthetic", "--no-retry")
    port, log = free_port(), tmp_path / "log"
    chosen = (
        "server.host=127.0.0.1", "rtc.bind=127.0.0.1", f"server.port={port}", "server.https_port=0",
        "rtc.port=0", f"server.data_dir={tmp_path / 'data'}", "media.plane=rust",
    )  # fmt: skip
    command = [sfu, "serve", *(word for each in chosen for word in ("--set", each))]
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={"PATH": ""}, cwd="/")
    try:
        answered = False
        for _ in range(300):
            assert server.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                answered = urllib.request.urlopen(f"http://127.0.0.1:{port}/").status == 200
            if answered:
                break
            time.sleep(0.1)
        assert answered
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0, log.read_text()
    assert "the native media plane forwards" in log.read_text()


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_lowest_and_the_newest_versions_do(resolution: str, dist: Dist, environment: Environment) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tools = [
        each
        for each in project["optional-dependencies"]["dev"]
        if re.split(r"[\[><=]", each)[0] in {"hypothesis", "moto", "pytest", "pytest-asyncio"}
    ]
    environment.install("--resolution", resolution, f"pysfu[camera,postgres,s3] @ {dist.wheel.as_uri()}")
    environment.install(*tools)
    # In the checkout: its tests, and what they test. Warnings of other versions are no faults of ours.
    words = (
        environment.python, "-m", "pytest", "-q", "-W", "default",
        "-o", f"cache_dir={environment.folder}/cache", "-m", "not e2e and not turn and not postgres", *TRIED,
    )  # fmt: skip
    path = f"{environment.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    try:
        environment.run(*words, cwd=ROOT, PATH=path)
    except AssertionError:
        # What a version breaks fails again; what a loaded machine broke does not.
        environment.run(*words, "--last-failed", cwd=ROOT, PATH=path)


def test_an_interrupted_environment_is_made_anew(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    # As Debian's Python without python3-venv does: bin/python is there when it fails at ensurepip.
    interrupted = tmp_path / "python3"
    interrupted.write_text(
        f"#!/bin/sh\ncase $1 in -c) exit 0;; esac\n{sys.executable} -m venv --without-pip .venv\nexit 1\n"
    )
    interrupted.chmod(0o755)
    made = ["make", ".venv/made"]
    first = subprocess.run([*made, f"PYTHON={interrupted}"], cwd=tmp_path, capture_output=True, check=False)
    assert first.returncode != 0
    assert (tmp_path / ".venv/bin/python").exists()
    subprocess.run([*made, f"PYTHON={sys.executable}"], cwd=tmp_path, capture_output=True, check=True)
    subprocess.run([tmp_path / ".venv/bin/python", "-m", "pip", "--version"], check=True, capture_output=True)
