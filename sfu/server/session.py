"""One signalling connection: framing, limits, liveness. What messages mean is the conference's affair."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSMessage, WSMsgType, web

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import ProtocolError, RequestError
from sfu.hosts import host_key
from sfu.ids import RoomName
from sfu.room.model import SessionKey
from sfu.server import costs, requests
from sfu.server.conference import Conference
from sfu.server.frames import WINDOW_BITS, Frame
from sfu.server.member import Member
from sfu.server.rates import TokenBucket
from sfu.server.validation import bad, parse_object
from sfu.server.wire import Json, encode

log = logging.getLogger(__name__)

MAX_RATE_LIMITED = 10
"""Refusals by rate in a row after which a session is closed: who does not slow down never will."""
MAX_QUEUED_BYTES = 4 * 1024 * 1024
"""What may wait for a client that does not read; a full room's `joined` is far smaller."""
MAX_UNANSWERED = 64
"""Requests of one session that may wait for the store; its next message is read when there are fewer."""
LONG_ANSWER = MAX_UNANSWERED // 4
"""What a request counts for whose answer is long: few are made before the client has taken the first."""
MAX_BACKLOG_BYTES = MAX_QUEUED_BYTES // 4
"""Answers that a client has not taken yet; its next message is read when they are fewer."""
WRITE_EVERY_S = 0.02
"""A busy connection is written to at most this often, all that has come meanwhile at once."""
CLOSE_TIMEOUT_S = 2.0
"""How long a client may take to read what is left and to close, before it is cut off."""

_ANSWERED_AT_LENGTH = (requests.ChatPage, requests.ChatSearch, requests.GetBoard)
_WEBSOCKET_CODE = {
    "left": 1000,
    "replaced": 1000,
    "removed": 1000,
    "denied": 1000,
    "going_away": 1001,
    "internal": 1011,
}
_COMES_BACK = frozenset({"ping_timeout", "going_away", "internal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a session may take, seconds. A client is silent for at most 3 x `ping_interval_s`."""

    join_timeout_s: float = 10.0
    ping_interval_s: float = 10.0


class Session:
    """Reads until the connection or the membership ends; writes what is queued, many frames at once."""

    def __init__(
        self,
        key: SessionKey,
        socket: web.WebSocketResponse,
        transport: asyncio.BaseTransport | None,
        conference: Conference,
        limits: LimitsConfig,
        timing: Timing,
        address: str,
        joined: Callable[[], None],
    ) -> None:
        self.key = key
        self._joined = joined
        self.address = address
        self.account = conference.accounts.host(host_key(address))
        self._socket = socket
        self._transport = transport
        self._conference = conference
        self._limits = limits
        self._timing = timing
        self._member: Member | None = None
        self._waits_for: RoomName | None = None
        self._bucket = TokenBucket(limits.messages_per_s, limits.message_burst, clock.now_us())
        self._rate_limited = 0
        # What the handshake has agreed on: 0 is no compression.
        self._deflate = socket.compress == WINDOW_BITS
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._flushing: asyncio.Handle | None = None
        self._flushed_s = 0.0
        self._unanswered = 0
        self._late: deque[tuple[int | None, Json, int]] = deque()
        self._answering: asyncio.TimerHandle | None = None
        self._answered = asyncio.Event()
        self._reading: asyncio.Timeout | None = None
        self._closed: str | None = None
        self._cut_off: asyncio.TimerHandle | None = None

    # --- what the conference calls -------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Queue one encoded message. A client that does not read is disconnected, and may resume."""
        if self._closed is None:
            self._put(frame)

    def _put(self, frame: Frame) -> None:
        """Write soon: at once on a quiet connection, with what else comes on a busy one."""
        data = frame.wire(deflate=self._deflate)
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            due_s = self._flushed_s + WRITE_EVERY_S
            if due_s <= loop.time():
                self._flushing = loop.call_soon(self._flush)
            else:
                self._flushing = loop.call_at(due_s, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        transport = self._transport
        if not self._queue or not isinstance(transport, asyncio.WriteTransport) or transport.is_closing():
            return
        if self._backlog() > MAX_QUEUED_BYTES and self._closed is None:
            self._queue.clear()
            self._queued_bytes = 0
            self._reads_nothing()
            return
        data = b"".join(self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        self._flushed_s = asyncio.get_running_loop().time()
        transport.write(data)

    def _backlog(self) -> int:
        """Bytes that the client has not taken."""
        transport = self._transport
        written = transport.get_write_buffer_size() if isinstance(transport, asyncio.WriteTransport) else 0
        return written + self._queued_bytes

    def _reads_nothing(self) -> None:
        log.warning("a client does not read its messages", extra=self._context())
        self.close("internal", "you do not read your messages")

    def close(self, code: str, message: str = "") -> None:
        """Send `closed` after what is queued, then close the WebSocket. Later calls change nothing."""
        if self._closed is not None:
            return
        reconnect = code in _COMES_BACK
        self._put(encode({"type": "closed", "code": code, "message": message, "reconnect": reconnect}))
        self._closed = code
        self._answered.set()
        # Whoever reads finds out, and ends the connection: two at a time would cut its closing short.
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())
        self._cut_off = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._abort)

    def admitted(self, member: Member, joined: Json) -> None:
        """The lobby has let it in: `joined` comes as a message of its own."""
        self._member, self._waits_for = member, None
        self.send(encode(joined | {"ping_interval_s": self._timing.ping_interval_s}))

    # --- the connection ------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends, for whatever reason."""
        try:
            await self._read()
        finally:
            if self._member is not None:
                self._conference.disconnect(self._member, self.key)
            elif self._waits_for is not None:
                self._conference.stop_waiting(self._waits_for, self.key)
            if self._closed is not None:
                await self._finish(self._closed)
            for timer in (self._flushing, self._answering, self._cut_off):
                if timer is not None:
                    timer.cancel()

    async def _read(self) -> None:
        silence_s = 3 * self._timing.ping_interval_s
        deadline = asyncio.get_running_loop().time() + self._timing.join_timeout_s
        while self._closed is None:
            timeout_s = silence_s
            if self._member is None and self._waits_for is None:
                timeout_s = max(0.001, deadline - asyncio.get_running_loop().time())
            frame = await self._frame(timeout_s)
            if frame is None:
                continue
            if frame.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                await self._receive(frame.data)
                await self._answered_enough()
                await self._taken_enough(silence_s)
            elif frame.type in {WSMsgType.PING, WSMsgType.PONG}:
                await self._control(frame)
            else:
                return

    async def _frame(self, timeout_s: float) -> WSMessage | None:
        """The next frame; None where the session has been closed, as it is when none comes in time."""
        try:
            async with asyncio.timeout(timeout_s) as self._reading:
                return await self._socket.receive()
        except TimeoutError:
            self._reading = None
            joined = self._member is not None or self._waits_for is not None
            self.close("ping_timeout" if joined else "join_timeout")
            return None
        finally:
            self._reading = None

    async def _finish(self, code: str) -> None:
        """Write what is left, and go through the closing handshake."""
        if self._flushing is not None:
            self._flushing.cancel()
        try:
            self._flush()
            await self._socket.close(code=_WEBSOCKET_CODE.get(code, 1008))
        except (ConnectionError, RuntimeError):
            # The connection went away while writing.
            self._abort()

    async def _answered_enough(self) -> None:
        """Not to read is the back-pressure that reaches a client which asks for more than can be stored."""
        while self._unanswered >= MAX_UNANSWERED and self._closed is None:
            self._answered.clear()
            await self._answered.wait()

    async def _taken_enough(self, timeout_s: float) -> None:
        """Who does not take its answers is asked for no more requests."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while (self._late or self._backlog() > MAX_BACKLOG_BYTES) and self._closed is None:
            if loop.time() > deadline_s:
                self._reads_nothing()
                return
            await asyncio.sleep(WRITE_EVERY_S)

    async def _control(self, frame: WSMessage) -> None:
        """A ping of the WebSocket itself is a message like any other: it counts, and has its turn."""
        over = self._over_rate()
        await self._conference.turns.take(self.account, costs.UNKNOWN_US)
        if isinstance(over, ProtocolError):
            self._end(over.code, over.message)
        elif over is None and self._closed is None and frame.type is WSMsgType.PING:
            await self._socket.pong(frame.data)

    def _abort(self) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()

    # --- messages ------------------------------------------------------------------------------

    async def _receive(self, data: str | bytes) -> None:
        request_id: int | None = None
        # Every message counts, whatever it is.
        over = self._over_rate()
        await self._conference.turns.take(self.account, costs.UNKNOWN_US + costs.READ_US * len(data))
        if self._closed is not None:
            return
        try:
            try:
                message = _parse(data)
                request_id = requests.request_id(message)
            except RequestError as error:
                raise over or error from None
            if over is not None:
                raise over
            await self._pay(message)
            if self._closed is not None:
                return
            request = requests.parse(message, chat_characters=self._limits.chat_characters)
            if isinstance(request, requests.Offer):
                # To read it takes about as long as to answer it: others have their turn in between.
                await self._conference.turns.take(self.account, 0)
                if self._closed is not None:
                    return
            if isinstance(request, requests.Leave) and self._member is not None:
                self._reply(request_id, {"type": "ok"})
                self._conference.leave(self._member, "left")
            elif isinstance(request, requests.Leave) and self._waits_for is not None:
                self._reply(request_id, {"type": "ok"})
                self.close("left", "left")
            elif isinstance(request, requests.Join):
                await self._join(request_id, request)
            else:
                await self._dispatch(request, request_id)
        except RequestError as error:
            self._reply(request_id, _error(error))
            if self._member is None and self._waits_for is None and error.code != "resume_failed":
                self.close("protocol_error", error.message)
        except ProtocolError as error:
            self._reply(request_id, _error(error))
            self._end(error.code, error.message)
        except Exception:
            log.exception("a message could not be handled", extra=self._context())
            self._end("internal", "an error of the server")

    async def _pay(self, message: Json) -> None:
        """Wait for this session's turn. Raises `RequestError` `rate_limited` where the account is empty.

        A `join` is paid by whom its token names, so when that has been read.
        """
        cost = requests.cost(message)
        if cost is None or message["type"] == "join":
            return
        if not cost.always:
            self.account.check(clock.now_us())
        people = self._conference.people_in(self._member.room) if self._member is not None else 0
        await self._conference.turns.take(self.account, cost.of(costs.listed(message), people))

    async def _dispatch(self, request: requests.Request, request_id: int | None) -> None:
        if isinstance(request, requests.Ping):
            self._reply(request_id, {"type": "pong", "t": request.t})
            return
        if self._member is None:
            raise RequestError("bad_state", "join first")
        counts = LONG_ANSWER if isinstance(request, _ANSWERED_AT_LENGTH) else 1
        self._unanswered += counts
        later = functools.partial(self._answer_later, request_id, counts)
        try:
            answer = self._conference.request(self._member, request, later)
        except (RequestError, ProtocolError):
            self._unanswered -= counts
            raise
        if answer is not None:
            later(answer)

    def _answer_later(self, request_id: int | None, counts: int, answer: Json | RequestError) -> None:
        said = _error(answer) if isinstance(answer, RequestError) else answer
        self._late.append((request_id, said, counts))
        if self._answering is None:
            self._send_late()

    def _send_late(self) -> None:
        """Answer as far as the client takes it: what it asked for at once may be long together."""
        self._answering = None
        while self._late and (self._backlog() <= MAX_BACKLOG_BYTES or self._closed is not None):
            request_id, said, counts = self._late.popleft()
            self._unanswered -= counts
            self._answered.set()
            self._reply(request_id, said)
        if self._late:
            self._answering = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self._send_late)

    async def _join(self, request_id: int | None, request: requests.Join) -> None:
        if self._member is not None or self._waits_for is not None:
            raise RequestError("bad_state", "joined already")
        claims = await self._conference.authorise(request, self.address)
        if claims is not None:
            self.account = self._conference.accounts.person(claims.identity)
        self.account.check(clock.now_us())
        people = self._conference.people_in(RoomName(request.room))
        await self._conference.turns.take(self.account, costs.REQUESTS["join"].of(0, people))
        if self._closed is not None:
            return
        self._member, answer = await self._conference.join(self, request, claims)
        if self._member is None:
            self._waits_for = RoomName(request.room)
        self._joined()
        self._reply(request_id, answer | {"ping_interval_s": self._timing.ping_interval_s})

    def _over_rate(self) -> RequestError | ProtocolError | None:
        if self._bucket.take(1, clock.now_us()):
            self._rate_limited = 0
            return None
        self._rate_limited += 1
        if self._rate_limited >= MAX_RATE_LIMITED:
            return ProtocolError("too_many_errors", "too many messages a second")
        return RequestError("rate_limited", "too many messages a second")

    def _reply(self, request_id: int | None, message: Json) -> None:
        if request_id is not None:
            message["id"] = request_id
        elif message["type"] == "ok":
            return
        frame = encode(message)
        fresh = frame.fresh
        self.account.charge(costs.SAID_US * fresh + costs.SENT_US * frame.size, clock.now_us())
        self.send(frame)

    def _end(self, code: str, message: str) -> None:
        """The participant ends with its session: it broke the protocol, or our bug broke it."""
        if self._member is not None:
            self._conference.fail(self._member, code, message)
        self.close(code, message)

    def _context(self) -> dict[str, str]:
        return self._member.context() if self._member is not None else {}


def _error(error: RequestError | ProtocolError) -> Json:
    return {"type": "error", "code": error.code, "message": error.message, **error.details}


def _parse(data: str | bytes) -> Json:
    """Raises `RequestError` `bad_request`."""
    if isinstance(data, bytes):
        raise bad("messages are text")
    return parse_object(data)
