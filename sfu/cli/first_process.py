"""Signals to a process that is the first of its container.

To process 1 the kernel does nothing by default: a signal that it has no handler for is dropped. This module
is imported before all else, so that a stop is heeded while Python still imports.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

_FIRST = 1


def default_action() -> signal.Handlers | Callable[[int, FrameType | None], None]:
    """The handler that ends this process, as signals do by default."""
    return _end if os.getpid() == _FIRST else signal.SIG_DFL


def _end(number: int, frame: FrameType | None) -> None:
    # As a shell tells of a command that a signal has ended.
    os._exit(128 + number)


for _number in (signal.SIGTERM, signal.SIGHUP):
    # Whoever started it may have it ignore them (nohup): then it does.
    if signal.getsignal(_number) is signal.SIG_DFL:
        signal.signal(_number, default_action())
