"""Which media plane the server runs."""

from __future__ import annotations

import logging
import os
import random
import sys

from sfu.config import MediaConfig
from sfu.errors import ConfigError
from sfu.media.plane import Egress, MediaPlane
from sfu.media.python_plane import PythonPlane

log = logging.getLogger(__name__)

MOST_THREADS = 16


def thread_count(config: MediaConfig) -> int:
    """Threads that a plane with threads of its own gets."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return config.threads or min(MOST_THREADS, cores)


def make_plane(name: str, egress: Egress, *, rng: random.Random, cache_packets: int) -> MediaPlane:
    """The plane that `media.plane` asks for; the log says which one runs.

    `auto` is the Python plane as long as the native one lacks layers within one encoding (VP9 SVC). Raises
    `ConfigError` where `media.plane` asks for one that is not installed.
    """
    if name == "rust":
        try:
            from sfu.media.native_plane import NativePlane
        except ImportError as error:
            raise ConfigError([f"media.plane: rust is not installed (pysfu-plane): {error}"]) from error
        log.info("the native media plane forwards")
        return NativePlane(egress, rng=rng, cache_packets=cache_packets)
    log.info("the Python media plane forwards")
    return PythonPlane(egress, rng=rng, cache_packets=cache_packets)
