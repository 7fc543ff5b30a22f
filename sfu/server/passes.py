"""Development mode: a pass says who somebody was in a room, so that they can be it again.

Nobody needs a token there, so a client that comes back after a crash or a restart of the server would be
a stranger: another identity, and no owner of the room it made. `joined.pass` is a token that the server
signs for itself, and `join.pass` brings it back. A pass opens nothing that is not open to everybody.

Who owned a room owns it again as long as that room is open, which the room itself remembers. The room's end
ends that: the next one of the name is another's, who makes it. Only where the server's end has cut a room
short does a pass say that its bearer was the owner.
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
from sfu.room.permissions import Role
from sfu.server import tokens
from sfu.server.tokens import Claims

log = logging.getLogger(__name__)

KEY_FILE = "passes.key"
"""In the data directory."""
TTL_S = 12 * 3600
"""A day at school, with its breaks."""
RETURN_S = 60
"""After a start everybody comes back at once: meanwhile nobody owns another's room by being first."""
OWNER_RETURN_S = 300
"""An owner whom the server's end has cut off owns the room again for so long: a laptop may be slow."""

_ISSUER = "pass"
KEY_BYTES = 32
_KEY = re.compile(f"[0-9a-f]{{{2 * KEY_BYTES}}}")


class Passes:
    """Signed with a key that lies in `folder` (None: kept nowhere), made where there is none."""

    def __init__(self, folder: Path | None, started_s: float) -> None:
        self._key = _key(folder) if folder is not None else secrets.token_hex(KEY_BYTES)
        self._started_s = started_s
        self.cut_off: frozenset[tuple[str, str]] = frozenset()
        """Room and identity of those who were there when the server ended."""

    def give(self, participant: ParticipantView, room: str, now_s: float) -> str:
        """The pass of a participant as it is now."""
        return tokens.mint(
            _ISSUER,
            self._key,
            identity=participant.identity,
            room=room,
            role=participant.role,
            now_s=now_s,
            ttl_s=TTL_S,
        )

    def read(self, given: str, room: str, now_s: float) -> Claims | None:
        """Whom a pass names in `room`; None where it is no good, which makes its bearer a stranger."""
        try:
            return tokens.verify(given, {_ISSUER: self._key}, room, now_s) if given else None
        except RequestError:
            return None

    def formerly(self, former: Claims, now_s: float) -> Role | None:
        """The role that counts when its bearer joins; None: it comes as anybody does.

        That it did not own the room counts while others may be on the way back who did.
        """
        since_s = now_s - self._started_s
        was_there = (former.room, former.identity) in self.cut_off
        if former.role == "owner" and was_there and since_s < OWNER_RETURN_S:
            return "owner"
        # One of this run says nothing of rooms that the last one held.
        if since_s >= RETURN_S or former.made_s >= self._started_s:
            return None
        return "participant" if former.role == "owner" else former.role


def _key(folder: Path) -> str:
    """The key that lies in `folder`; one that is missing or broken (a power cut) is made anew.

    Raises `ConfigError` or `StartError` where it can be neither read nor written.
    """
    path = folder / KEY_FILE
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
