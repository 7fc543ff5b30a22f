"""Time is passed in, never read, below the transport layer. This is where it is read."""

from __future__ import annotations

import time
from typing import NewType

MonotonicUs = NewType("MonotonicUs", int)
"""Microseconds of a clock that never goes back; its zero means nothing."""

NTP_EPOCH_OFFSET_S = 2_208_988_800
"""Seconds from 1900-01-01 (NTP) to 1970-01-01 (Unix)."""


def now_us() -> int:
    """The monotonic clock in integer microseconds."""
    return time.monotonic_ns() // 1000


def wall_ms() -> int:
    """Unix time in integer milliseconds, for people and for databases."""
    return time.time_ns() // 1_000_000


def ntp_from_unix_ns(unix_ns: int) -> int:
    """A 64-bit NTP timestamp (seconds in the upper half, fraction in the lower). Spec: RFC 5905 section 6."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return ((seconds + NTP_EPOCH_OFFSET_S) << 32) | ((rest << 32) // 1_000_000_000)


def ntp_now() -> int:
    """The wall clock as a 64-bit NTP timestamp."""
    return ntp_from_unix_ns(time.time_ns())
