"""A revoked token ends what it has opened: who is in a room with it, or waits in a lobby, is out at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from sfu.server.revocations import Kept, Revocations

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""How often the file of revocations is looked at: it may have been changed by another program."""

OpenedBy = Callable[[], Iterable[tuple[str, Callable[[], None]]]]
"""Everything that tokens have opened: the id of each, and what ends it."""


class Revoking:
    """`opened` is asked each time."""

    def __init__(self, revocations: Revocations, opened: OpenedBy) -> None:
        self._revocations = revocations
        self._opened = opened
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look at the file from now on, where there is one."""
        if self._revocations.may_change:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def add(self, jti: str, expires_s: float | None) -> Kept:
        """Revoke a token, which expires at `expires_s`. Raises `RequestError` `overloaded`."""
        kept = self._revocations.add(jti, expires_s)
        self.enforce()
        return kept

    def enforce(self) -> None:
        """End what revoked tokens have opened."""
        opened = [(jti, end) for jti, end in self._opened() if jti]
        if not opened:
            return
        revoked = self._revocations.among(jti for jti, _ in opened)
        for jti, end in opened:
            if jti in revoked:
                end()

    def _look(self) -> None:
        try:
            self.enforce()
        except Exception:
            log.exception("revocations could not be enforced")
        self.start()
