"""Which media plane the server runs."""

from __future__ import annotations

import logging
import random

from sfu.errors import ConfigError
from sfu.media.plane import Egress, MediaPlane
from sfu.media.python_plane import PythonPlane

log = logging.getLogger(__name__)


def make_plane(name: str, egress: Egress, *, rng: random.Random, cache_packets: int) -> MediaPlane:
    """The plane that `media.plane` asks for; the log says once which one runs.

    Raises `ConfigError` where it asks for one that is not installed.
    """
    if name != "python":
        try:
            from sfu.media.native_plane import NativePlane
        except ImportError as error:
            if name == "rust":
                raise ConfigError([f"media.plane: rust is not installed (pysfu-plane): {error}"]) from error
        else:
            log.info("the native media plane forwards")
            return NativePlane(egress, rng=rng, cache_packets=cache_packets)
        log.info("the Python media plane forwards; with pysfu-plane installed it takes a fraction of the CPU")
    return PythonPlane(egress, rng=rng, cache_packets=cache_packets)
