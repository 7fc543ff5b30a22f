"""STUN and ICE-TCP frames from strangers: read, or refused with the documented error, and never believed."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.transport import stun
from sfu.transport.ice import IceAgent, Verdict
from sfu.transport.tcp import MAX_FRAME_BYTES, TcpPath
from sfu.transport.validation import AMPLIFICATION, Credentials

OURS = Credentials("5e40e401", "p" * 32)
THEIRS = Credentials("peer", "q" * 24)
SECRET = bytes(range(32))
KNOWN = [
    stun.USERNAME, stun.MESSAGE_INTEGRITY, stun.ERROR_CODE, stun.XOR_MAPPED_ADDRESS, stun.PRIORITY,
    stun.USE_CANDIDATE, stun.FINGERPRINT, stun.ICE_CONTROLLED, stun.ICE_CONTROLLING,
]  # fmt: skip
GOOD = stun.build(
    stun.BINDING_REQUEST,
    bytes(range(12)),
    [(stun.USERNAME, b"5e40e401:peer"), (stun.ICE_CONTROLLING, bytes(8)), (stun.USE_CANDIDATE, b"")],
    OURS.pwd,
)


@dataclass(frozen=True)
class Stranger:
    host: str = "203.0.113.1"
    port: int = 4000
    protocol: str = "udp"

    @property
    def key(self) -> tuple[str, int]:
        return self.host, self.port

    def send(self, data: bytes) -> bool:
        raise AssertionError("nothing is sent to a stranger")


def answer_to_its_validation() -> bytes:
    """What the peer answers to the check that `GOOD` leads to."""
    agent = IceAgent(OURS, 30_000_000, SECRET)
    agent.remote = THEIRS
    agent.check(stun.parse(GOOD), Stranger(), 1)
    request = stun.parse(agent.due(1)[0].data)
    return stun.build(stun.BINDING_SUCCESS, request.transaction_id, [], THEIRS.pwd)


kinds = st.sampled_from(KNOWN) | st.integers(0, 0xFFFF)
attributes = st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=12)
types = st.sampled_from([0x0001, 0x0011, 0x0101, 0x0111]) | st.integers(0, 0xFFFF)


GOOD_ANSWER = answer_to_its_validation()


def judge(data: bytes) -> Verdict:
    """What the port does with a datagram that looks like STUN."""
    agent = IceAgent(OURS, 30_000_000, SECRET)
    agent.remote = THEIRS
    try:
        message = stun.parse(data)
    except ParseError:
        return Verdict()
    judged = agent.answered if message.message_type == stun.BINDING_SUCCESS else agent.check
    verdict = judged(message, Stranger(), 1)
    assert bool(agent.paths) == verdict.proven
    sent = sum(len(datagram.data) for datagram in agent.due(1))
    assert bool(sent) == verdict.waiting
    assert sent <= AMPLIFICATION * len(data)
    return verdict


def test_the_message_that_is_changed_below_is_good() -> None:
    assert judge(GOOD).waiting
    assert judge(GOOD_ANSWER).proven


@given(types, st.binary(min_size=12, max_size=12), attributes)
def test_what_is_built_is_read_again(
    kind: int, transaction: bytes, given_attributes: list[tuple[int, bytes]]
) -> None:
    plain = [(each, value) for each, value in given_attributes if each not in (0x0008, 0x8028)]
    data = stun.build(kind & 0x3FFF, transaction, plain, OURS.pwd)
    message = stun.parse(data)
    first = dict(reversed(plain))
    assert (message.message_type, message.transaction_id) == (kind & 0x3FFF, transaction)
    assert message.attributes == first
    assert message.fingerprint_is_valid()
    assert message.integrity_is_valid(OURS.pwd)
    assert not message.integrity_is_valid("else")


@given(types, attributes)
def test_attributes_of_any_kind_prove_nothing_without_the_password(
    kind: int, given_attributes: list[tuple[int, bytes]]
) -> None:
    body = b"".join(
        struct.pack("!HH", each, len(value)) + value + bytes(-len(value) % 4)
        for each, value in given_attributes
    )
    header = struct.pack("!HHI12s", kind, len(body), stun.MAGIC_COOKIE, bytes(12))
    assert judge(header + body) == Verdict()


@given(st.data())
def test_a_good_check_or_answer_that_was_changed_proves_nothing(data: st.DataObject) -> None:
    good = data.draw(st.sampled_from([GOOD, GOOD_ANSWER]))
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    changed_bytes = bytes(changed[: data.draw(st.integers(0, len(changed)))]) + data.draw(
        st.binary(max_size=12)
    )
    if changed_bytes != good:
        assert judge(changed_bytes) == Verdict()


def test_random_datagrams_for_a_while() -> None:
    rng = random.Random(20)
    for _ in range(20_000):
        size = rng.randrange(1600)
        data = bytearray(rng.randbytes(size))
        if size > 20 and rng.random() < 0.8:
            size = 20 + (size - 20) // 4 * 4
            del data[size:]
            struct.pack_into(
                "!HHI", data, 0, rng.choice([1, 0x11, 0x101, 0x111]), size - 20, stun.MAGIC_COOKIE
            )
        for at in range(20, size - 4, 4):
            if rng.random() < 0.2:
                struct.pack_into(
                    "!HH", data, at, rng.choice(KNOWN), rng.choice([0, 4, 8, 20, rng.randrange(70)])
                )
        assert judge(bytes(data)) == Verdict()


@given(st.binary(max_size=24))
def test_an_address_from_a_server_is_read_or_refused(value: bytes) -> None:
    message = stun.parse(stun.build(stun.BINDING_SUCCESS, bytes(12), [(stun.XOR_MAPPED_ADDRESS, value)]))
    if len(value) in (8, 20):
        host, port = stun.mapped_address(message)
        assert stun.xor_address(host, port, bytes(12))[2:] == value[2:]
    else:
        with pytest.raises(ParseError):
            stun.mapped_address(message)


def cut(stream: bytes, sizes: list[int]) -> tuple[list[bytes], list[str]]:
    """Feed a TCP path in pieces; its frames, and the reasons of drops."""
    frames: list[bytes] = []
    drops: list[str] = []
    path = TcpPath(lambda _, frame: frames.append(frame), lambda _: True, lambda _: None, drops.append)
    at = 0
    for size in [*sizes, len(stream)]:
        path.data_received(stream[at : at + size])
        at += size
    return frames, drops


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(1, 30), max_size=20))
def test_frames_do_not_depend_on_how_the_stream_is_cut(frames: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(len(frame).to_bytes(2, "big") + frame for frame in frames)
    assert cut(stream, sizes) == ([frame for frame in frames if frame], [])


@given(st.binary(max_size=6000), st.lists(st.integers(1, 3000), max_size=5))
def test_any_stream_is_cut_into_frames_of_bounded_size(stream: bytes, sizes: list[int]) -> None:
    frames, _ = cut(stream, sizes)
    assert all(0 < len(frame) <= MAX_FRAME_BYTES for frame in frames)
