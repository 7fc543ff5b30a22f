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


def ice_servers(config: IceConfig, user: str, now_s: float) -> list[dict[str, Any]]:
    """The list as in W3C `RTCIceServer`, empty where nothing is configured. `now_s` is Unix time."""
    servers: list[dict[str, Any]] = []
    if config.stun_urls:
        servers.append({"urls": list(config.stun_urls)})
    if config.turn_urls:
        username, credential = config.turn_username, config.turn_password
        if config.turn_secret:
            username, credential = turn_credential(config.turn_secret, user, int(now_s) + config.turn_ttl_s)
        servers.append({"urls": list(config.turn_urls), "username": username, "credential": credential})
    return servers


def turn_credential(secret: str, user: str, expires_s: int) -> tuple[str, str]:
    """User name and password that the TURN server accepts until `expires_s` (Unix seconds)."""
    username = f"{expires_s}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def renewal_s(config: IceConfig) -> float | None:
    """Seconds after which clients need new credentials: half their life; None where they do not expire."""
    return config.turn_ttl_s / 2 if config.turn_urls and config.turn_secret else None
