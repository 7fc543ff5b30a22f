"""Validation of a peer's address by checks of the server's own, sans-IO.

A connectivity check proves that its sender knows the password, not that the sender is at the source address:
the source may be forged, and the check may be a copy of somebody else's. An answer to a check of our own
proves both.

Spec: RFC 8445 section 7.2, RFC 9000 section 8.1 (the bound on what is sent before).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import NamedTuple

from sfu.transport import stun
from sfu.transport.path import Path

MAX_WAITING = 16
"""Addresses remembered while they have not answered. One that is forgotten is still validated by its answer,
only the check is not repeated."""
AMPLIFICATION = 3
"""What is sent to an address before it has answered, in bytes for each byte that came from it."""
RETRY_US = 100_000
"""Until a check is repeated for the first time; each further wait is twice as long."""
MAX_TRIES = 6
ANSWER_US = 5_000_000
"""An answer counts for so long after its check."""

_TICK_US = 16_384
_TICKS = 1 << 15
_NAME_BYTES = 4
_MAC_BYTES = 6
_PRIORITY = (110 << 24 | 65535 << 8 | 255).to_bytes(4, "big")
"""That of a peer-reflexive candidate. Spec: RFC 8445 section 5.1.2."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One side's `ice-ufrag` and `ice-pwd`. Ours has 8 hexadecimal digits as its ufrag."""

    ufrag: str
    pwd: str


class Datagram(NamedTuple):
    path: Path
    data: bytes


@dataclass(slots=True)
class _Waiting:
    """An address that has not answered. `held` is the answer to its check while the peer is not described."""

    ours: Credentials
    theirs: str
    nominated: bool = False
    held: bytes = b""
    received_bytes: int = 0
    sent_bytes: int = 0
    tries: int = 0
    due_us: int = 0


class AddressValidation:
    """Makes checks of one peer's addresses and recognises their answers.

    `secret` is known to nobody else. A check's transaction id is derived from it, the address and the time,
    so that whoever sends checks from many addresses cannot push out the one that answers.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._waiting: dict[Path, _Waiting] = {}

    @property
    def waiting(self) -> bool:
        """Whether `due` has to be asked again."""
        return bool(self._waiting)

    def checked(
        self, path: Path, request: stun.StunMessage, answer: bytes, ours: Credentials, *, nominated: bool
    ) -> None:
        """An authentic check came from an address that has to be validated. `answer` is what it deserves."""
        theirs = request.username()[1]
        entry = self._waiting.pop(path, None)
        if entry is None or (entry.ours, entry.theirs) != (ours, theirs):
            entry = _Waiting(ours, theirs)
        self._waiting[path] = entry
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        entry.nominated |= nominated
        entry.received_bytes += len(request.raw)
        entry.held = answer
        entry.tries = 0

    def due(self, remote: Credentials | None, now_us: int) -> list[Datagram]:
        """What is to be sent now; nothing before the peer's description is known.

        A check of ours goes before the answer to the peer's: so the peer has answered before it takes the
        path for a working one.
        """
        if remote is None:
            return []
        sent: list[Datagram] = []
        for path, entry in list(self._waiting.items()):
            if entry.theirs != remote.ufrag or entry.tries >= MAX_TRIES:
                del self._waiting[path]
            elif entry.held or now_us >= entry.due_us:
                sent += self._send(path, entry, remote, now_us)
        return sent

    def _send(self, path: Path, entry: _Waiting, remote: Credentials, now_us: int) -> list[Datagram]:
        check = self._check(path, entry.ours, remote, now_us, nominated=entry.nominated)
        entry.due_us = now_us + (RETRY_US << entry.tries)
        entry.tries += 1
        made = [Datagram(path, data) for data in (check, entry.held) if data]
        entry.held = b""
        total = sum(len(each.data) for each in made)
        if entry.sent_bytes + total > AMPLIFICATION * entry.received_bytes:
            return []
        entry.sent_bytes += total
        return made

    def consent_check(self, path: Path, ours: Credentials, remote: Credentials, now_us: int) -> Datagram:
        """A check of a proven address: whether the peer is still there."""
        return Datagram(path, self._check(path, ours, remote, now_us, nominated=False))

    def _check(
        self, path: Path, ours: Credentials, remote: Credentials, now_us: int, *, nominated: bool
    ) -> bytes:
        identity = self._identity(path, ours.ufrag, now_us // _TICK_US % _TICKS, nominated)
        attributes = [
            (stun.USERNAME, f"{remote.ufrag}:{ours.ufrag}".encode()),
            # Of two that are controlled, the one with the larger number takes the other role.
            (stun.ICE_CONTROLLED, bytes(8)),
            (stun.PRIORITY, _PRIORITY),
        ]
        return stun.build(stun.BINDING_REQUEST, identity, attributes, remote.pwd)

    def answered(
        self, path: Path, answer: stun.StunMessage, remote: Credentials | None, now_us: int
    ) -> bool | None:
        """Whether the address was nominated, where `answer` validates it; None where it does not."""
        time = int.from_bytes(answer.transaction_id[_NAME_BYTES:-_MAC_BYTES], "big")
        tick, nominated = time >> 1, bool(time & 1)
        ufrag = named(answer)
        if remote is None or not hmac.compare_digest(
            answer.transaction_id, self._identity(path, ufrag, tick, nominated)
        ):
            return None
        if (now_us // _TICK_US - tick) % _TICKS > ANSWER_US // _TICK_US:
            return None
        if not answer.fingerprint_is_valid() or not answer.integrity_is_valid(remote.pwd):
            return None
        entry = self._waiting.pop(path, None)
        return nominated or (entry is not None and entry.nominated)

    def forget(self, path: Path) -> None:
        self._waiting.pop(path, None)

    def _identity(self, path: Path, ufrag: str, tick: int, nominated: bool) -> bytes:
        """A transaction id: our ufrag, which names the peer in the answer, the time, and a MAC of both."""
        begin = bytes.fromhex(ufrag) + (tick << 1 | nominated).to_bytes(2, "big")
        text = f"{path.protocol} {path.host} {path.port}".encode()
        return begin + hashlib.blake2b(begin + text, key=self._secret, digest_size=_MAC_BYTES).digest()


def named(answer: stun.StunMessage) -> str:
    """The ufrag of ours that an answer to a check of ours names."""
    return answer.transaction_id[:_NAME_BYTES].hex()
