"""A bottleneck between one browser page and the server: real datagrams through the emulator's links.

The page is told the shaper's port instead of the server's; every peer connection of the page shares the two
links, as it would share one access line.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from emulator import Link
from playwright.async_api import Page

_BEAT_S = 0.002

# Sends the page's traffic through the shaper: its port stands in every description the page is given.
DETOUR = """
const original = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = function (description) {
  const sdp = description.sdp.replace(/(a=candidate:\\S+ 1 udp \\d+ \\S+) \\d+ /g, '$1 PORT ')
    .replace(/a=candidate:\\S+ 1 tcp .*\\r\\n/g, '');
  return original.call(this, {type: description.type, sdp});
};
"""


def access_line(capacity_bps: int) -> Link:
    """20 ms of delay and a queue of 200 ms, 30 kB at least."""
    queue_bytes = max(30_000, capacity_bps // 40)
    return Link(seed=1, capacity_bps=capacity_bps, queue_bytes=queue_bytes, delay_us=20_000)


class _Outside(asyncio.DatagramProtocol):
    """Where the page sends to. Each of its sockets gets one of ours towards the server."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._shaper.from_page(data, addr)


class _Inside(asyncio.DatagramProtocol):
    def __init__(self, shaper: Shaper, client: Any) -> None:
        self._shaper = shaper
        self._client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._shaper.from_server(data, self._client)


class Shaper:
    """`down` is the link towards the page, `up` the one towards the server; change them at any time."""

    def __init__(self, server_port: int, down: Link, up: Link) -> None:
        self.down = down
        self.up = up
        self.port = 0
        self._server = ("127.0.0.1", server_port)
        self._outside = _Outside(self)
        self._inside: dict[Any, asyncio.DatagramTransport] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._clients: list[Any] = []
        self._beat: asyncio.Task[None] | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self._outside, ("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        self._beat = asyncio.create_task(self._deliver())

    async def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
        for transport in (self._outside.transport, *self._inside.values()):
            if transport is not None:
                transport.close()

    def from_page(self, data: bytes, client: Any) -> None:
        if client not in self._clients:
            self._clients.append(client)
            task = asyncio.create_task(self._connect(client))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        self.up.send(_now_us(), bytes((self._clients.index(client),)) + data)

    def from_server(self, data: bytes, client: Any) -> None:
        self.down.send(_now_us(), bytes((self._clients.index(client),)) + data)

    async def _connect(self, client: Any) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Inside(self, client), remote_addr=self._server
        )
        self._inside[client] = transport

    async def _deliver(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            now_us = _now_us()
            for _, packet in self.up.deliver(now_us):
                inside = self._inside.get(self._clients[packet[0]])
                if inside is not None:
                    inside.sendto(packet[1:])
            for _, packet in self.down.deliver(now_us):
                if self._outside.transport is not None:
                    self._outside.transport.sendto(packet[1:], self._clients[packet[0]])


def _now_us() -> int:
    return time.monotonic_ns() // 1000


@contextlib.asynccontextmanager
async def shaped(page: Page, server_port: int, down: Link, up: Link | None = None) -> AsyncIterator[Shaper]:
    """Put a page that has not joined yet behind a bottleneck."""
    shaper = Shaper(server_port, down, up or Link(seed=1))
    await shaper.open()
    await page.add_init_script(DETOUR.replace("PORT", str(shaper.port)))
    try:
        yield shaper
    finally:
        await shaper.close()
