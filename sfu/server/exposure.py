"""Whether strangers can come in: nobody needs a token, and more than this machine reaches the server."""

from __future__ import annotations

import contextlib
import ipaddress

from sfu.config import Config

WARNING = (
    "open to everybody: whoever reaches this server may enter every room, and moderates what they open. "
    "Set auth.keys to ask for tokens, or server.host=127.0.0.1 to serve this machine only"
)


def is_open(config: Config) -> bool:
    """An open server of this machine alone is nobody's concern, unless a proxy stands before it."""
    return not config.auth.guarded and (config.server.trust_proxy or not _loopback(config.server.host))


def _loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
