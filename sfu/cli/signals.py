"""What the system's signals ask of a running server, and the time that it has to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from types import FrameType

from sfu.cli.first_process import default_action

STOP_S = 9.0
"""How long a stop may take: Docker kills ten seconds after it has asked."""


class Signals:
    """SIGINT and SIGTERM ask the server to stop; the second of them ends the process. SIGHUP: reload.

    Python's own handlers, not the event loop's: they run while something in the loop does not come back.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGHUP, lambda number, frame: self._set(self.reload))

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            # The kernel heeds the next one, whatever Python is doing then.
            signal.signal(each, default_action())
        end_within(STOP_S)
        self._set(self.stop)

    def _set(self, event: asyncio.Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)


def end_within(seconds: float) -> None:
    """End the process if it is still there after so long. What was acknowledged is durable by then."""
    timer = threading.Timer(seconds, _end, (seconds,))
    timer.daemon = True
    timer.start()


def _end(seconds: float) -> None:
    print(f"sfu: not stopped within {seconds:g} s: ended", file=sys.stderr, flush=True)
    os._exit(os.EX_SOFTWARE)
