"""What deploy/ has is right, as far as it can be told without running it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sfu.config import Config
from sfu.errors import ConfigError
from sfu.loading.keys import keys
from sfu.loading.load import load, variable

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MOST_EXPOSED = 4.0
SERVICE_KEYS = {
    "build", "cap_drop", "depends_on", "environment", "healthcheck", "image", "logging", "ports", "read_only",
    "restart", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
"""Of the Compose specification, as far as they are used here."""


def tool(name: str) -> str:
    """Its path. Skips, or in CI fails, where it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed: make browser")
    return found


def environment_keys() -> set[str]:
    return {variable(each.name) for each in keys()}


def unit() -> str:
    return (DEPLOY / "pysfu.service").read_text()


def test_the_unit_is_little_exposed() -> None:
    command = [tool("systemd-analyze"), "security", "--offline=true", str(DEPLOY / "pysfu.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    exposure = re.search(r"exposure level for pysfu\.service: ([0-9.]+)", done.stdout)
    assert exposure is not None, done.stdout
    assert float(exposure[1]) < MOST_EXPOSED


def test_the_unit_has_no_unknown_line(tmp_path: Path) -> None:
    path = tmp_path / "pysfu.service"
    path.write_text(unit().replace("/opt/pysfu/bin/sfu", "/bin/true"))
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert not re.search(r"pysfu\.service:\d+", done.stderr), done.stderr


def test_the_unit_keeps_what_the_server_uses() -> None:
    lines = dict(line.split("=", 1) for line in unit().splitlines() if re.match("[A-Z]", line))
    assert set(lines["RestrictAddressFamilies"].split()) == {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}
    assert lines["LimitRTPRIO"] == "1"
    assert lines["RestartPreventExitStatus"] == str(os.EX_CONFIG)
    assert "RestrictRealtime" not in lines
    assert (lines["Type"], lines["ExecReload"]) == ("notify", "/bin/kill -HUP $MAINPID")
    assert int(lines["WatchdogSec"]) > 0
    (key, value) = lines["Environment"].split("=", 1)
    assert key in environment_keys()
    assert value == f"%S/{lines['StateDirectory']}"


def test_the_configuration_is_taken_once_it_has_a_secret() -> None:
    text = (DEPLOY / "sfu.toml").read_text()
    with pytest.raises(ConfigError, match=r"auth\.keys"):
        load(text)
    assert load(text.replace("REPLACE", "s" * 64)).auth.keys


def dockerfile() -> list[str]:
    """Its instructions, each on one line."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_built_from_fixed_versions_and_runs_as_nobody() -> None:
    lines = dockerfile()
    for line in lines:
        if line.startswith("FROM "):
            assert re.fullmatch(r"FROM [a-z]+:[0-9][\w.-]+( AS \w+)?", line), line
        if "apt-get install" in line:
            assert "--no-install-recommends" in line
            assert "rm -rf /var/lib/apt/lists" in line
        if "pip install" in line:
            assert "--no-cache-dir" in line
        assert not line.startswith("ADD ")
        if line.startswith(("CMD ", "ENTRYPOINT ")):
            assert line.split(" ", 1)[1].startswith("["), "a shell would not hand on signals"
    last = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line.split()[1] for line in last if line.startswith("USER ")]
    assert users
    assert users[-1].split(":")[0] not in {"root", "0"}
    assert any(line.startswith("HEALTHCHECK ") for line in last)
    names = re.findall(r"(SFU_\w+)=", " ".join(last))
    assert names
    assert set(names) <= environment_keys()


def test_the_image_builds_as_the_project_does() -> None:
    """Its toolchain is the least that the native plane needs, its tools those of `make dist`."""
    workspace = tomllib.loads((ROOT / "rust/Cargo.toml").read_text())["workspace"]["package"]
    text = "\n".join(dockerfile())
    assert f"FROM rust:{workspace['rust-version']}" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for each in project["optional-dependencies"]["dist"]:
        assert each in text


def compose(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("name", ["compose.yaml", "compose.postgres.yaml"])
def test_compose_files_are_well_formed(name: str) -> None:
    document = compose(name)
    assert set(document) <= {"name", "services", "volumes"}
    for service in document["services"].values():
        assert set(service) <= SERVICE_KEYS
        for key in service.get("environment", {}):
            assert not key.startswith("SFU_") or key in environment_keys()
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in document["volumes"]
        if ":" in service.get("image", ""):
            assert re.search(r":[0-9]", service["image"]), "a fixed version"
        else:
            assert "build" in service or name != "compose.yaml"


def test_compose_asks_for_what_has_no_safe_default() -> None:
    environment = compose("compose.yaml")["services"]["sfu"]["environment"]
    assert environment["SFU_AUTH__KEYS"].startswith("${SFU_AUTH__KEYS:?")
    assert environment["SFU_RTC__ANNOUNCE"].startswith("${SFU_RTC__ANNOUNCE:?")


def test_compose_opens_the_ports_that_the_server_has() -> None:
    service = compose("compose.yaml")["services"]["sfu"]
    default = Config()
    inside = {port.rsplit(":", 1)[1] for port in service["ports"]}
    assert inside == {
        f"{default.server.port}/tcp", f"{default.rtc.port}/tcp", f"{default.rtc.port}/udp"
    }  # fmt: skip
    build = service["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_logrotate_takes_its_file(tmp_path: Path) -> None:
    # It refuses files that others may write, and those of other users.
    path = tmp_path / "pysfu"
    path.write_text((DEPLOY / "pysfu.logrotate").read_text().replace("/var/log/pysfu", str(tmp_path / "log")))
    path.chmod(0o600)
    (tmp_path / "log").mkdir(mode=0o700)
    log = tmp_path / "log/sfu.log"
    log.write_text("line\n")
    command = [tool("logrotate"), "--force", "--state", str(tmp_path / "state"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert log.read_text() == ""
    assert (tmp_path / "log/sfu.log.1").read_text() == "line\n"
