"""One membership of a room: its two transports, and its signalling while that lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
)

from sfu_client.adaptation import SentEncoding
from sfu_client.errors import RefusedError, UnavailableError
from sfu_client.publish import LocalPublication, PublishTransport
from sfu_client.signalling import Message, Signalling
from sfu_client.subscribe import SubscribeTransport

logger = logging.getLogger(__name__)

LAST_WORDS_S = 1.0
"""How long a lost transport waits for signalling to say why: the server closes both at once."""
RATE_LIMITED_S = 1.0
FIRST_OFFER_DELAY_S = 0.05
"""Programs publish right after joining: what comes within this goes with the first offer."""
BACKLOG_CHECK_S = 1.0
BACKLOG_FRAMES = 60
"""Two seconds of video waiting for the decoder: the machine does not keep up, and delay would only grow."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why signalling ended. `media_lost`: a transport failed, so resuming would be of no use."""

    code: str
    message: str
    reconnect: bool
    retry_after_s: float = 0.0
    media_lost: bool = False


class Observer(Protocol):
    """Who a session reports to. None of these may block."""

    def on_message(self, message: Message) -> None:
        """Everything the server says by itself, except offers."""

    def on_track(self, publication_id: str, track: Any) -> None: ...

    def on_track_gone(self, publication_id: str) -> None: ...

    def on_data(self, label: str, message: bytes) -> None: ...


class Session:
    """A membership from `joined` until it cannot be resumed any more.

    `local` is the caller's live list of publications; call `publications_changed` after changing it.
    """

    def __init__(
        self, joined: Message, local: list[LocalPublication], observer: Observer, *, relay: bool
    ) -> None:
        self.resume: Message = {}
        self._local = local
        self._observer = observer
        self._relay = relay
        self._ice_servers: list[dict[str, Any]] = []
        self._subscribe: SubscribeTransport | None = None
        self._changed = asyncio.Event()
        self._wants_data = False
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._offers: asyncio.Queue[Message] = asyncio.Queue()
        self._held_back: set[str] = set()
        self.refresh(joined)
        self._publish = PublishTransport(
            self._configuration(), on_data=observer.on_data, on_lost=self._media_lost
        )

    def refresh(self, joined: Message) -> None:
        """Take over what `joined` says about this membership (again, after a resumption)."""
        me = joined["participant"]
        self.resume = {"participant": me["id"], "secret": joined["secret"]}
        self._ice_servers = list(joined.get("ice_servers") or ())
        self._ping_interval_s = float(joined.get("ping_interval_s") or 10)
        self._wants_data = bool((me.get("grants") or {}).get("data", True))
        if self._local or self._wants_data:
            self._changed.set()

    def publications_changed(self) -> None:
        self._changed.set()

    def sent(self, publication: LocalPublication) -> list[SentEncoding]:
        """See `Room.sent`."""
        return self._publish.sent(publication)

    async def send(self, label: str, message: bytes) -> bool:
        """Send on a data channel; False where a lossy message had no room.

        Raises `UnavailableError` where there is no channel.
        """
        if not self._wants_data:
            raise UnavailableError("this participant may not send data")
        return await self._publish.send(label, message)

    async def run(self, signalling: Signalling) -> Ending:
        """Serve until signalling or media ends; the transports live on for a resumption."""
        reader = asyncio.create_task(self._read(signalling), name="signalling")
        jobs: list[Coroutine[Any, Any, None]] = [
            signalling.keep_alive(self._ping_interval_s),
            self._negotiate(signalling),
            self._answer(signalling),
            self._relieve_decoders(signalling),
        ]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            waited: set[asyncio.Future[Any]] = {reader, self._lost, *tasks}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():
                await asyncio.wait({reader}, timeout=LAST_WORDS_S)
            return self._ending(reader, tasks)
        finally:
            for task in (reader, *tasks):
                task.cancel()
            await asyncio.gather(reader, *tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait, a second at most, for transports that are connecting: they close cleanly only then."""
        transports = [item for item in (self._publish, self._subscribe) if item is not None]
        await asyncio.gather(*(transport.settle() for transport in transports))

    async def close(self) -> None:
        """Close both transports."""
        if not self._lost.done():
            self._lost.cancel()
        await self._publish.close()
        if self._subscribe is not None:
            await self._subscribe.close()

    def _ending(self, reader: asyncio.Task[Ending], tasks: list[asyncio.Task[None]]) -> Ending:
        if reader.done() and not reader.cancelled() and reader.exception() is None:
            said = reader.result()
            if said.code != "connection_lost":
                return said
        for task in tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None and not isinstance(error, UnavailableError):
                logger.error("the session failed and is made anew", exc_info=error)
                return Ending("failed", str(error), reconnect=True, media_lost=True)
        if self._lost.done() and not self._lost.cancelled():
            return Ending("media_lost", self._lost.result(), reconnect=True, media_lost=True)
        return Ending("connection_lost", "the connection was lost", reconnect=True)

    async def _read(self, signalling: Signalling) -> Ending:
        retry_after_s = 0.0
        async for message in signalling.messages():
            match message["type"]:
                case "offer":
                    self._offers.put_nowait(message)
                case "going_away":
                    retry_after_s = float(message.get("retry_after_ms") or 0) / 1000
                case "layers":
                    self._choose_encodings(message)
                case "ice_servers":
                    self._ice_servers = list(message.get("ice_servers") or ())
                case "closed":
                    code = str(message.get("code") or "internal")
                    text = str(message.get("message") or "")
                    return Ending(code, text, bool(message.get("reconnect")), retry_after_s)
                case _:
                    self._observer.on_message(message)
        code = "going_away" if retry_after_s else "connection_lost"
        return Ending(code, "the connection was lost", reconnect=True, retry_after_s=retry_after_s)

    def _choose_encodings(self, message: Message) -> None:
        """What of a publication somebody watches; the rest is not worth encoding."""
        encodings = message.get("encodings") or ()
        active = {str(each.get("rid") or ""): bool(each.get("active")) for each in encodings}
        self._publish.choose_encodings(str(message.get("publication")), active)

    async def _negotiate(self, signalling: Signalling) -> None:
        """Keep the publish transport in step with the local publications, one negotiation at a time."""
        if not self._publish.negotiated and not self._local:
            await asyncio.sleep(FIRST_OFFER_DELAY_S)
        while True:
            await self._changed.wait()
            self._changed.clear()
            negotiated = list(self._local)
            try:
                await self._publish.negotiate(negotiated, signalling)
            except RefusedError as error:
                if error.code == "rate_limited":
                    await asyncio.sleep(RATE_LIMITED_S)
                    self._changed.set()
                    continue
                for publication in negotiated:
                    if not publication.accepted.done():
                        publication.accepted.set_exception(error)
            except BaseException:
                self._changed.set()  # not done: to be repeated after a resumption
                raise

    async def _answer(self, signalling: Signalling) -> None:
        """Answer the server's offers, in order; only the newest counts."""
        while True:
            offer = await self._offers.get()
            if not self._offers.empty():
                continue
            if self._subscribe is None:
                self._subscribe = SubscribeTransport(
                    self._configuration(),
                    on_track=self._observer.on_track,
                    on_track_gone=self._observer.on_track_gone,
                    on_lost=self._media_lost,
                )
            sdp = await self._subscribe.answer(offer["sdp"], list(offer.get("media") or ()))
            try:
                await signalling.request("answer", seq=offer["seq"], sdp=sdp)
            except RefusedError as error:
                logger.warning("the server refused an answer: %s", error)

    async def _relieve_decoders(self, signalling: Signalling) -> None:
        """Pause what cannot be decoded in time until the decoder has caught up."""
        while True:
            await asyncio.sleep(BACKLOG_CHECK_S)
            if self._subscribe is None:
                continue
            waiting = self._subscribe.backlogs()
            late = {key for key, frames in waiting.items() if frames > BACKLOG_FRAMES} - self._held_back
            ready = {key for key in self._held_back if not waiting.get(key)}
            for keys, paused in ((late, True), (ready, False)):
                if keys:
                    logger.info(
                        "%s %d publications for the decoder", "pause" if paused else "resume", len(keys)
                    )
                    try:
                        await signalling.request("subscribe", publications=sorted(keys), paused=paused)
                    except RefusedError as error:
                        logger.debug("the server refused to pause: %s", error)
            self._held_back = (self._held_back | late) - ready

    def _media_lost(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def _configuration(self) -> RTCConfiguration:
        """TURN servers only: the server is ICE-lite, a STUN server's answer would only cost time."""
        servers = []
        for item in self._ice_servers:
            urls = item.get("urls") or ()
            turn = [url for url in ([urls] if isinstance(urls, str) else urls) if url.startswith("turn")]
            if turn:
                servers.append(
                    RTCIceServer(urls=turn, username=item.get("username"), credential=item.get("credential"))
                )
        policy = RTCIceTransportPolicy.RELAY if self._relay else RTCIceTransportPolicy.ALL
        return RTCConfiguration(
            iceServers=servers, iceTransportPolicy=policy, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
        )
