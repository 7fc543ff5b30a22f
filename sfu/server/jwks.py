"""A JSON Web Key Set, fetched and kept for a while. Spec: RFC 7517."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import aiohttp
import jwt

from sfu import clock
from sfu.server.tokens import bad

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
TIMEOUT_S = 5.0
REFETCH_US = 10_000_000
"""Least time between two fetches: tokens that name keys nobody has cannot make us call more often."""


class KeySet:
    """Fetches when it is first asked, when the keys are old, and when a token names an unknown one."""

    def __init__(self, url: str, ttl_s: float) -> None:
        self._url = url
        self._ttl_us = round(ttl_s * 1_000_000)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_us: int | None = None
        self._tried_us: int | None = None
        self._fetching = asyncio.Lock()

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key of that id. Raises `RequestError` `bad_token`: there is none."""
        if self._due(kid):
            async with self._fetching:
                if self._due(kid):
                    await self._fetch()
        found = self._keys.get(kid)
        if found is None:
            raise bad("unknown key")
        return found

    def _due(self, kid: str) -> bool:
        now_us = clock.now_us()
        if self._tried_us is not None and now_us - self._tried_us < REFETCH_US:
            return False
        old = self._fetched_us is None or now_us - self._fetched_us > self._ttl_us
        return old or kid not in self._keys

    async def _fetch(self) -> None:
        """Where it fails the keys that are known stay good: a pause of their server locks nobody out."""
        self._tried_us = clock.now_us()
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(self._url, allow_redirects=False) as answer,
            ):
                answer.raise_for_status()
                body = await answer.content.read(MAX_BYTES + 1)
                while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES + 1)):
                    body += more
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
            self._keys = _parse(json.loads(body))
            self._fetched_us = self._tried_us
            log.info("fetched %d keys of the key set", len(self._keys))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("the key set cannot be fetched: %s", type(error).__name__)


def _parse(document: Any) -> dict[str, jwt.PyJWK]:
    """Keys by id; those of a kind that is not known, or for encryption, are passed over."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of keys")
    keys: dict[str, jwt.PyJWK] = {}
    for given in listed[:MAX_KEYS]:
        kid = given.get("kid") if isinstance(given, dict) else None
        if not isinstance(kid, str) or given.get("kty") == "oct" or given.get("use", "sig") != "sig":
            continue
        try:
            keys[kid] = jwt.PyJWK.from_dict(given)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
    return keys
