"""Development mode: a pass says who somebody was in a room, so that they can be it again.

Nobody needs a token there, so a client that comes back after a crash or a restart of the server would be
a stranger: another identity, and no owner of the room it made. `joined.pass` is a token that the server
signs for itself, and `join.pass` brings it back. A pass opens nothing that is not open to everybody.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from pathlib import Path

from sfu.durable import write_private
from sfu.errors import RequestError
from sfu.faults import start_fault
from sfu.room.model import ParticipantView
from sfu.server import tokens
from sfu.server.tokens import Claims

log = logging.getLogger(__name__)

TTL_S = 12 * 3600
"""A day at school, with its breaks."""
RETURN_S = 60
"""After a start everybody comes back at once: meanwhile nobody owns another's room by being first."""

_ISSUER = "pass"
KEY_BYTES = 32
_KEY = re.compile(f"[0-9a-f]{{{2 * KEY_BYTES}}}")


class Passes:
    """Signed with a key that lies in `folder` (None: kept nowhere), made where there is none."""

    def __init__(self, folder: Path | None, started_s: float) -> None:
        self._key = _key(folder) if folder is not None else secrets.token_hex(KEY_BYTES)
        self._started_s = started_s

    def give(self, participant: ParticipantView, room: str, now_s: float) -> str:
        """The pass of a participant as it is now."""
        return tokens.mint(
            _ISSUER,
            self._key,
            identity=participant.identity,
            room=room,
            role=participant.role,
            now_s=int(now_s),
            ttl_s=TTL_S,
        )

    def read(self, given: str, room: str, now_s: float) -> Claims | None:
        """Whom a pass names in `room`; None where it is no good, which makes its bearer a stranger."""
        try:
            return tokens.verify(given, {_ISSUER: self._key}, room, now_s) if given else None
        except RequestError:
            return None

    def returning(self, now_s: float) -> bool:
        """Whether who was here before a restart may still be on the way back."""
        return now_s < self._started_s + RETURN_S


def _key(folder: Path) -> str:
    """The key that lies in `folder`; one that is missing or broken (a power cut) is made anew.

    Raises `ConfigError` or `StartError` where it can be neither read nor written.
    """
    path = folder / "passes.key"
    try:
        with contextlib.suppress(FileNotFoundError):
            found = path.read_text(encoding="ascii", errors="replace").strip()
            if _KEY.fullmatch(found):
                return found
            log.warning("%s is broken: a new one is made, and passes that were given are void", path)
        key = secrets.token_hex(KEY_BYTES)
        write_private(path, key.encode())
    except OSError as error:
        raise start_fault("server.data_dir", error) from error
    return key
