"""What every picture source is, and when its pictures are due."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from sfu_client.backoff import Backoff

logger = logging.getLogger(__name__)

Image = NDArray[np.uint8]
"""A picture as OpenCV has it: height x width x 3, BGR."""

LATE_S = 1.0
JOIN_S = 2.0


class CaptureError(Exception):
    """The source is gone or gives nothing; opening it again may help."""


class UnusableSourceError(Exception):
    """The source will never do; the message says why and what would."""


class Grab(NamedTuple):
    """One picture; `due_s` is when to show it, in seconds since opening, None for live sources: now."""

    picture: Image | VideoFrame
    due_s: float | None


class Grabber(Protocol):
    """An opened source, used by one thread."""

    def read(self) -> Grab:
        """Block until the next picture. Raises `CaptureError` when there will be none."""

    def close(self) -> None:
        """Free the device or file; never raises."""


class Pacer:
    """Admits pictures at their time and at most `fps` a second.

    `wait(seconds)` blocks, and may return early when the capture is being stopped.
    """

    def __init__(self, fps: float, clock: Callable[[], float], wait: Callable[[float], Any]) -> None:
        self._least_s = 0.9 / fps  # a tenth of tolerance, for sources at exactly `fps`
        self._clock = clock
        self._wait = wait
        self._start_s: float | None = None
        self._last_s = -float("inf")

    def admit(self, due_s: float | None) -> bool:
        """Wait until a picture is due; whether it is wanted then. After falling behind, go on from now."""
        now_s = self._clock()
        if due_s is not None:
            if self._start_s is None or now_s - (self._start_s + due_s) > LATE_S:
                self._start_s = now_s - due_s
            early_s = self._start_s + due_s - now_s
            if early_s > 0:
                self._wait(early_s)
                now_s = self._clock()
        if now_s - self._last_s < self._least_s:
            return False
        self._last_s = now_s
        return True


class Worker:
    """A thread that keeps a source open: `attempt()` runs until the source fails, and is then tried again.

    `attempt` returns when `stopping` is set, and raises `CaptureError` (tried again, with back-off) or
    `UnusableSourceError` (given up: `failure` is set and `on_failure` called from the thread).
    """

    def __init__(
        self,
        name: str,
        attempt: Callable[[], None],
        *,
        backoff: Backoff | None = None,
        on_failure: Callable[[UnusableSourceError], None] | None = None,
    ) -> None:
        self.stopping = threading.Event()
        self.failure: UnusableSourceError | None = None
        self.attempts = 0
        self._name = name
        self._attempt = attempt
        self._backoff = backoff or Backoff(first_s=0.5, longest_s=30.0)
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name=f"capture-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def worked(self) -> None:
        """To be called by `attempt` when the source gives something: failures start over."""
        self._backoff.reset()

    async def close(self) -> None:
        """Ask the thread to end and wait for it; a driver that hangs in a read is left behind."""
        self.stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, JOIN_S)

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.attempts += 1
            try:
                self._attempt()
                continue
            except UnusableSourceError as error:
                self.failure = error
                logger.error("%s: %s", self._name, error)
                if self._on_failure is not None:
                    self._on_failure(error)
                return
            except CaptureError as error:
                delay_s = self._backoff.delay_s()
                logger.warning("%s: %s; opening it again in %.1f s", self._name, error, delay_s)
            except Exception:
                delay_s = self._backoff.delay_s()
                logger.exception("%s: capture failed; opening it again in %.1f s", self._name, delay_s)
            self.stopping.wait(delay_s)


monotonic_s = time.monotonic
