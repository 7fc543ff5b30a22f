"""Verify tokens of every kind for every door, check revocations, and count failures by address."""

from __future__ import annotations

import logging

from sfu import clock
from sfu.config import AuthConfig
from sfu.errors import RequestError
from sfu.log import Seldom, peer_address
from sfu.server import tokens
from sfu.server.jwks import KeySet
from sfu.server.lockout import Lockout
from sfu.server.removals import Removals
from sfu.server.revocations import Revocations
from sfu.server.tokens import Claims
from sfu.store.store import Store

log = logging.getLogger(__name__)


class Access:
    """`guarded` is false in development mode, where nobody needs a token."""

    def __init__(self, auth: AuthConfig, store: Store) -> None:
        self._key_set: KeySet | None = None
        self._take(auth)
        self._lockout = Lockout(auth.max_failures, round(auth.lockout_s * 1_000_000))
        self._seldom = Seldom(log)
        self.revocations = Revocations(auth.revoked, auth.revoked_file, store)
        self.removals = Removals(store)
        self.guarded = auth.guarded

    async def claims(self, token: str, address: str, *, may_be_old: bool = False) -> Claims:
        """What the token says that a client at `address` brings; `may_be_old` takes one that has expired.

        A good token counts whatever others have brought from the same address. Raises `RequestError`
        `bad_token`, `locked_out` (another bad one), `token_expired`, `token_revoked`, `removed`,
        `keys_unavailable`.
        """
        try:
            return await self._verified(token, may_be_old=may_be_old)
        except RequestError as error:
            # Who brings an old token once had a good one.
            if error.code == "bad_token":
                self.failed(address)
            raise

    async def load(self) -> None:
        """Read what was withdrawn, and begin to fetch keys. Raises `ConfigError`, `RequestError`."""
        await self.revocations.load()
        await self.removals.load()
        if self._key_set is not None:
            self._key_set.start()

    def _take(self, auth: AuthConfig) -> None:
        self.auth = auth
        self._keys = dict(key.split(":", 1) for key in auth.keys)
        self._key_set = KeySet(auth.jwks_url, auth.jwks_ttl_s) if auth.jwks_url else None
        self._issuer = auth.jwks_issuer
        self._audience = auth.jwks_audience

    async def reload(self, auth: AuthConfig) -> None:
        """Take other keys and revocations. Whoever is in stays, as when a token expires."""
        former = self._key_set
        self._take(auth)
        self.revocations.configure(auth.revoked)
        if former is not None:
            await former.close()

    async def close(self) -> None:
        """Give up what is under way."""
        if self._key_set is not None:
            await self._key_set.close()

    def failed(self, address: str) -> None:
        """Count a credential that was wrong. Raises `RequestError` `locked_out` where there were too many."""
        if self._lockout.failed(address, clock.now_us()):
            self._seldom.warning("locked out for bad tokens: %s", peer_address(address))

    async def _verified(self, token: str, *, may_be_old: bool) -> Claims:
        if not token:
            raise RequestError("bad_token", "this server asks for a token")
        now_s = clock.wall_ms() / 1000
        header, _ = tokens.peek(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if self._key_set is not None and algorithm in tokens.ASYMMETRIC and isinstance(kid, str):
            key = await self._key_set.key(kid, algorithm)
            given = tokens.signed(token, key, tokens.ASYMMETRIC, self._audience, self._issuer)
            claims = tokens.read(given, now_s, may_be_old=may_be_old)
        else:
            claims = tokens.decode(token, self._keys, now_s, may_be_old=may_be_old)
        self.check_withdrawn(claims)
        return claims

    def check_withdrawn(self, claims: Claims) -> None:
        """Raises `RequestError` `token_revoked` or `removed`."""
        if claims.jti in self.revocations:
            raise RequestError("token_revoked", "the token was revoked")
        if self.removals.refuses(claims):
            raise RequestError("removed", "you were removed from the room after this token was made")
