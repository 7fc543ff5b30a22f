"""Tell the service manager how the server is. Spec: sd_notify(3).

A datagram to the socket that the environment names; without one nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

log = logging.getLogger(__name__)

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Supervisor:
    """Takes its variables out of `environ`: they are not for processes that this one starts."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        path, interval_us, pid = (environ.pop(name, "") for name in _VARIABLES)
        # A name without a file begins with a zero byte.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        mine = pid in {"", str(os.getpid())}
        self.watchdog_s = int(interval_us) / 1_000_000 if mine and interval_us.isdecimal() else 0.0
        """How often it must hear that the server is alive; 0: never."""

    def ready(self, status: str) -> None:
        """The server serves, or does so again after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def watch(self, alive: Callable[[], bool]) -> None:
        """Say that the server is alive as often as is asked for; a loop that hangs says nothing."""
        while self._address and self.watchdog_s:
            if alive():
                self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as out:
            out.setblocking(False)
            try:
                out.sendto("\n".join(lines).encode(), self._address)
            except OSError as error:
                log.warning("the service manager cannot be told %s: %s", lines[0], error.strerror)
