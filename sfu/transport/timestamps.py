"""When the kernel took a datagram in: the arrival time that congestion control needs.

A datagram is read when the event loop gets to it. Measured at that moment, a pause of the process looks to a
publisher like a slow network: its probes fail, and its better layers come ten seconds late.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence

_SO_TIMESTAMPNS = 35
"""Linux, asm-generic/socket.h; Python does not name it."""
_TIMESPEC = struct.Struct("@ll")
ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
OLDEST_US = 500_000
"""A datagram older than this says that the wall clock was set."""

Ancillary = Sequence[tuple[int, int, bytes]]


def enable(sock: socket.socket) -> None:
    """Ask for arrival times where the system has them; elsewhere `age_us` says 0."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        return


def age_us(ancillary: Ancillary) -> int:
    """Microseconds since the kernel took the datagram in, which `recvmsg` gave with `ancillary`."""
    for _, kind, data in ancillary:
        if kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            age = (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) // 1000
            return age if 0 <= age <= OLDEST_US else 0
    return 0
