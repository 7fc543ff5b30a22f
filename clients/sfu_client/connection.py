"""Staying in a room: join, resume, join anew, with back-off, until it is over for good."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from sfu_client.adaptation import SentEncoding
from sfu_client.backoff import Backoff
from sfu_client.errors import ClientError, ClosedError, RefusedError, UnavailableError
from sfu_client.model import Publication
from sfu_client.publish import LocalPublication
from sfu_client.session import Ending, Observer, Session
from sfu_client.signalling import Message, Signalling

logger = logging.getLogger(__name__)

STABLE_S = 10.0
"""A session that lived this long was a success: the next loss starts with short delays again."""
LEAVE_TIMEOUT_S = 2.0
HTTP_TIMEOUT_S = 60.0
"""Without a byte."""

AutoSubscribe = bool | Callable[[Publication], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `Room.connect` was given; `url` is the WebSocket's."""

    url: str
    room: str
    name: str
    token: str | None
    insecure: bool
    relay: bool
    auto_subscribe: AutoSubscribe
    role: str | None = None


class Tenant(Observer, Protocol):
    """Who lives in the connection: the room."""

    @property
    def chat_seen(self) -> int | None:
        """The number of the last change of the chat that is known."""

    def on_joined(self, joined: Message, resumed: bool) -> None:
        """A session begins, or goes on."""

    def on_offline(self, reason: str) -> None:
        """Signalling is lost and will return."""

    def on_dropped(self) -> None:
        """The membership is gone with all its tracks."""

    def on_closed(self, reason: ClosedError) -> None:
        """It is over; called once."""


class Connection:
    """Keeps one membership after another, each with one WebSocket after another."""

    def __init__(self, options: Options, local: list[LocalPublication], tenant: Tenant) -> None:
        self._options = options
        self._local = local
        self._tenant = tenant
        self._http: aiohttp.ClientSession | None = None
        self._signalling: Signalling | None = None
        self._session: Session | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self.closed: ClosedError | None = None
        self._pass = ""

    @property
    def online(self) -> bool:
        """Whether signalling is up right now."""
        return self._signalling is not None

    async def open(self, *, keep_trying: bool) -> None:
        """Join for the first time. Raises `RefusedError`, and `UnavailableError` unless `keep_trying`."""
        self._http = aiohttp.ClientSession()
        backoff = Backoff()
        while True:
            try:
                signalling, joined = await self._join(None)
                break
            except (UnavailableError, RefusedError) as error:
                if not keep_trying or (isinstance(error, RefusedError) and error.permanent):
                    raise
                delay_s = backoff.delay_s()
                logger.warning("%s; trying again in %.1f s", error, delay_s)
                await asyncio.sleep(delay_s)
        self._begin(signalling, joined)
        self._supervisor = asyncio.create_task(self._supervise(signalling), name="sfu-connection")

    async def close(self) -> None:
        """Leave, and free everything."""
        if self._signalling is not None and self._session is not None:
            await self._session.settle()
        if self._signalling is not None:
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await self._signalling.send("leave", reason="left")
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._end(ClosedError("left", ""))
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def request(self, kind: str, **members: Any) -> Message:
        """Ask the server. Raises `RefusedError`, `UnavailableError` or `ClosedError`."""
        self.raise_if_closed()
        if self._signalling is None:
            raise UnavailableError("not connected")
        return await self._signalling.request(kind, **members)

    def sent(self, publication: LocalPublication) -> list[SentEncoding]:
        """See `Room.sent`."""
        return [] if self._session is None else self._session.sent(publication)

    async def send(self, label: str, message: bytes) -> bool:
        """Send on a data channel; False where a lossy message had no room.

        Raises `UnavailableError` or `ClosedError`.
        """
        self.raise_if_closed()
        if self._session is None:
            raise UnavailableError("not connected")
        return await self._session.send(label, message)

    def http(self) -> tuple[aiohttp.ClientSession, str, dict[str, Any]]:
        """For HTTP requests of this membership. Raises `UnavailableError` or `ClosedError`."""
        self.raise_if_closed()
        if self._http is None or self._session is None:
            raise UnavailableError("not connected")
        resume = self._session.resume
        headers = {"Authorization": f"Participant {resume['participant']}:{resume['secret']}"}
        root = "http" + self._options.url.removeprefix("ws").removesuffix("/signal")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=HTTP_TIMEOUT_S)
        return self._http, root, {"headers": headers, "timeout": timeout, "ssl": not self._options.insecure}

    def publications_changed(self) -> None:
        """To be called after changing the list of local publications."""
        if self._session is not None:
            self._session.publications_changed()

    def raise_if_closed(self) -> None:
        if self.closed is not None:
            raise self.closed

    async def _join(self, resume: Message | None) -> tuple[Signalling, Message]:
        assert self._http is not None
        options = self._options
        signalling = await Signalling.open(self._http, options.url, insecure=options.insecure)
        members: Message = {
            "room": options.room,
            "name": options.name,
            "wants": {"subscribe": options.auto_subscribe is True, "video": True, "audio": True},
            "client": "python/0.1",
        }
        if options.role:
            members["role"] = options.role
        if options.token:
            members["token"] = options.token
        if self._tenant.chat_seen is not None:
            members["chat_after"] = self._tenant.chat_seen
        if resume:
            members["resume"] = resume
        if self._pass:
            members["pass"] = self._pass
        try:
            joined = await signalling.join(members)
            self._pass = str(joined.get("pass") or "")
            return signalling, joined
        except BaseException:
            await signalling.close()
            raise

    def _begin(self, signalling: Signalling, joined: Message) -> bool:
        """Start a session with `joined`, or let the one that is still there go on; whether it is that."""
        resumed = self._session is not None
        if self._session is None:
            for publication in self._local:
                publication.id = ""
            self._session = Session(joined, self._local, self._tenant, relay=self._options.relay)
        else:
            self._session.refresh(joined)
        self._signalling = signalling
        self._tenant.on_joined(joined, resumed)
        return resumed

    async def _supervise(self, signalling: Signalling) -> None:
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                assert self._session is not None
                ending = await self._session.run(signalling)
                await self._offline(signalling, ending)
                if loop.time() - began > STABLE_S:
                    backoff.reset()
                if not ending.reconnect:
                    await self._end(ClosedError(ending.code, ending.message))
                    return
                signalling = await self._return(ending, backoff)
        except RefusedError as error:
            await self._end(ClosedError(error.code, error.message))
        except Exception as error:
            logger.exception("the connection failed")
            await self._end(ClosedError("internal", str(error)))
        finally:
            await signalling.close()

    async def _offline(self, signalling: Signalling, ending: Ending) -> None:
        self._signalling = None
        if ending.media_lost:
            # The old membership is of no use any more: do not leave a ghost for the grace period.
            with contextlib.suppress(UnavailableError):
                await signalling.send("leave", reason="left")
        await signalling.close()
        if ending.reconnect:
            logger.warning("disconnected: %s (%s)", ending.message, ending.code)
            self._tenant.on_offline(ending.message or ending.code)
        if ending.media_lost:
            await self._drop()

    async def _return(self, ending: Ending, backoff: Backoff) -> Signalling:
        """Resume or join anew, for as long as it takes. Raises `RefusedError` where it is for good."""
        delay_s = max(ending.retry_after_s, backoff.delay_s())
        while True:
            await asyncio.sleep(delay_s)
            delay_s = backoff.delay_s()
            try:
                signalling, joined = await self._join(self._session.resume if self._session else None)
            except UnavailableError as error:
                logger.info("%s; trying again in %.1f s", error, delay_s)
                continue
            except RefusedError as error:
                if error.permanent:
                    raise
                if error.code == "resume_failed":
                    await self._drop()
                    delay_s = 0.0
                else:
                    logger.warning("refused: %s; trying again in %.1f s", error, delay_s)
                continue
            if not joined.get("resumed"):
                await self._drop()
            resumed = self._begin(signalling, joined)
            logger.info("connected again (%s)", "resumed" if resumed else "joined anew")
            return signalling

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._tenant.on_dropped()
            await session.close()

    async def _end(self, reason: ClosedError) -> None:
        if self.closed is not None:
            return
        self.closed = reason
        self._signalling = None
        await self._drop()
        for publication in self._local:
            if not publication.accepted.done():
                publication.accepted.set_exception(reason)
                publication.accepted.exception()  # seen: not every caller waits for it
        self._tenant.on_closed(reason)
