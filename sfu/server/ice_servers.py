"""The ICE servers clients are given, with time-limited TURN credentials where a secret is shared.

The user name is `expiry:user` (Unix seconds), the password its HMAC-SHA1 with the shared secret in
base64: what coturn's `use-auth-secret` checks. Spec: draft-uberti-behave-turn-rest-00 section 2.2.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from sfu.config import IceConfig

OPEN_TTL_S = 600
"""Life of a credential at most where anybody gets one by joining, without a token."""


def ice_servers(config: IceConfig, user: str, now_s: float, *, guarded: bool) -> list[dict[str, Any]]:
    """The list as in W3C `RTCIceServer`, empty where nothing is configured. `now_s` is Unix time.

    `user` is the participant for whom it is, `guarded` whether joining takes a token.
    """
    servers: list[dict[str, Any]] = []
    if config.stun_urls:
        servers.append({"urls": list(config.stun_urls)})
    if config.turn_urls:
        username, credential = config.turn_username, config.turn_password
        if config.turn_secret:
            username, credential = turn_credential(
                config.turn_secret, user, int(now_s) + _ttl_s(config, guarded=guarded)
            )
        servers.append({"urls": list(config.turn_urls), "username": username, "credential": credential})
    return servers


def turn_credential(secret: str, user: str, expires_s: int) -> tuple[str, str]:
    """User name and password that the TURN server accepts until `expires_s` (Unix seconds)."""
    username = f"{expires_s}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def renewal_s(config: IceConfig, *, guarded: bool) -> float | None:
    """Seconds after which clients need new credentials: half their life; None where they do not expire."""
    return _ttl_s(config, guarded=guarded) / 2 if config.turn_urls and config.turn_secret else None


def warning(config: IceConfig, *, guarded: bool) -> str:
    """What whoever runs the server should know about these credentials; empty where there is nothing."""
    if guarded or not config.turn_urls:
        return ""
    if config.turn_secret:
        return (
            "without auth.keys anybody who joins a room gets credentials of the TURN server, each for "
            f"{_ttl_s(config, guarded=guarded)} s"
        )
    return "without auth.keys anybody who joins a room gets ice.turn_password of the TURN server, for good"


def _ttl_s(config: IceConfig, *, guarded: bool) -> int:
    return config.turn_ttl_s if guarded else min(config.turn_ttl_s, OPEN_TTL_S)
