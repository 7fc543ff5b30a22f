"""Webhooks: room events posted to configured URLs, signed, in order, and again until they are taken.

They are signed as https://www.standardwebhooks.com has it, for which every language has a library. An
event is written to the database before it is posted and removed when the receiver has answered 2xx, so a
restart loses none. Where the answer was lost on the way it is posted again with the same `webhook-id`: by
it the receiver takes each event once.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from functools import partial
from urllib.parse import urlsplit

import aiohttp

import sfu
from sfu import clock
from sfu.config import WebhooksConfig
from sfu.errors import RequestError
from sfu.server.events import RoomEvent, source, weighty
from sfu.server.fair_queue import FairQueue
from sfu.store import outbox
from sfu.store.outbox import Delivery
from sfu.store.store import Store

log = logging.getLogger(__name__)

RETRIES_S = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Pauses after failures in a row; the last one again and again."""
UNWANTED = frozenset({400, 409, 410, 413, 415, 422})
"""Answers that are about the event: it will not be taken later either, and the next ones may be."""
PASSING = frozenset({408, 425, 429})
"""Of the answers from 300 to 499 those that ask for another try."""
REFUSALS = 5
"""So many others of these in a row are about the event too. A receiver that is being set up gives fewer."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - the standard's mark of a Base64 secret
LAST_S = 2.0
"""How long the last events of a server that stops may take; what is left waits for the next start."""


@dataclass(slots=True)
class WebhookCounters:
    """Of all URLs. `refused` are those that a receiver did not want, `dropped` too many or too old ones."""

    delivered: int = 0
    failed: int = 0
    refused: int = 0
    dropped: int = 0


def body(event: RoomEvent) -> str:
    """What is posted."""
    values = {
        "id": event.id,
        "type": event.type,
        "at_ms": event.at_ms,
        "room": event.room,
        "data": event.data,
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def key(secret: str) -> bytes:
    """The key of a secret: Base64 after `whsec_`, else its bytes. Raises `ValueError`."""
    if secret.startswith(SECRET_PREFIX):
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    return secret.encode()


def signature(secret: str, event: str, timestamp_s: int, text: str) -> str:
    """The `webhook-signature` of a body posted at `timestamp_s` (Unix seconds)."""
    signed = f"{event}.{timestamp_s}.{text}".encode()
    return "v1," + base64.b64encode(hmac.digest(key(secret), signed, hashlib.sha256)).decode()


@dataclass(frozen=True, slots=True)
class _Queued:
    """`due_us` is when it is too old, by a clock that nobody sets."""

    delivery: Delivery
    due_us: int


class Webhooks:
    """Made by `open_webhooks`. One delivery at a time for each URL: that keeps the order."""

    def __init__(self, config: WebhooksConfig, store: Store, http: aiohttp.ClientSession) -> None:
        self.counters = WebhookCounters()
        self._config = config
        self._store = store
        self._http = http
        self._next = 1
        self._queues: dict[str, FairQueue[_Queued]] = {
            url: FairQueue(config.max_waiting) for url in config.urls
        }
        self._wakes = {url: asyncio.Event() for url in config.urls}
        self._taken = asyncio.Event()

    async def load(self) -> None:
        """Take up what an earlier run did not get rid of. Raises `RequestError` `storage_failed`."""
        await self._store.writes.transact(lambda c: outbox.keep_only(c, self._config.urls))
        async with self._store.reading() as connection:
            for delivery in await outbox.waiting(connection):
                # After a leap of the clock nothing tells how old it is.
                age_ms = max(clock.wall_ms() - delivery.at_ms, 0) if self._store.believed else 0
                self._put(delivery, age_ms)
                self._next = delivery.number + 1

    def listen(self, event: RoomEvent) -> None:
        """Queue an event for every URL that wants it, as soon as it is durable."""
        if self._config.events and event.type not in self._config.events:
            return
        text = body(event)
        for url in self._queues:
            delivery = Delivery(number=self._next, url=url, event=event.id, body=text, at_ms=event.at_ms)
            self._next += 1
            try:
                self._store.writes.submit(outbox.added(delivery), partial(self._kept, delivery))
            except RequestError:
                self._drop("a full store")

    def counts(self) -> dict[str, int]:
        """Of all URLs, for the statistics; `waiting` are those that nobody has taken yet."""
        return {**asdict(self.counters), "waiting": sum(map(len, self._queues.values()))}

    def _kept(self, delivery: Delivery, error: RequestError | None) -> None:
        if error is not None:
            self._drop("a failing store")
            return
        self._put(delivery, 0)

    def _put(self, delivery: Delivery, age_ms: int) -> None:
        due_us = clock.now_us() + int(self._config.max_age_s * 1_000_000) - age_ms * 1000
        event = json.loads(delivery.body)
        by = source(event["room"], event["data"])
        dropped = self._queues[delivery.url].put(
            _Queued(delivery, due_us), by, weighty=weighty(event["type"])
        )
        if dropped is not None:
            self._forget(dropped.delivery)
            self._drop("a receiver that does not keep up")
        self._wakes[delivery.url].set()

    async def drain(self) -> None:
        """Wait until every receiver has taken everything."""
        await self._store.writes.flush()
        while any(map(len, self._queues.values())):
            self._taken.clear()
            await self._taken.wait()

    async def run(self, url: str) -> None:
        """Deliver to one URL for ever."""
        queue, wake = self._queues[url], self._wakes[url]
        failures = refusals = 0
        while True:
            while not len(queue):
                wake.clear()
                await wake.wait()
            delivery, due_us = queue.first.delivery, queue.first.due_us
            expired = clock.now_us() > due_us
            status, reason = (204, "") if expired else await self._post(delivery)
            self.counters.failed += bool(reason)
            refusals += 300 <= status < 500 and status not in PASSING
            unwanted = status in UNWANTED or refusals >= REFUSALS
            if reason and not unwanted:
                pause_s = RETRIES_S[min(failures, len(RETRIES_S) - 1)]
                failures += 1
                log.warning("webhook %s: %s; again in %g s", urlsplit(url).hostname, reason, pause_s)
                await asyncio.sleep(pause_s)
                continue
            failures = refusals = 0
            queue.popleft()
            self._taken.set()
            self._forget(delivery)
            if expired:
                self._drop("their age")
            elif unwanted:
                self._refused(url, status)
            else:
                self.counters.delivered += 1

    async def _post(self, delivery: Delivery) -> tuple[int, str]:
        """The status (0: no answer), and why it was not taken, empty where it was."""
        now_s = clock.wall_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"pysfu/{sfu.__version__}",
            "webhook-id": delivery.event,
            "webhook-timestamp": str(now_s),
        }
        if self._config.secret:
            headers["webhook-signature"] = signature(
                self._config.secret, delivery.event, now_s, delivery.body
            )
        try:
            async with self._http.post(
                delivery.url, data=delivery.body.encode(), headers=headers, allow_redirects=False
            ) as answer:
                taken = 200 <= answer.status < 300
                return answer.status, "" if taken else f"answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 0, type(error).__name__

    def _forget(self, delivery: Delivery) -> None:
        """What cannot be marked as delivered now is delivered again after a restart, with its id."""
        with contextlib.suppress(RequestError):
            self._store.writes.submit(outbox.removed(delivery.number))

    def _refused(self, url: str, status: int) -> None:
        if not self.counters.refused:
            host = urlsplit(url).hostname
            log.warning("webhook %s refuses events (%d); counted from now on, not logged", host, status)
        self.counters.refused += 1

    def _drop(self, why: str) -> None:
        if not self.counters.dropped:
            log.error("webhook events are dropped for %s; counted from now on, not logged", why)
        self.counters.dropped += 1


@contextlib.asynccontextmanager
async def open_webhooks(config: WebhooksConfig, store: Store) -> AsyncIterator[Webhooks]:
    """Deliver while this is open. What is not delivered at the end waits for the next start."""
    timeout = aiohttp.ClientTimeout(total=config.timeout_s)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        webhooks = Webhooks(config, store, http)
        if config.urls:
            await webhooks.load()
        tasks = [asyncio.create_task(webhooks.run(url)) for url in config.urls]
        try:
            yield webhooks
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(webhooks.drain(), LAST_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
