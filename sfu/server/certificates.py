"""The HTTPS certificate while the server runs: replaced, renewed, and warned of before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from pathlib import Path

from cryptography import x509

from sfu.config import ServerConfig
from sfu.errors import SfuError
from sfu.server import tls

log = logging.getLogger(__name__)

CHECK_S = 60.0
"""How often the files are looked at: whoever renews certificates tells nobody."""
WARN_DAYS = 30
_DAY = datetime.timedelta(days=1)

_Seen = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """`context` is what new connections get; those that are open keep theirs.

    Raises `ConfigError` or `StartError` where there is none to begin with.
    """

    def __init__(self, config: ServerConfig, data_dir: Path) -> None:
        self._config = config
        self._data_dir = data_dir
        self._warned: datetime.datetime | None = None
        self._failed: _Seen | None = None
        self.context = tls.context(config, data_dir)
        self._seen = self._look()
        self._warn(_now())

    def reload(self, config: ServerConfig) -> None:
        """Take the files of another configuration. Raises `SfuError` where they cannot be used."""
        context = tls.context(config, self._data_dir)
        self._config, self.context, self._warned = config, context, None
        self._seen = self._look()
        self._warn(_now())

    def check(self, now: datetime.datetime) -> None:
        """Take over files that have changed, renew our own where it is time, warn of an end that nears."""
        if not self._config.tls_cert:
            tls.own_certificate(self._data_dir, now)
        seen = self._look()
        if seen not in (self._seen, self._failed):
            try:
                self.context = tls.context(self._config, self._data_dir)
            except SfuError as error:
                # A pair of which one half is there so far, perhaps: it is looked at again when it changes.
                self._failed = seen
                log.error("the new certificate is not used: %s", error)
            else:
                self._seen, self._failed, self._warned = seen, None, None
                log.info("the certificate was replaced")
        self._warn(now)

    async def watch(self) -> None:
        """Check now and then, for good."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await asyncio.to_thread(self.check, _now())
            except (SfuError, OSError) as error:
                log.error("the certificate cannot be renewed: %s", error)

    def _warn(self, now: datetime.datetime) -> None:
        """Once a day. Our own is renewed before."""
        if not self._config.tls_cert or (self._warned is not None and now - self._warned < _DAY):
            return
        with contextlib.suppress(OSError, ValueError):
            cert = x509.load_pem_x509_certificate(Path(self._config.tls_cert).read_bytes())
            left = cert.not_valid_after_utc - now
            if left < datetime.timedelta():
                log.error("the certificate %s has expired: browsers refuse it", self._config.tls_cert)
            elif left < WARN_DAYS * _DAY:
                log.warning("the certificate %s expires in %d days", self._config.tls_cert, left.days)
            else:
                return
            self._warned = now

    def _look(self) -> _Seen:
        """What tells that a file is another one."""
        if self._config.tls_cert:
            paths = [Path(self._config.tls_cert), Path(self._config.tls_key)]
        else:
            paths = [self._data_dir / tls.CERT, self._data_dir / tls.KEY]
        return tuple(_identity(path) for path in paths)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
