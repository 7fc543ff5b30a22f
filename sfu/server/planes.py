"""Which media plane the server runs."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import sys
from importlib import metadata
from pathlib import Path

import sfu
from sfu.config import MediaConfig
from sfu.errors import ConfigError
from sfu.media.plane import Egress, MediaPlane
from sfu.media.python_plane import PythonPlane

log = logging.getLogger(__name__)

MOST_THREADS = 16
CGROUPS = Path("/sys/fs/cgroup")


def thread_count(config: MediaConfig) -> int:
    """Threads that a plane with threads of its own gets: one for each core that this process may use up."""
    if config.threads:
        return config.threads
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = cpu_quota(CGROUPS)
    return min(MOST_THREADS, cores, cores if quota is None else max(1, math.ceil(quota)))


def cpu_quota(root: Path) -> float | None:
    """How many cores the cgroups of this process may use up together; None where there is no quota.

    A parent's quota counts as well. Spec: Linux, admin-guide/cgroup-v2 (cpu.max) and cgroup-v1 (cpu.cfs_*).
    """
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        # In a container the path may be the host's, and what is seen begins at the process's own group.
        for group in (top / path.lstrip("/"), top):
            while group.is_relative_to(top):
                found += _quota(group)
                group = group.parent
    return min(found, default=None)


def _quota(group: Path) -> list[float]:
    """That of one group, by whichever version of cgroups it has."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        return [int(quota) / int(period)] if quota != "max" else []
    with contextlib.suppress(OSError, ValueError):
        quota = (group / "cpu.cfs_quota_us").read_text()
        period = (group / "cpu.cfs_period_us").read_text()
        return [int(quota) / int(period)] if int(quota) > 0 else []
    return []


def make_plane(name: str, egress: Egress, *, rng: random.Random, cache_packets: int) -> MediaPlane:
    """The plane that `media.plane` asks for; `auto` is the native one where it is installed.

    The log says which. Raises `ConfigError` where `media.plane` asks for one that is not installed, or is of
    another version than the server.
    """
    if name == "python":
        log.info("the Python media plane forwards")
        return PythonPlane(egress, rng=rng, cache_packets=cache_packets)
    try:
        from sfu.media.native_plane import NativePlane
    except ImportError as error:
        if name == "rust":
            raise ConfigError([f"media.plane: rust is not installed (pysfu-plane): {error}"]) from error
        log.info("the Python media plane forwards: the native one is not installed")
        return PythonPlane(egress, rng=rng, cache_packets=cache_packets)
    if (version := plane_version()) != sfu.__version__:
        text = f"pysfu-plane is of version {version}, and the server of version {sfu.__version__}"
        if name == "rust":
            raise ConfigError([f"media.plane: {text}: install both of one version"])
        log.warning("the Python media plane forwards: %s", text)
        return PythonPlane(egress, rng=rng, cache_packets=cache_packets)
    log.info("the native media plane forwards")
    return NativePlane(egress, rng=rng, cache_packets=cache_packets)


def plane_version() -> str:
    """The version of the native plane that is installed, `unknown` where nothing says it."""
    try:
        return metadata.version("pysfu-plane")
    except metadata.PackageNotFoundError:
        return "unknown"
