"""STUN binding messages, as much as an ICE-lite agent needs. Spec: RFC 8489, RFC 8445 section 7."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
import zlib
from dataclasses import dataclass, field

from sfu.errors import ParseError

MAGIC_COOKIE = 0x2112A442
HEADER_SIZE = 20
MAX_SIZE = 1500

BINDING_REQUEST = 0x0001
BINDING_INDICATION = 0x0011
BINDING_SUCCESS = 0x0101
BINDING_ERROR = 0x0111

USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A

_FINGERPRINT_XOR = 0x5354554E
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")


@dataclass(slots=True)
class StunMessage:
    """A parsed message. `attributes` holds the first value of each type before the integrity attribute.

    `integrity_at` and `fingerprint_at` are the offsets of those attributes in `raw`, or -1.
    """

    message_type: int
    transaction_id: bytes
    attributes: dict[int, bytes] = field(default_factory=dict)
    raw: bytes = b""
    integrity_at: int = -1
    fingerprint_at: int = -1

    def username(self) -> tuple[str, str]:
        """The two ufrags of a connectivity check: the receiver's and the sender's; empty where absent."""
        try:
            text = self.attributes.get(USERNAME, b"").decode("ascii")
        except UnicodeDecodeError:
            return "", ""
        ours, _, theirs = text.partition(":")
        return ours, theirs

    def integrity_is_valid(self, password: str) -> bool:
        """Check MESSAGE-INTEGRITY with the short-term password. Spec: RFC 8489 section 14.5."""
        at = self.integrity_at
        if at < 0:
            return False
        given = self.raw[at + 4 : at + 24]
        return hmac.compare_digest(given, _integrity(self.raw[:at], password))

    def fingerprint_is_valid(self) -> bool:
        """Check FINGERPRINT. Spec: RFC 8489 section 14.7."""
        at = self.fingerprint_at
        if at < 0:
            return False
        given: int = struct.unpack_from("!I", self.raw, at + 4)[0]
        return given == _fingerprint(self.raw[:at])


def parse(data: bytes) -> StunMessage:
    """Read one datagram. Raises `ParseError`; checks lengths but neither integrity nor fingerprint."""
    if not HEADER_SIZE <= len(data) <= MAX_SIZE:
        raise ParseError("stun-length")
    message_type, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if message_type & 0xC000 or cookie != MAGIC_COOKIE:
        raise ParseError("stun-header")
    if length % 4 or length + HEADER_SIZE != len(data):
        raise ParseError("stun-length")
    message = StunMessage(message_type, transaction_id, raw=data)
    at = HEADER_SIZE
    while at < len(data):
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        if at + 4 + size > len(data):
            raise ParseError("stun-attribute")
        if kind == FINGERPRINT:
            if size != 4 or at + 8 != len(data):
                raise ParseError("stun-fingerprint")
            message.fingerprint_at = at
        elif message.integrity_at >= 0:
            pass  # Whatever follows the integrity attribute is not protected, so it does not count.
        elif kind == MESSAGE_INTEGRITY:
            if size != 20:
                raise ParseError("stun-integrity")
            message.integrity_at = at
        else:
            message.attributes.setdefault(kind, data[at + 4 : at + 4 + size])
        at += 4 + (size + 3) // 4 * 4
    return message


def build(
    message_type: int, transaction_id: bytes, attributes: list[tuple[int, bytes]], password: str = ""
) -> bytes:
    """A message with FINGERPRINT, and with MESSAGE-INTEGRITY where a password is given."""
    body = b"".join(
        _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes
    )
    message = _HEADER.pack(message_type, len(body), MAGIC_COOKIE, transaction_id) + body
    if password:
        message = _with_length(message, len(message) + 24)
        message += _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + _integrity(message, password)
    message = _with_length(message, len(message) + 8)
    return message + _ATTRIBUTE.pack(FINGERPRINT, 4) + struct.pack("!I", _fingerprint(message))


def xor_address(host: str, port: int, transaction_id: bytes) -> bytes:
    """The value of XOR-MAPPED-ADDRESS. Spec: RFC 8489 section 14.2."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mask = struct.pack("!I", MAGIC_COOKIE) + transaction_id
    masked = bytes(a ^ b for a, b in zip(address.packed, mask, strict=False))
    return struct.pack("!BBH", 0, 1 if address.version == 4 else 2, port ^ (MAGIC_COOKIE >> 16)) + masked


def mapped_address(message: StunMessage) -> tuple[str, int]:
    """The address a server saw. Raises `ParseError` where the answer has none."""
    value = message.attributes.get(XOR_MAPPED_ADDRESS, b"")
    if len(value) not in (8, 20):
        raise ParseError("stun-address")
    mask = struct.pack("!I", MAGIC_COOKIE) + message.transaction_id
    packed = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
    port = struct.unpack_from("!H", value, 2)[0] ^ (MAGIC_COOKIE >> 16)
    return str(ipaddress.ip_address(packed)), port


def error_code(code: int, reason: str) -> bytes:
    """The value of ERROR-CODE. Spec: RFC 8489 section 14.8."""
    return struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode()


def _with_length(message: bytes, total: int) -> bytes:
    """The header's length as it must read when an attribute that ends at `total` is computed."""
    return message[:2] + struct.pack("!H", total - HEADER_SIZE) + message[4:]


def _integrity(before: bytes, password: str) -> bytes:
    return hmac.new(password.encode(), _with_length(before, len(before) + 24), hashlib.sha1).digest()


def _fingerprint(before: bytes) -> int:
    return zlib.crc32(_with_length(before, len(before) + 8)) ^ _FINGERPRINT_XOR
