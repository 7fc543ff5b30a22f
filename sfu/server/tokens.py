"""Access tokens: who may come into which room, and what it may do there.

A token is a JWT: signed with HS256 by one of the configured API keys, which `iss` names, or by a key of
the configured key set. Its claims are `sub` (identity), `name`, `room`, `exp`, `nbf`, `jti`, `role`,
`template` and `grants`. Without configured keys nobody needs one (development mode). Spec: RFC 7519.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from sfu.errors import RequestError
from sfu.room.permissions import ROLES, GrantChanges, Role, parse_changes
from sfu.store.people import ERASED
from sfu.templates import TEMPLATES

ALGORITHM = "HS256"
ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
"""What keys of a key set may sign with: never a symmetric algorithm, whose key would be public."""
LEEWAY_S = 10
"""Seconds of difference allowed between the clocks of who signs and who checks."""
MAX_CHARACTERS = 8192
MAX_IDENTITY = 128
MAX_JTI = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a valid token says. `role` is None for who brings none, `jti` is empty without.

    With `admin` it opens the HTTP API for every room, `room` is empty, and nobody joins with it.
    """

    identity: str
    name: str
    room: str
    role: Role | None
    grants: GrantChanges
    template: str | None
    jti: str
    expires_s: float
    made_s: float = 0
    """When it was made (`iat`, else `nbf`), 0 where it does not say."""
    admin: bool = False


def mint(
    key: str,
    secret: str,
    *,
    identity: str,
    room: str,
    now_s: float,
    ttl_s: int,
    name: str = "",
    role: str | None = None,
    template: str | None = None,
    jti: str = "",
    **grants: bool | Sequence[str],
) -> str:
    """Sign a token with the API key `key`; it is valid from `now_s` (Unix seconds) for `ttl_s` seconds.

    `grants` are the rights that differ from the role's defaults: `publish` true, false or a list of
    sources, the others of `RIGHTS` true or false. Raises `ValueError` for what does not exist.
    """
    written = {name: list(value) if isinstance(value, Sequence) else value for name, value in grants.items()}
    parse_changes(written)
    if role is not None and role not in ROLES:
        raise ValueError(f"no such role: {role}")
    if template is not None and template not in TEMPLATES:
        raise ValueError(f"no such template: {template}")
    claims: dict[str, Any] = {
        "iss": key,
        "sub": identity,
        "name": name,
        "room": room,
        "nbf": now_s,
        "exp": now_s + ttl_s,
        "grants": written,
    }
    claims |= {k: v for k, v in (("role", role), ("template", template), ("jti", jti)) if v}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def mint_admin(key: str, secret: str, *, identity: str, now_s: int, ttl_s: int, jti: str) -> str:
    """Sign an administrator's token."""
    claims = {"iss": key, "sub": identity, "admin": True, "nbf": now_s, "exp": now_s + ttl_s, "jti": jti}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def verify(token: str, keys: Mapping[str, str], room: str, now_s: float) -> Claims:
    """Check a token for `room` against the API keys (key to secret).

    Raises `RequestError` `bad_token`, `token_expired` or `wrong_room`.
    """
    return for_room(decode(token, keys, now_s), room)


def for_room(claims: Claims, room: str) -> Claims:
    """The claims, if they are for `room`. Raises `RequestError` `wrong_room`."""
    if claims.room != room:
        raise RequestError("wrong_room", "the token is for another room")
    return claims


def decode(token: str, keys: Mapping[str, str], now_s: float, *, may_be_old: bool = False) -> Claims:
    """Like `verify`, for whatever room the token is. Raises `RequestError` `bad_token` or `token_expired`."""
    header, claims = peek(token)
    issuer = claims.get("iss")
    secret = keys.get(issuer) if isinstance(issuer, str) else None
    if secret is None or header.get("alg") != ALGORITHM:
        raise bad("unknown key")
    return read(signed(token, secret, [ALGORITHM]), now_s, may_admin=True, may_be_old=may_be_old)


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as the token has them, not to be believed yet. Raises `RequestError` `bad_token`."""
    if len(token) > MAX_CHARACTERS:
        raise bad("too long")
    try:
        found = jwt.decode_complete(token, options={"verify_signature": False})
        return found["header"], found["payload"]
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise bad("form") from None


def signed(
    token: str, key: Any, algorithms: Sequence[str], audience: str = "", issuer: str = ""
) -> dict[str, Any]:
    """The claims, if `key` has signed them. Raises `RequestError` `bad_token`."""
    # Times are checked against the caller's clock, the rest of the form by `read`.
    options = Options(
        verify_exp=False,
        verify_nbf=False,
        verify_iat=False,
        verify_sub=False,
        verify_jti=False,
        verify_aud=bool(audience),
        verify_iss=bool(issuer),
    )
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            audience=audience or None,
            issuer=issuer or None,
            options=options,
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise bad("signature or form") from None
    return claims


def read(
    claims: Mapping[str, Any], now_s: float, *, may_admin: bool = False, may_be_old: bool = False
) -> Claims:
    """Check the form and the times of claims that were signed. Raises `RequestError`.

    Only who holds an API secret (`may_admin`) makes administrators: of a key set many things may be signed.
    One that has expired is taken where it `may_be_old`.
    """
    expires, not_before = _time(claims, "exp"), _time(claims, "nbf") if "nbf" in claims else 0
    if now_s > expires + LEEWAY_S and not may_be_old:
        raise RequestError("token_expired", "the token has expired")
    if now_s < not_before - LEEWAY_S:
        raise bad("not valid yet")
    role, template = claims.get("role"), claims.get("template")
    if role is not None and role not in ROLES:
        raise bad("role")
    if template is not None and template not in TEMPLATES:
        raise bad("template")
    admin = claims.get("admin", False)
    if not isinstance(admin, bool) or (admin and not may_admin):
        raise bad("admin")
    return Claims(
        identity=_identity(claims),
        name=_text(claims, "name", shortest=0, longest=MAX_CHARACTERS),
        room=_text(claims, "room", shortest=0 if admin else 1, longest=0 if admin else MAX_CHARACTERS),
        role=role,
        grants=_grants(claims.get("grants", {})),
        template=template,
        jti=_text(claims, "jti", shortest=0, longest=MAX_JTI),
        expires_s=expires,
        made_s=_time(claims, "iat") if "iat" in claims else not_before,
        admin=admin,
    )


def bad(what: str) -> RequestError:
    """The error for a token that does not count."""
    return RequestError("bad_token", f"the token is not valid: {what}")


def _identity(claims: Mapping[str, Any]) -> str:
    identity = _text(claims, "sub", shortest=1, longest=MAX_IDENTITY)
    if identity == ERASED:
        raise bad("sub")
    return identity


def _text(claims: Mapping[str, Any], name: str, *, shortest: int, longest: int) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or not shortest <= len(value) <= longest or not value.isprintable():
        raise bad(name)
    return value


def _grants(given: object) -> GrantChanges:
    if not isinstance(given, dict):
        raise bad("grants")
    try:
        return parse_changes(given)
    except (ValueError, TypeError):
        raise bad("grants") from None


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise bad(name)
    return value
