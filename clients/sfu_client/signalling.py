"""One signalling session: a WebSocket with numbered requests (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from sfu_client.errors import RefusedError, UnavailableError
from sfu_client.urls import without_password

logger = logging.getLogger(__name__)

VERSION = 1
OPEN_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 15.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

Message = dict[str, Any]


def signal_url(url: str) -> str:
    """The WebSocket's URL for a server's `url`: http(s) or ws(s), with or without `/signal`.

    Raises `ValueError` for anything else.

    >>> signal_url("https://example.org")
    'wss://example.org/signal'
    """
    parts = urlsplit(url)
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{without_password(url)}: expected http(s)://host:port")
    path = parts.path.rstrip("/")
    if not path.endswith("/signal"):
        path += "/signal"
    return urlunsplit((schemes[parts.scheme], parts.netloc, path, parts.query, ""))


class Signalling:
    """An open WebSocket. Somebody must iterate `messages`, which also delivers the replies to `request`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, url: str, *, insecure: bool) -> Signalling:
        """Connect to `url` (a `signal_url`); `insecure` accepts any certificate.

        Raises `UnavailableError` when that fails or takes over ten seconds.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                socket = await http.ws_connect(
                    url, ssl=not insecure, compress=15, max_msg_size=MAX_MESSAGE_BYTES
                )
        except aiohttp.ClientConnectorCertificateError as error:
            raise UnavailableError(
                f"{without_password(url)}: the server's certificate is not trusted "
                f"(a self-signed one needs insecure): {error}"
            ) from error
        except TimeoutError as error:
            raise UnavailableError(f"{without_password(url)}: no answer in {OPEN_TIMEOUT_S:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"{without_password(url)}: {error}") from error
        return cls(socket)

    async def join(self, members: Message) -> Message:
        """The first exchange, a wait in the lobby included. Returns `joined`.

        Raises `RefusedError` or `UnavailableError`.
        """
        await self._send({"type": "join", "id": 0, "version": VERSION, **members})
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                while True:
                    message = await self._receive()
                    if message is None:
                        raise UnavailableError("the server closed the connection instead of answering")
                    if message.get("type") == "joined":
                        return message
                    if message.get("type") == "waiting":
                        break
                    if message.get("type") in {"error", "closed"}:
                        raise _refusal(message)
        except TimeoutError as error:
            raise UnavailableError("the server does not answer") from error
        return await self._wait_in_lobby()

    async def _wait_in_lobby(self) -> Message:
        """Until somebody lets us in, or does not; silence would end the connection."""
        while True:
            try:
                async with asyncio.timeout(REPLY_TIMEOUT_S):
                    message = await self._receive()
            except TimeoutError:
                await self._send({"type": "ping"})
                continue
            if message is None:
                raise UnavailableError("the server closed the connection while we waited to be let in")
            if message.get("type") == "joined":
                return message
            if message.get("type") in {"error", "closed"}:
                raise _refusal(message)

    async def request(self, kind: str, **members: Any) -> Message:
        """Send a message and wait for its reply.

        Raises `RefusedError` when the server refuses, `UnavailableError` when the connection is lost or
        nothing comes back.
        """
        number = next(self._ids)
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        try:
            await self._send({"type": kind, "id": number, **members})
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                message = await reply
        except TimeoutError as error:
            raise UnavailableError(f"no answer to {kind}") from error
        finally:
            del self._waiting[number]
        if message["type"] == "error":
            raise _refusal(message)
        return message

    async def send(self, kind: str, **members: Any) -> None:
        """Send a message that needs no reply. Raises `UnavailableError` when the connection is lost."""
        await self._send({"type": kind, **members})

    async def messages(self) -> AsyncIterator[Message]:
        """What the server says by itself, until the WebSocket closes."""
        try:
            while (message := await self._receive()) is not None:
                number = message.get("id")
                if isinstance(number, int):
                    reply = self._waiting.get(number)
                    if reply is not None and not reply.done():
                        reply.set_result(message)
                else:
                    yield message
        finally:
            for reply in self._waiting.values():
                if not reply.done():
                    reply.set_exception(UnavailableError("the connection was lost"))

    async def keep_alive(self, interval_s: float) -> None:
        """Ping for ever; raises `UnavailableError` when a pong stays out."""
        while True:
            await asyncio.sleep(interval_s)
            await self.request("ping")

    async def close(self) -> None:
        """Close the WebSocket; never raises."""
        await self._socket.close()

    async def _send(self, message: Message) -> None:
        try:
            await self._socket.send_str(json.dumps(message, separators=(",", ":"), ensure_ascii=False))
        except (aiohttp.ClientError, ConnectionError) as error:
            raise UnavailableError("the connection was lost") from error

    async def _receive(self) -> Message | None:
        """The next message; None when the WebSocket is closed or broken, or says what is no message."""
        while True:
            frame = await self._socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return None
            try:
                message = json.loads(frame.data)
            except ValueError:
                logger.warning("the server sent what is not JSON")
                return None
            if isinstance(message, dict) and isinstance(message.get("type"), str):
                return message


def _refusal(message: Message) -> RefusedError:
    details = {key: value for key, value in message.items() if key not in {"type", "id", "code", "message"}}
    return RefusedError(str(message.get("code") or "internal"), str(message.get("message") or ""), details)
