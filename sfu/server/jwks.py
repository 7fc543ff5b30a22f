"""A JSON Web Key Set, fetched and kept for a while. Spec: RFC 7517."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import aiohttp
import jwt

from sfu import clock
from sfu.errors import RequestError
from sfu.log import Seldom
from sfu.server.tokens import bad

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
TIMEOUT_S = 5.0
REFETCH_US = 10_000_000
"""Least time between two fetches: tokens that name keys nobody has cannot make us call more often."""
RETRY_US = 2_000_000
"""The same after one that failed, and when it is tried again."""
RSA = ("RS256", "PS256")
"""What an RSA key may sign with."""


class KeySet:
    """Fetches from `start` on, again when the keys are old, and when a token names an unknown one.

    A token of a known key never waits: old keys are fetched again behind its back.
    """

    def __init__(self, url: str, ttl_s: float) -> None:
        self._url = url
        self._ttl_s = ttl_s
        self._keys: dict[str, dict[str, jwt.PyJWK]] = {}
        self._tried_us: int | None = None
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._seldom = Seldom(log)

    def start(self) -> None:
        """Fetch, and keep the keys fresh until `close`."""
        self._refreshing = asyncio.create_task(self._refresh())

    async def key(self, kid: str, algorithm: str) -> jwt.PyJWK:
        """The key of that id, for signatures of that algorithm.

        Only a token of an unknown key waits for what is being fetched. Raises `RequestError` `bad_token`:
        there is no such key; `keys_unavailable`: nobody knows, because the keys cannot be had just now.
        """
        if kid not in self._keys:
            if self._fetching is None and self._may_fetch():
                self._fetch_soon()
            if self._fetching is not None:
                await asyncio.shield(self._fetching)
        found = self._keys.get(kid, {}).get(algorithm)
        if found is not None:
            return found
        if self._failed and kid not in self._keys:
            raise RequestError("keys_unavailable", "the keys that sign tokens cannot be had: try again soon")
        raise bad("unknown key")

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [task for task in (self._refreshing, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _may_fetch(self) -> bool:
        pause_us = RETRY_US if self._failed else REFETCH_US
        return self._tried_us is None or clock.now_us() - self._tried_us >= pause_us

    async def _refresh(self) -> None:
        while True:
            await asyncio.shield(self._fetching or self._fetch_soon())
            await asyncio.sleep(RETRY_US / 1_000_000 if self._failed else self._ttl_s)

    def _fetch_soon(self) -> asyncio.Task[None]:
        self._fetching = asyncio.create_task(self._fetch())
        self._fetching.add_done_callback(self._fetch_ended)
        return self._fetching

    def _fetch_ended(self, fetching: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        """Where it fails the keys that are known stay good: a pause of their server locks nobody out."""
        try:
            self._keys = _parse(json.loads(await self._body()))
            self._failed = False
            log.info("fetched %d keys of the key set", len(self._keys))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            self._failed = True
            self._seldom.warning("the key set cannot be fetched: %s", type(error).__name__)
        finally:
            self._tried_us = clock.now_us()

    async def _body(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(self._url, allow_redirects=False) as answer,
        ):
            answer.raise_for_status()
            body = b""
            while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES + 1)):
                body += more
        if len(body) > MAX_BYTES:
            raise ValueError("too large")
        return body


def _parse(document: Any) -> dict[str, dict[str, jwt.PyJWK]]:
    """Keys by id and algorithm; those of a kind that is not known, or for encryption, are passed over.

    An RSA key that names no algorithm is good for each of RSA.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of keys")
    keys: dict[str, dict[str, jwt.PyJWK]] = {}
    for given in listed[:MAX_KEYS]:
        kid = given.get("kid") if isinstance(given, dict) else None
        if not isinstance(kid, str) or given.get("kty") == "oct" or given.get("use", "sig") != "sig":
            continue
        any_of_rsa = given.get("kty") == "RSA" and "alg" not in given
        for algorithm in RSA if any_of_rsa else (None,):
            try:
                key = jwt.PyJWK.from_dict(given, algorithm)
            except (jwt.PyJWTError, ValueError, TypeError, KeyError, NotImplementedError):
                continue
            keys.setdefault(kid, {})[key.algorithm_name] = key
    return keys
