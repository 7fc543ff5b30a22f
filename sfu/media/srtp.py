"""SRTP of one transport: unprotecting what its peer sends, protecting what is sent to it.

Receiving is libsrtp's, with its replay window. Sending AES-GCM is done here over one AES-GCM call, which is
less than half the cost of libsrtp through its binding, once for each subscriber. Spec: RFC 3711, RFC 7714.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container
from typing import Protocol

import pylibsrtp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sfu.errors import ParseError
from sfu.media.plane import SrtpKeys, SrtpProfile

_PROFILES: dict[SrtpProfile, tuple[int, int]] = {
    "AEAD_AES_256_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32),
    "AEAD_AES_128_GCM": (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16),
    "AES128_CM_SHA1_80": (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16),
}
_GCM_SALT_BYTES = 12
_LABEL_KEY, _LABEL_SALT = 0, 2
_REPLAY_WINDOW = 1024
"""Packets. Retransmissions without RTX and reordered bursts may come that late."""
_MOST_UNWANTED = 64
"""SSRCs of no publication whose state is kept: of RTCP senders, and of streams not yet or no longer known."""
_REASONS = {
    "authentication failure": "srtp-authentication",
    "cipher failure": "srtp-authentication",
    "replay check failed (bad index)": "srtp-replay",
    "replay check failed (index too old)": "srtp-replay",
    "error parsing data": "srtp-malformed",
}


class SrtpReceiver:
    """Packets of one peer, in the clear. Every method raises `ParseError` for what is not to be used.

    libsrtp keeps state for each SSRC that sent one genuine packet. A peer may use as many as it likes, so the
    state of `wanted` SSRCs stays, and of others only the latest.
    """

    def __init__(self, keys: SrtpKeys, wanted: Container[int] = ()) -> None:
        """`wanted` is asked again whenever there is too much state: it may change meanwhile."""
        self._session = _session(keys.profile, keys.receive, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._wanted = wanted
        self._known: dict[bytes, None] = {}
        self._unwanted = 0

    def unprotect(self, datagram: bytes) -> bytes:
        """The RTP packet, if it is genuine and not a replay. Spec: RFC 3711 section 3.3."""
        try:
            packet = bytes(self._session.unprotect(datagram))
        except (pylibsrtp.Error, ValueError) as error:
            raise ParseError(_reason(error)) from None
        if packet[8:12] not in self._known:
            self._remember(packet[8:12])
        return packet

    def unprotect_rtcp(self, datagram: bytes) -> bytes:
        """The RTCP compound, if it is genuine and not a replay. Spec: RFC 3711 section 3.4."""
        try:
            compound = bytes(self._session.unprotect_rtcp(datagram))
        except (pylibsrtp.Error, ValueError) as error:
            raise ParseError(_reason(error)) from None
        if compound[4:8] not in self._known:
            self._remember(compound[4:8])
        return compound

    def _remember(self, ssrc: bytes) -> None:
        """One more SSRC has state. Of one that is forgotten, old packets would pass as new."""
        self._known[ssrc] = None
        self._unwanted += 1
        if self._unwanted <= _MOST_UNWANTED:
            return
        unwanted = [known for known in self._known if int.from_bytes(known, "big") not in self._wanted]
        oldest = unwanted[: len(unwanted) - _MOST_UNWANTED // 2]
        for known in oldest:
            del self._known[known]
            with contextlib.suppress(pylibsrtp.Error):
                self._session.remove_stream(int.from_bytes(known, "big"))
        self._unwanted = len(unwanted) - len(oldest)


class OutgoingStream(Protocol):
    """One SSRC's packets being protected."""

    def protect(self, ext_seq: int, header: bytes, payload: bytes) -> bytes:
        """The SRTP packet. `ext_seq` is the rollover counter followed by the header's sequence number.

        No `ext_seq` may be used twice: with AES-GCM that would give the key away. Raises `ParseError` where
        the packet cannot be protected.
        """


class SrtpSender:
    """What is sent to one peer."""

    def __init__(self, keys: SrtpKeys) -> None:
        self._session = _session(keys.profile, keys.send, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._cipher: AESGCM | None = None
        self._salt = 0
        if keys.profile != "AES128_CM_SHA1_80":
            key_bytes = _PROFILES[keys.profile][1]
            self._cipher = AESGCM(derive(keys.send, _LABEL_KEY, key_bytes, key_bytes))
            self._salt = int.from_bytes(derive(keys.send, _LABEL_SALT, _GCM_SALT_BYTES, key_bytes), "big")

    def stream(self, ssrc: int) -> OutgoingStream:
        """A stream to protect; one for each SSRC."""
        if self._cipher is None:
            return _LibsrtpStream(self._session)
        return _GcmStream(self._cipher, self._salt ^ ssrc << 48)

    def protect_rtcp(self, compound: bytes) -> bytes:
        """The SRTCP packet. Raises `ParseError` for a compound over 1352 bytes."""
        try:
            return bytes(self._session.protect_rtcp(compound))
        except (pylibsrtp.Error, ValueError):
            raise ParseError("srtp-protect") from None


class _GcmStream:
    __slots__ = ("_encrypt", "_iv")

    def __init__(self, cipher: AESGCM, iv: int) -> None:
        self._encrypt = cipher.encrypt
        self._iv = iv

    def protect(self, ext_seq: int, header: bytes, payload: bytes) -> bytes:
        # The IV is SSRC, rollover counter and sequence number, salted. Spec: RFC 7714 section 8.1.
        return header + self._encrypt((self._iv ^ ext_seq).to_bytes(12, "big"), payload, header)


class _LibsrtpStream:
    __slots__ = ("_session",)

    def __init__(self, session: pylibsrtp.Session) -> None:
        self._session = session

    def protect(self, ext_seq: int, header: bytes, payload: bytes) -> bytes:
        try:
            return bytes(self._session.protect(header + payload))
        except (pylibsrtp.Error, ValueError):
            raise ParseError("srtp-protect") from None


def derive(master: bytes, label: int, size: int, key_bytes: int) -> bytes:
    """A session key or salt of an AES-GCM profile from the master key and salt, with key derivation rate 0.

    Spec: RFC 3711 section 4.3, RFC 7714 section 11 (the salt is filled up with zeros on the right).
    """
    key, salt = master[:key_bytes], master[key_bytes : key_bytes + _GCM_SALT_BYTES]
    counter = int.from_bytes(salt + bytes(4), "big") ^ label << 64
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    return encryptor.update(bytes(size)) + encryptor.finalize()


def _session(profile: SrtpProfile, key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_PROFILES[profile][0])
    policy.window_size = _REPLAY_WINDOW
    policy.allow_repeat_tx = False
    return pylibsrtp.Session(policy)


def _reason(error: Exception) -> str:
    if isinstance(error, pylibsrtp.Error):
        return _REASONS.get(str(error), "srtp-failed")
    return "srtp-too-long"
