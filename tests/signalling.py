"""A raw signalling client for tests, and a server in this process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp

from sfu.config import Config, MediaConfig, RtcConfig, ServerConfig, StorageConfig
from sfu.server.app import Server
from sfu.server.session import Timing

LOCAL = Config(
    server=ServerConfig(host="127.0.0.1", port=0, https_port=-1),
    rtc=RtcConfig(port=0, bind=("127.0.0.1",)),
    media=MediaConfig(plane=os.environ.get("SFU_MEDIA__PLANE", "auto")),
    storage=StorageConfig(url="temporary"),
)
"""A server on free ports of this machine alone, which keeps nothing. `SFU_MEDIA__PLANE` chooses its plane."""


def local_config(**sections: Any) -> Config:
    """`LOCAL` with whole sections replaced."""
    return replace(LOCAL, **sections)


@contextlib.asynccontextmanager
async def serving(config: Config = LOCAL, timing: Timing | None = None) -> AsyncIterator[Server]:
    """A server that is stopped at the end."""
    server = await Server.start(config, timing=timing)
    try:
        yield server
    finally:
        await server.stop("test ended")


async def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


class Signal:
    """One WebSocket. Messages that nobody waits for are kept in `seen`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []
        self.joined: dict[str, Any] = {}
        self._ids = itertools.count(1)

    @property
    def me(self) -> str:
        """The participant's id."""
        return str(self.joined["participant"]["id"])

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send_str(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message, at most five seconds from now; `ConnectionError` when there is none."""
        frame = await self.socket.receive(5)
        if frame.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionResetError(f"{frame.type.name} {self.socket.close_code}")
        message: dict[str, Any] = json.loads(frame.data)
        return message

    async def next(self, kind: str, **members: Any) -> dict[str, Any]:
        """The first message, seen or coming, of that type with these members."""
        for message in self.seen:
            if message["type"] == kind and members.items() <= message.items():
                self.seen.remove(message)
                return message
        async with asyncio.timeout(10):
            while True:
                message = await self.receive()
                if message["type"] == kind and members.items() <= message.items():
                    return message
                self.seen.append(message)

    async def request(self, kind: str, **members: Any) -> dict[str, Any]:
        """Send a message with an id and return what answers it."""
        request_id = next(self._ids)
        await self.send({"type": kind, "id": request_id, **members})
        async with asyncio.timeout(10):
            while True:
                message = await self.receive()
                if message.get("id") == request_id:
                    return message
                self.seen.append(message)

    async def join(self, room: str = "r", name: str = "Ann", **members: Any) -> dict[str, Any]:
        self.joined = await self.request("join", version=1, room=room, name=name, **members)
        return self.joined

    async def lost(self) -> int | None:
        """Read until the connection ends without `closed`: the WebSocket's close code."""
        with contextlib.suppress(ConnectionResetError):
            while True:
                self.seen.append(await self.receive())
        return self.socket.close_code

    async def ended(self) -> tuple[dict[str, Any], int | None]:
        """Read until the server closes: its `closed` message and the WebSocket's close code."""
        closed = await self.next("closed")
        frame = await self.socket.receive(5)
        assert frame.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}, frame
        return closed, self.socket.close_code

    def stop_reading(self) -> None:
        """Leave what the server sends in the system's buffers."""
        connection = self.socket._response.connection
        assert connection is not None
        assert isinstance(connection.transport, asyncio.Transport)
        connection.transport.pause_reading()

    async def drop(self) -> None:
        """Lose the connection without a word."""
        connection = self.socket._response.connection
        if connection is not None and isinstance(connection.transport, asyncio.Transport):
            connection.transport.abort()
        await self.socket.close()


class Clients:
    """Opens WebSockets to one server."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self._opened: list[Signal] = []

    async def open(self, **options: Any) -> Signal:
        """One more WebSocket, kept open to the end."""
        url = self.server.http_url.replace("http", "ws", 1) + "/signal"
        signal = Signal(await self.http.ws_connect(url, **{"compress": 15, **options}))
        self._opened.append(signal)
        return signal

    async def close(self) -> None:
        for signal in self._opened:
            await signal.drop()

    async def join(self, room: str = "r", name: str = "Ann", **members: Any) -> Signal:
        signal = await self.open()
        joined = await signal.join(room, name, **members)
        assert joined["type"] == "joined", joined
        return signal


@contextlib.asynccontextmanager
async def clients(config: Config = LOCAL, timing: Timing | None = None) -> AsyncIterator[Clients]:
    """A server and who connects to it."""
    async with serving(config, timing) as server, aiohttp.ClientSession() as http:
        those = Clients(server, http)
        try:
            yield those
        finally:
            await those.close()
