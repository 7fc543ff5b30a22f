"""Access tokens: who may come into which room, and what it may do there.

A token is a JWT signed with HS256 by one of the configured API keys, which `iss` names. Its claims
are `sub` (identity), `name`, `room`, `exp`, `nbf` and `grants`. Without configured keys nobody needs
one (development mode). Spec: RFC 7519.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from sfu.errors import RequestError
from sfu.room.permissions import SOURCES, Grants

ALGORITHM = "HS256"
LEEWAY_S = 10
"""Seconds of difference allowed between the clocks of who signs and who checks."""
MAX_CHARACTERS = 8192
MAX_IDENTITY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a valid token says."""

    identity: str
    name: str
    room: str
    grants: Grants


def mint(
    key: str,
    secret: str,
    *,
    identity: str,
    room: str,
    now_s: int,
    ttl_s: int,
    name: str = "",
    publish: bool | Sequence[str] = True,
    subscribe: bool = True,
    data: bool = True,
    chat: bool = True,
) -> str:
    """Sign a token with the API key `key`; it is valid from `now_s` (Unix seconds) for `ttl_s` seconds.

    Raises `ValueError` for a source in `publish` that does not exist.
    """
    if not isinstance(publish, bool) and (unknown := set(publish) - set(SOURCES)):
        raise ValueError(f"no such source: {', '.join(sorted(unknown))}")
    claims = {
        "iss": key,
        "sub": identity,
        "name": name,
        "room": room,
        "nbf": now_s,
        "exp": now_s + ttl_s,
        "grants": {
            "publish": publish if isinstance(publish, bool) else list(publish),
            "subscribe": subscribe,
            "data": data,
            "chat": chat,
        },
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(token: str, keys: Mapping[str, str], room: str, now_s: float) -> Claims:
    """Check a token for `room` against the API keys (key to secret).

    Raises `RequestError` `bad_token`, `token_expired` or `wrong_room`.
    """
    claims = decode(token, keys, now_s)
    if claims.room != room:
        raise RequestError("wrong_room", "the token is for another room")
    return claims


def decode(token: str, keys: Mapping[str, str], now_s: float) -> Claims:
    """Like `verify`, for whatever room the token is. Raises `RequestError` `bad_token` or `token_expired`."""
    claims = _signed_claims(token, keys)
    expires, not_before = _time(claims, "exp"), _time(claims, "nbf") if "nbf" in claims else 0
    if now_s > expires + LEEWAY_S:
        raise RequestError("token_expired", "the token has expired")
    if now_s < not_before - LEEWAY_S:
        raise _bad("not valid yet")
    identity, room, name = claims.get("sub"), claims.get("room"), claims.get("name", "")
    if not isinstance(identity, str) or not 0 < len(identity) <= MAX_IDENTITY or not identity.isprintable():
        raise _bad("sub")
    if not isinstance(room, str) or not room:
        raise _bad("room")
    if not isinstance(name, str) or not name.isprintable():
        raise _bad("name")
    return Claims(identity=identity, name=name, room=room, grants=_grants(claims.get("grants", {})))


def _signed_claims(token: str, keys: Mapping[str, str]) -> dict[str, Any]:
    if len(token) > MAX_CHARACTERS:
        raise _bad("too long")
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        secret = keys.get(issuer) if isinstance(issuer, str) else None
        if secret is None:
            raise _bad("unknown key")
        return jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            # Times are checked against the caller's clock.
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise _bad("signature or form") from None


def _grants(given: object) -> Grants:
    if not isinstance(given, dict):
        raise _bad("grants")
    publish = given.get("publish", True)
    if isinstance(publish, list):
        if not all(source in SOURCES for source in publish):
            raise _bad("grants.publish")
        publish = tuple(publish)
    elif not isinstance(publish, bool):
        raise _bad("grants.publish")
    rights = {name: given.get(name, True) for name in ("subscribe", "data", "chat")}
    if not all(isinstance(right, bool) for right in rights.values()):
        raise _bad("grants")
    return Grants(publish=publish, **rights)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _bad(name)
    return value


def _bad(what: str) -> RequestError:
    return RequestError("bad_token", f"the token is not valid: {what}")
