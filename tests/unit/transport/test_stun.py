import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.transport import stun

# RFC 5769 section 2.1: a binding request with the password below.
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e7400240004"
    "6e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56"
    "781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
# RFC 5769 section 2.2: the answer to it over IPv4.
RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147"
    "e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)


def test_request_of_the_rfc() -> None:
    message = stun.parse(REQUEST)
    assert message.message_type == stun.BINDING_REQUEST
    assert message.username() == ("evtj", "h6vY")
    assert message.integrity_is_valid(PASSWORD)
    assert not message.integrity_is_valid("wrong")
    assert message.fingerprint_is_valid()
    assert stun.ICE_CONTROLLED in message.attributes
    assert struct.unpack("!I", message.attributes[stun.PRIORITY])[0] == 0x6E0001FF


def test_response_of_the_rfc() -> None:
    message = stun.parse(RESPONSE)
    assert stun.mapped_address(message) == ("192.0.2.1", 32853)
    assert message.integrity_is_valid(PASSWORD)
    assert message.fingerprint_is_valid()


@pytest.mark.parametrize("at", range(20, len(REQUEST)))
def test_a_changed_byte_is_noticed(at: int) -> None:
    changed = bytearray(REQUEST)
    changed[at] ^= 1
    try:
        message = stun.parse(bytes(changed))
    except ParseError:
        return
    assert not (message.integrity_is_valid(PASSWORD) and message.fingerprint_is_valid())


def test_attributes_after_the_integrity_do_not_count() -> None:
    body = stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"a:b")], "secret")
    at = stun.parse(body).fingerprint_at
    extra = struct.pack("!HH", stun.USE_CANDIDATE, 0)
    forged = stun._with_length(body[:at] + extra, len(body) + 4) + body[at:]
    assert stun.USE_CANDIDATE not in stun.parse(forged).attributes


@pytest.mark.parametrize(("host", "port"), [("192.0.2.7", 1), ("2001:db8::7", 65535)])
def test_addresses_survive(host: str, port: int) -> None:
    transaction = bytes(range(12))
    value = stun.xor_address(host, port, transaction)
    message = stun.parse(stun.build(stun.BINDING_SUCCESS, transaction, [(stun.XOR_MAPPED_ADDRESS, value)]))
    assert stun.mapped_address(message) == (host, port)
    assert message.fingerprint_is_valid()


@given(st.binary(max_size=200))
def test_garbage_raises_parse_error_only(data: bytes) -> None:
    try:
        message = stun.parse(data)
    except ParseError:
        return
    message.username()
    message.integrity_is_valid("x")
    message.fingerprint_is_valid()


@given(st.binary(max_size=180))
def test_garbage_behind_a_good_header_raises_parse_error_only(body: bytes) -> None:
    body = body[: len(body) // 4 * 4]
    header = struct.pack("!HHI12s", stun.BINDING_REQUEST, len(body), stun.MAGIC_COOKIE, bytes(12))
    try:
        message = stun.parse(header + body)
    except ParseError:
        return
    message.username()
    assert not message.integrity_is_valid("x") or message.integrity_at >= 0
