"""Count bad credentials by address.

A credential is verified before anybody looks here: a good one counts whatever else has come from its
address, which a whole school or company may share.
"""

from __future__ import annotations

from collections import OrderedDict

from sfu.errors import RequestError
from sfu.hosts import host_key

MAX_ADDRESSES = 10_000
"""Addresses remembered; the one that failed longest ago is forgotten first."""


class Lockout:
    """Counts failures by host; a host with too many of them gets `locked_out` for its bad credentials."""

    def __init__(self, max_failures: int, window_us: int) -> None:
        self._max_failures = max_failures
        self._window_us = window_us
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def failed(self, address: str, now_us: int) -> bool:
        """Count a failure. Returns whether it is the last one that is allowed.

        Raises `RequestError` `locked_out` where there were too many before; it is not counted then.
        """
        key = host_key(address)
        count, since_us = self._failures.get(key, (0, now_us))
        if now_us - since_us >= self._window_us:
            count = 0
        if count >= self._max_failures:
            left_ms = (since_us + self._window_us - now_us) // 1000
            text = "too many bad tokens from your address: try again later"
            raise RequestError("locked_out", text, {"retry_after_ms": left_ms})
        # The time runs from the last failure that counted.
        self._failures[key] = (count + 1, now_us)
        self._failures.move_to_end(key)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return count + 1 == self._max_failures
