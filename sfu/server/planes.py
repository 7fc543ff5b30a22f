"""Which media plane the server runs."""

from __future__ import annotations

import logging
import random

from sfu.errors import ConfigError
from sfu.media.plane import Egress, MediaPlane
from sfu.media.python_plane import PythonPlane

log = logging.getLogger(__name__)


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
