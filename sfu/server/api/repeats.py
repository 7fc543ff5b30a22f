"""Requests that a client sends again because it has lost the answer: done once, answered alike.

Spec: draft-ietf-httpapi-idempotency-key-header, with the answers kept in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from sfu import clock
from sfu.errors import RequestError
from sfu.server.api.callers import Caller
from sfu.server.wire import Json

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}
KEPT_US = 3_600_000_000
KEYS_OF_CALLER = 256
KEPT_BYTES = 16 * 1024 * 1024
ENTRY_BYTES = 512
"""What an answer takes besides its text."""

Scope = tuple[bool, str, str, str]


@dataclass(slots=True)
class _Done:
    """`answer` is done when the request is; `text` is what was answered, counted in `bytes`."""

    fingerprint: bytes
    answer: asyncio.Future[str]
    at_us: int
    bytes: int = ENTRY_BYTES


class Repeats:
    """Answers by caller and key: the newest `KEYS_OF_CALLER` of each caller, for an hour."""

    def __init__(self) -> None:
        self._done: OrderedDict[tuple[Scope, str], _Done] = OrderedDict()
        self._keys: dict[Scope, OrderedDict[str, None]] = {}
        self._bytes = 0

    async def once(
        self, request: web.Request, caller: Caller, body: Json, status: int, do: Callable[[], Awaitable[Json]]
    ) -> web.Response:
        """Answer `do()`, or as it was answered to the same caller with the same key.

        What is refused or fails has done nothing, so it is forgotten. Raises what `do` raises, `RequestError`
        `bad_request` for what is no key, `key_reused` where the key came with another request.
        """
        scope = caller.admin, caller.room or "", caller.participant or "", caller.identity
        where, now_us = (scope, _key(request)), clock.now_us()
        mine = _fingerprint(request, body)
        while self._done and now_us - next(iter(self._done.values())).at_us >= KEPT_US:
            self._forget(next(iter(self._done)))
        found = self._done.get(where)
        if found is not None:
            if found.fingerprint != mine:
                raise RequestError("key_reused", f"this {HEADER} came with another request before")
            return _response(await asyncio.shield(found.answer), status, replayed=True)
        entry = self._begin(where, mine, now_us)
        try:
            text = json.dumps(await do())
        except BaseException as error:
            if self._done.get(where) is entry:
                self._forget(where)
            _fail(entry.answer, error)
            raise
        entry.answer.set_result(text)
        if self._done.get(where) is entry:
            entry.bytes += len(text)
            self._bytes += len(text)
            while self._bytes > KEPT_BYTES:
                self._forget(next(iter(self._done)))
        return _response(text, status, replayed=False)

    def _begin(self, where: tuple[Scope, str], mine: bytes, now_us: int) -> _Done:
        scope, key = where
        keys = self._keys.setdefault(scope, OrderedDict())
        if len(keys) >= KEYS_OF_CALLER:
            self._forget((scope, next(iter(keys))))
        entry = _Done(mine, asyncio.get_running_loop().create_future(), now_us)
        self._done[where] = entry
        self._keys.setdefault(scope, keys)[key] = None
        self._bytes += entry.bytes
        return entry

    def _forget(self, where: tuple[Scope, str]) -> None:
        scope, key = where
        self._bytes -= self._done.pop(where).bytes
        del self._keys[scope][key]
        if not self._keys[scope]:
            del self._keys[scope]


def _fail(answer: asyncio.Future[str], error: BaseException) -> None:
    """Whoever waits for the same answer gets the same error; it may be that nobody does."""
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)
        answer.exception()


def _fingerprint(request: web.Request, body: Json) -> bytes:
    """What makes two requests the same: where they go, and what they say."""
    said = json.dumps([request.method, request.path_qs, body], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()


def _key(request: web.Request) -> str:
    keys = request.headers.getall(HEADER)
    if len(keys) != 1 or not (0 < len(keys[0]) <= 128 and all("!" <= each <= "~" for each in keys[0])):
        raise RequestError("bad_request", f"{HEADER} is 1 to 128 printable ASCII characters, once")
    return keys[0]


def _response(text: str, status: int, *, replayed: bool) -> web.Response:
    headers = {REPLAYED: "true"} if replayed else {}
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)
