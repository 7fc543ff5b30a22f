from __future__ import annotations

import errno
import os
import socket

import pytest

from sfu.errors import ConfigError, StartError
from sfu.faults import start_fault, words


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EADDRINUSE, os.EX_UNAVAILABLE),
        (errno.ENOSPC, os.EX_TEMPFAIL),
        (errno.EMFILE, os.EX_TEMPFAIL),
        (errno.ECONNREFUSED, os.EX_TEMPFAIL),
        (errno.EADDRNOTAVAIL, os.EX_TEMPFAIL),
    ],
)
def test_what_passes_has_a_status_of_its_own(number: int, status: int) -> None:
    fault = start_fault("some.key", OSError(number, "in the library's words"))
    assert isinstance(fault, StartError)
    assert fault.status == status
    assert str(fault) == f"some.key: {os.strerror(number)}"


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EAFNOSUPPORT]
)
def test_what_an_administrator_has_to_mend_is_configuration(number: int) -> None:
    fault = start_fault("some.key", OSError(number, "?", "/a/path"), "do this")
    assert isinstance(fault, ConfigError)
    assert fault.faults == [f"some.key: /a/path: {os.strerror(number)} (do this)"]


def test_errors_without_a_number_keep_their_words() -> None:
    assert words(OSError("nobody answers")) == "nobody answers"
    assert isinstance(start_fault("k", TimeoutError()), StartError)
    assert isinstance(start_fault("k", socket.gaierror(socket.EAI_AGAIN, "later")), StartError)
    unknown = start_fault("k", socket.gaierror(socket.EAI_NONAME, "no such name"))
    assert isinstance(unknown, ConfigError)
    assert unknown.faults == ["k: no such name"]
    from_rust = start_fault("k", OSError("Too many open files (os error 24)"))
    assert isinstance(from_rust, StartError)
    assert str(from_rust) == f"k: {os.strerror(errno.EMFILE)}"
