"""Tokens that open nothing any more, by their id."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
"""Revocations of moderators kept without a file."""
MAX_FILE_BYTES = 4 * 1024 * 1024


class Revocations:
    """From the configuration, from a file that may change at any time, and from moderators."""

    def __init__(self, configured: Iterable[str], file: str) -> None:
        self._configured = frozenset(configured)
        self._file = Path(file).expanduser() if file else None
        self._in_file: frozenset[str] = frozenset()
        self._seen: tuple[int, int] | None = None
        self._added: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, jti: str) -> bool:
        if not jti:
            return False
        self._read()
        return self._known(jti)

    def _known(self, jti: str) -> bool:
        return jti in self._configured or jti in self._added or jti in self._in_file

    @property
    def may_change(self) -> bool:
        """Whether another program may revoke."""
        return self._file is not None

    def among(self, jtis: Iterable[str]) -> set[str]:
        """Those that are revoked; the file is looked at once."""
        self._read()
        return {jti for jti in jtis if self._known(jti)}

    def add(self, jti: str) -> None:
        """Remember a revocation, in the file where there is one."""
        self._added[jti] = None
        if len(self._added) > MAX_REMEMBERED:
            self._added.popitem(last=False)
        if self._file is None:
            return
        try:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(jti + "\n")
        except OSError as error:
            log.error("a revocation cannot be written down: %s", error.strerror)

    def _read(self) -> None:
        if self._file is None:
            return
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return
            if status.st_size > MAX_FILE_BYTES:
                raise ValueError("too large")
            lines = self._file.read_text(encoding="utf-8").splitlines()
            self._in_file = frozenset(line.strip() for line in lines if line.strip())
            self._seen = seen
        except FileNotFoundError:
            self._in_file, self._seen = frozenset(), None
        except (OSError, ValueError) as error:
            # What was revoked stays revoked.
            log.error("the file of revoked tokens cannot be read: %s", type(error).__name__)
