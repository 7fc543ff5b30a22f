"""What both transports share: one RTCPeerConnection, watched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from aiortc import RTCConfiguration, RTCPeerConnection

from sfu_client.errors import UnavailableError

SETTLE_S = 1.0

logger = logging.getLogger(__name__)


class Peer:
    """An RTCPeerConnection. `on_lost(reason)` is called when it has failed or the server has closed it."""

    def __init__(self, name: str, configuration: RTCConfiguration, on_lost: Callable[[str], None]) -> None:
        self.pc = RTCPeerConnection(configuration)
        self._name = name
        self._on_lost = on_lost
        self._settled = asyncio.Event()
        self._started = False
        self._closing = False
        self.pc.on("connectionstatechange", self._changed)

    def started(self) -> None:
        """To be called after the first negotiation."""
        self._started = True

    async def ready(self) -> None:
        """Wait while the transport is connecting.

        aiortc starts no media that is negotiated meanwhile. Raises `UnavailableError` when it fails.
        """
        if self._started:
            await self._settled.wait()
            if self.pc.connectionState != "connected":
                raise UnavailableError(f"the {self._name} transport is {self.pc.connectionState}")

    async def settle(self) -> None:
        """Wait, a second at most, while the transport is connecting.

        Closed in the middle of that, aioice may leave its consent checks running for ever.
        """
        if self._started:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await self._settled.wait()

    async def close(self) -> None:
        """Close the connection; never raises."""
        self._closing = True
        await self.settle()
        self._settled.set()
        await self.pc.close()

    def _changed(self) -> None:
        state = self.pc.connectionState
        logger.debug("%s transport is %s", self._name, state)
        if state in {"connected", "failed", "closed"}:
            self._settled.set()
        if state in {"failed", "closed"} and not self._closing:
            self._on_lost(f"{self._name} transport {state}")
