"""Errors of the system at start: their words, and whether a later start may succeed as it is."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

from sfu.errors import ConfigError, StartError

_HELD = frozenset({errno.EADDRINUSE})
"""Another program has it."""

_PASSING = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN,
        errno.EIO, errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED,
        errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EPIPE,
        socket.EAI_AGAIN,
    }
)  # fmt: skip
"""What a machine lacks for a while: room, memory, descriptors, an address, a peer that answers."""


_OF_RUST = re.compile(r" \(os error (\d+)\)$")
"""How Rust ends its text of an error of the system, which comes without a number."""


def _number(error: OSError) -> int | None:
    found = _OF_RUST.search(str(error))
    return int(found[1]) if error.errno is None and found else error.errno


def words(error: OSError) -> str:
    """The system's words for `error`, after the path or the address that it names."""
    number = _number(error)
    if isinstance(error, socket.gaierror) or number is None:
        text = error.strerror or str(error) or type(error).__name__
    else:
        text = os.strerror(number)
    return f"{error.filename}: {text}" if error.filename is not None else text


def start_fault(what: str, error: OSError, hint: str = "") -> StartError | ConfigError:
    """The error that ends a start because of `error`.

    `what` names the key of the configuration; `hint` says what an administrator can do.
    """
    text = f"{what}: {words(error)}" + (f" ({hint})" if hint else "")
    number = _number(error)
    if number in _HELD:
        return StartError(text, os.EX_UNAVAILABLE)
    if number in _PASSING or isinstance(error, TimeoutError):
        return StartError(text, os.EX_TEMPFAIL)
    return ConfigError([text])


def expanded(key: str, path: str) -> Path:
    """The path that `key` of the configuration names, `~` being a home folder.

    Raises `ConfigError` where there is no such home: a service's user may have none.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError([f"{key}: {path}: name a folder that needs no home: {error}"]) from error
