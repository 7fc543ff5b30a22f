"""Who brings bad tokens again and again is not listened to for a while."""

from __future__ import annotations

from collections import OrderedDict

from sfu.errors import RequestError
from sfu.hosts import host_key

MAX_ADDRESSES = 10_000
"""Addresses remembered; the one that failed longest ago is forgotten first."""


class Lockout:
    """Counts failures by host."""

    def __init__(self, max_failures: int, window_us: int) -> None:
        self._max_failures = max_failures
        self._window_us = window_us
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def check(self, address: str, now_us: int) -> None:
        """Raises `RequestError` `locked_out`."""
        count, since_us = self._failures.get(host_key(address), (0, now_us))
        if count >= self._max_failures and now_us - since_us < self._window_us:
            raise RequestError("locked_out", "too many bad tokens from your address: try again later")

    def failed(self, address: str, now_us: int) -> bool:
        """Count a failure; whether it is the one that locks the address out."""
        key = host_key(address)
        count, since_us = self._failures.pop(key, (0, now_us))
        if now_us - since_us >= self._window_us:
            count = 0
        if count + 1 <= self._max_failures:
            # The time runs from the last failure that counted.
            since_us = now_us
        self._failures[key] = (count + 1, since_us)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return count + 1 == self._max_failures
