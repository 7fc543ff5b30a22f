"""An ICE-lite agent, sans-IO: it answers connectivity checks and knows which address a peer has proven.

Spec: RFC 8445 (lite implementations), RFC 7675 (consent).
"""

from __future__ import annotations

import hmac
from typing import NamedTuple

from sfu.transport import stun
from sfu.transport.path import Path
from sfu.transport.validation import AddressValidation, Credentials, Datagram

MAX_PATHS = 16
"""Addresses remembered for one peer; a phone with Wi-Fi, mobile and IPv6 uses a handful."""
STALE_US = 8_000_000
"""A path without a check for so long is out of use: browsers check every 2.5 s, aioice every 4 to 6."""

CONSENT_CHECK_US = 6_000_000
"""After so long without a check the selected path is checked by us: some agents (libnice) keep it alive by
indications and media alone, and answer checks all the same."""


class Verdict(NamedTuple):
    """What a message came to. `answer` is None where it deserves none now; `proven`
    says that the path counts.

    `waiting` says that the path has to be validated first: `IceAgent.due` has what is to be sent. `evicted`
    is the path that had to be forgotten for this one, `retired` the ufrag of ours that became void.
    """

    answer: bytes | None = None
    proven: bool = False
    waiting: bool = False
    evicted: Path | None = None
    retired: str | None = None


REFUSED = Verdict()


class IceAgent:
    """The server's end of one ICE association.

    A path counts when the peer has answered a check of ours there; until then it gets answers to its checks
    and our checks, nothing else. `selected` is the path to send on: the last nominated one, before any
    nomination the first proven, and once it has gone stale whichever is still checked. It changes only by an
    answer to a check of ours. `paths` are all proven ones with the time of their last check; datagrams from
    any of them belong to this peer.

    `secret` is random and known to nobody else.
    """

    def __init__(self, local: Credentials, consent_timeout_us: int, secret: bytes) -> None:
        self.local = local
        self.previous: Credentials | None = None
        self.remote: Credentials | None = None
        self.selected: Path | None = None
        self.paths: dict[Path, int] = {}
        self._validation = AddressValidation(secret)
        self._consent_timeout_us = consent_timeout_us
        self._consent_us: int | None = None

    def restart(self, local: Credentials) -> None:
        """New local credentials; the old ones keep working until the new ones are used."""
        self.previous, self.local = self.local, local

    def credentials(self, ufrag: str) -> Credentials | None:
        """Those of ours that `ufrag` names."""
        for known in (self.local, self.previous):
            if known is not None and hmac.compare_digest(known.ufrag.encode(), ufrag.encode()):
                return known
        return None

    def check(self, message: stun.StunMessage, path: Path, now_us: int) -> Verdict:
        """Judge a binding request on `path`.

        Only a request whose integrity and fingerprint hold is answered or changes anything, so that
        nothing is ever sent to an address that merely appears in a forged datagram.
        """
        ours, theirs = message.username()
        credentials = self.credentials(ours)
        if credentials is None or message.message_type != stun.BINDING_REQUEST:
            return REFUSED
        if self.remote is not None and theirs != self.remote.ufrag and credentials is self.local:
            return REFUSED
        if not message.fingerprint_is_valid() or not message.integrity_is_valid(credentials.pwd):
            return REFUSED
        if stun.ICE_CONTROLLED in message.attributes:
            # A lite agent is always controlled, so the peer must take the other role. RFC 8445 7.3.1.1.
            conflict = [(stun.ERROR_CODE, stun.error_code(487, "Role Conflict"))]
            return Verdict(stun.build(stun.BINDING_ERROR, message.transaction_id, conflict, credentials.pwd))
        retired = None
        if credentials is self.local and self.previous is not None:
            retired, self.previous = self.previous.ufrag, None
        mapped = stun.xor_address(path.host, path.port, message.transaction_id)
        answer = stun.build(
            stun.BINDING_SUCCESS, message.transaction_id, [(stun.XOR_MAPPED_ADDRESS, mapped)], credentials.pwd
        )
        nominated = stun.USE_CANDIDATE in message.attributes
        if not self.uses(path, now_us):
            self._validation.checked(path, message, answer, credentials, nominated=nominated)
            return Verdict(waiting=True, retired=retired)
        self.paths[path] = now_us
        if path == self.selected:
            self._consent_us = now_us
        elif self._takes_over(nominated=nominated, now_us=now_us):
            self._validation.checked(path, message, answer, credentials, nominated=nominated)
            return Verdict(proven=True, waiting=True, retired=retired)
        return Verdict(answer, proven=True, retired=retired)

    def answered(self, message: stun.StunMessage, path: Path, now_us: int) -> Verdict:
        """Judge the answer to a check of ours."""
        nominated = self._validation.answered(path, message, self.remote, now_us)
        if nominated is None:
            return REFUSED
        if self._takes_over(nominated=nominated, now_us=now_us):
            self.selected = path
        self.paths[path] = now_us
        if path == self.selected:
            self._consent_us = now_us
        return Verdict(proven=True, evicted=self._evict(path))

    def due(self, now_us: int) -> list[Datagram]:
        """Our checks of addresses that have not answered, and answers that had to wait for them."""
        return self._validation.due(self.remote, now_us)

    def consent_check(self, now_us: int) -> Datagram | None:
        """Our check of the selected path where the peer has made none of late, None where there is no need.

        Asked about once a second, which is how often it is repeated. Media is no consent to send: it says
        nothing about whether what is sent arrives. Spec: RFC 7675 section 5.1.
        """
        path, remote = self.selected, self.remote
        if path is None or remote is None or now_us - self.paths[path] < CONSENT_CHECK_US:
            return None
        return self._validation.consent_check(path, self.previous or self.local, remote, now_us)

    @property
    def validates(self) -> bool:
        """Whether `due` has to be asked again."""
        return self._validation.waiting

    def identity(self) -> tuple[str, str] | None:
        """Username and password of checks that renew consent and change nothing else, None where all may."""
        if self.remote is None or self.previous is not None:
            return None
        return f"{self.local.ufrag}:{self.remote.ufrag}", self.local.pwd

    def renewed(self, at_us: int) -> None:
        """Consent was renewed on the selected path."""
        if self.selected is not None and self._consent_us is not None and at_us > self._consent_us:
            self._consent_us = self.paths[self.selected] = at_us

    def uses(self, path: Path, now_us: int) -> bool:
        """Whether `path` is this peer's and was checked of late."""
        checked_us = self.paths.get(path)
        return checked_us is not None and now_us - checked_us <= STALE_US

    def forget(self, path: Path) -> None:
        """A path is gone (its TCP connection closed, or another peer has proven its address)."""
        self._validation.forget(path)
        self.paths.pop(path, None)
        if self.selected == path:
            self.selected = max(self.paths, key=lambda each: self.paths[each], default=None)

    def expired(self, now_us: int) -> bool:
        """Whether consent was given once and has run out. Spec: RFC 7675 section 5.1."""
        return self._consent_us is not None and now_us - self._consent_us > self._consent_timeout_us

    def silent_us(self, now_us: int) -> int:
        """How long ago the last valid check came, 0 before the first."""
        return 0 if self._consent_us is None else now_us - self._consent_us

    def _takes_over(self, *, nominated: bool, now_us: int) -> bool:
        """Whether a path other than the selected one is to be selected.

        A NAT may give a peer another port between two consent checks, which nominate nothing: the old path is
        dead then, though consent never ran out.
        """
        return nominated or self.selected is None or not self.uses(self.selected, now_us)

    def _evict(self, path: Path) -> Path | None:
        if len(self.paths) <= MAX_PATHS:
            return None
        others = (each for each in self.paths if each not in (self.selected, path))
        oldest = min(others, key=lambda each: self.paths[each])
        del self.paths[oldest]
        return oldest


def priority(type_preference: int, local_preference: int, component: int = 1) -> int:
    """A candidate's priority. Spec: RFC 8445 section 5.1.2.1."""
    return (type_preference << 24) | (local_preference << 8) | (256 - component)
