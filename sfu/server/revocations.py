"""Revoked tokens, by their id."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable

from sfu import clock
from sfu.errors import ConfigError, RequestError
from sfu.faults import expanded
from sfu.store import withdrawals
from sfu.store.store import Store
from sfu.store.writes import storage_failed

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 4 * 1024 * 1024

Kept = asyncio.Future[RequestError | None]
"""Done when something is durable, with None, or could not be stored, with the error."""


class Revocations:
    """From the configuration, from a file that may change at any time, and those that moderators made.

    The latter are kept in the database until the token expires by itself.
    """

    def __init__(self, configured: Iterable[str], file: str, store: Store) -> None:
        self._configured = frozenset(configured)
        self._file = expanded("auth.revoked_file", file) if file else None
        self._store = store
        self._in_file: frozenset[str] = frozenset()
        self._seen: tuple[int, int] | None = None
        self._broken = False
        self._stored: dict[str, int | None] = {}

    async def load(self) -> None:
        """Read what is kept. Raises `ConfigError` where the file cannot be read, `RequestError`."""
        async with self._store.reading() as connection:
            self._stored = await withdrawals.revoked_now(connection, clock.wall_ms())
        self._read()
        if self._broken:
            raise ConfigError([f"auth.revoked_file: {self._file} cannot be read"])

    def __contains__(self, jti: str) -> bool:
        if not jti:
            return False
        self._read()
        return self._known(jti)

    def _known(self, jti: str) -> bool:
        return jti in self._configured or jti in self._stored or jti in self._in_file

    def configure(self, revoked: Iterable[str]) -> None:
        """Other ids have come to stand in the configuration."""
        self._configured = frozenset(revoked)

    @property
    def may_change(self) -> bool:
        """Whether another program may revoke."""
        return self._file is not None

    def among(self, jtis: Iterable[str]) -> set[str]:
        """Those that are revoked; the file is looked at once."""
        self._read()
        return {jti for jti in jtis if self._known(jti)}

    def add(self, jti: str, expires_s: float | None = None) -> Kept:
        """Revoke a token, which expires at `expires_s` (Unix seconds; None: nobody knows).

        It holds at once, and across a restart when the result is there. Raises `RequestError` `overloaded`.
        """
        now_ms = clock.wall_ms()
        expires_ms = int(expires_s * 1000) if expires_s is not None else None
        kept: Kept = asyncio.get_running_loop().create_future()

        def done(error: RequestError | None) -> None:
            if not kept.done():
                kept.set_result(error or self._write_down(jti))

        self._store.writes.submit(withdrawals.token_revoked(jti, now_ms, expires_ms), done)
        for old in [each for each, until in self._stored.items() if until is not None and until < now_ms]:
            del self._stored[old]
        self._stored[jti] = expires_ms
        return kept

    def _write_down(self, jti: str) -> RequestError | None:
        """Add to the file, which other servers may read, too."""
        if self._file is None:
            return None
        try:
            with self._file.open("ab+") as out:
                with contextlib.suppress(OSError):
                    out.seek(-1, os.SEEK_END)
                whole = out.read(1) in {b"", b"\n"}
                out.write((b"" if whole else b"\n") + jti.encode() + b"\n")
        except OSError as error:
            log.error("a revocation cannot be written down: %s", error.strerror)
            return storage_failed()
        return None

    def _read(self) -> None:
        """Read the file if it has changed. Where that fails, what was revoked stays revoked."""
        if self._file is None:
            return
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                if status.st_size > MAX_FILE_BYTES:
                    raise ValueError("too large")
                lines = self._file.read_text(encoding="utf-8").splitlines()
                self._in_file = frozenset(line.strip() for line in lines if line.strip())
                self._seen = seen
            error: Exception | None = None
        except (OSError, ValueError) as failed:
            # One that was never there need not be.
            never = isinstance(failed, FileNotFoundError) and self._seen is None
            error = None if never else failed
        if error is not None and not self._broken:
            log.error("the file of revoked tokens cannot be read: %s", type(error).__name__)
        elif error is None and self._broken:
            log.info("the file of revoked tokens can be read again")
        self._broken = error is not None
