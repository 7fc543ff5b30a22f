"""Whole ICE sessions in virtual time: a full agent behind lossy links against the server's lite agent."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Iterator
from typing import Any

import pytest
from emulator import Network

from sfu.transport import stun
from sfu.transport.ice import REFUSED, STALE_US, IceAgent
from sfu.transport.validation import AMPLIFICATION, Credentials

MS = 1000
SECOND = 1_000_000
CONSENT_S = 30
LOSSY: dict[str, Any] = {
    "delay_us": 40 * MS,
    "jitter_us": 60 * MS,
    "loss": 0.05,
    "reorder": 0.05,
    "duplicate": 0.05,
}
VERY_LOSSY = {**LOSSY, "loss": 0.4}
CLEAN: dict[str, Any] = {"delay_us": 20 * MS}
OURS = Credentials("5e40e401", "p" * 32)
THEIRS = Credentials("peer", "q" * 24)


class Address:
    """One address of the peer: its checks go up a link to the agent, answers come down another."""

    protocol = "udp"

    def __init__(self, peer: FullAgent, host: str, port: int, conditions: dict[str, Any]) -> None:
        self.host, self.port = host, port
        self._agent = peer.server.agent
        self._up = peer.network.link(lambda data: peer.server.arrived(self, data), **conditions)
        self._down = peer.network.link(lambda data: peer.arrived(self, data), **conditions)
        self.connected = True
        self.received_bytes = self.sent_bytes = 0

    @property
    def key(self) -> Hashable:
        return self.host, self.port

    def up(self, data: bytes) -> None:
        if self.connected:
            self._up(data)

    def send(self, data: bytes) -> bool:
        self.sent_bytes += len(data)
        if self not in self._agent.paths:
            assert self.sent_bytes <= AMPLIFICATION * self.received_bytes, "nothing may amplify"
        if self.connected:
            self._down(data)
        return True


class Server:
    """The agent with what the port does around it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.agent = IceAgent(OURS, CONSENT_S * SECOND, bytes(range(32)))
        self.agent.remote = THEIRS
        self.retired: list[str] = []
        self.refused = 0
        network.clock.every(50 * MS, self.validate)

    def arrived(self, address: Address, data: bytes) -> None:
        address.received_bytes += len(data)
        message = stun.parse(data)
        answers = message.message_type == stun.BINDING_SUCCESS
        judge = self.agent.answered if answers else self.agent.check
        verdict = judge(message, address, self.network.clock.now_us)
        if verdict.retired is not None:
            self.retired.append(verdict.retired)
        if verdict is REFUSED:
            self.refused += 1
        if verdict.answer is not None:
            assert len(verdict.answer) <= len(data), "an answer must not amplify"
            address.send(verdict.answer)
        self.validate()

    def validate(self) -> None:
        for datagram in self.agent.due(self.network.clock.now_us):
            datagram.path.send(datagram.data)


class FullAgent:
    """The controlling side as browsers and aioice do it: nominate once, then ask for consent."""

    def __init__(self, network: Network, server: Server) -> None:
        self.network, self.server = network, server
        self.ours, self.theirs = THEIRS, OURS
        self.answers: list[stun.StunMessage] = []
        self._rng = random.Random(7)
        self._epoch = 0

    def address(self, host: str, port: int = 5000, **conditions: Any) -> Address:
        return Address(self, host, port, conditions or CLEAN)

    def check(self, address: Address, *, nominate: bool = False) -> None:
        attributes = [
            (stun.USERNAME, f"{self.theirs.ufrag}:{self.ours.ufrag}".encode()),
            (stun.PRIORITY, bytes(4)),
            (stun.ICE_CONTROLLING, bytes(8)),
        ]
        if nominate:
            attributes.append((stun.USE_CANDIDATE, b""))
        transaction = self._rng.randbytes(12)
        address.up(stun.build(stun.BINDING_REQUEST, transaction, attributes, self.theirs.pwd))

    def use(self, address: Address, *, nominate: bool = True) -> None:
        """Nominate until answered, then check for consent every 4 to 6 s; replaces an earlier use."""
        self._epoch += 1
        epoch, answered = self._epoch, len(self.answers)

        def again() -> None:
            if epoch != self._epoch:
                return
            settled = len(self.answers) > answered
            self.check(address, nominate=nominate and not settled)
            self.network.clock.call_later(self._rng.randint(4000, 6000) * MS if settled else 500 * MS, again)

        again()

    def fall_silent(self) -> None:
        self._epoch += 1

    def arrived(self, address: Address, data: bytes) -> None:
        message = stun.parse(data)
        if message.message_type == stun.BINDING_SUCCESS:
            self.answers.append(message)
        elif message.username()[0] == self.ours.ufrag and message.integrity_is_valid(self.ours.pwd):
            address.up(stun.build(stun.BINDING_SUCCESS, message.transaction_id, [], self.ours.pwd))


@pytest.fixture(params=[1, 2, 3])
def network(request: pytest.FixtureRequest) -> Network:
    return Network(seed=request.param)


@pytest.fixture
def server(network: Network) -> Server:
    return Server(network)


@pytest.fixture
def peer(network: Network, server: Server) -> FullAgent:
    return FullAgent(network, server)


def every_second(network: Network, seconds: int) -> Iterator[int]:
    for _ in range(seconds):
        network.clock.run_for(SECOND)
        yield network.clock.now_us


def test_a_lossy_path_connects_and_keeps_its_consent(
    network: Network, server: Server, peer: FullAgent
) -> None:
    home = peer.address("192.0.2.1", **LOSSY)
    peer.use(home)
    network.clock.run_for(10 * SECOND)
    assert server.agent.selected is home
    assert all(not server.agent.expired(now_us) for now_us in every_second(network, 600))
    assert stun.mapped_address(peer.answers[-1]) == ("192.0.2.1", 5000)
    assert peer.answers[-1].integrity_is_valid(OURS.pwd)


def test_a_path_that_loses_almost_half_still_connects(
    network: Network, server: Server, peer: FullAgent
) -> None:
    home = peer.address("192.0.2.1", **VERY_LOSSY)
    peer.use(home)
    network.clock.run_for(10 * SECOND)
    assert server.agent.selected is home
    assert peer.answers


def test_consent_runs_out_thirty_seconds_after_the_last_check(
    network: Network, server: Server, peer: FullAgent
) -> None:
    home = peer.address("192.0.2.1")
    peer.use(home)
    network.clock.run_for(60 * SECOND)
    last_us = server.agent.paths[home]
    home.connected = False
    expired = [now_us for now_us in every_second(network, 60) if server.agent.expired(now_us)]
    assert 0 < expired[0] - last_us - CONSENT_S * SECOND <= SECOND


def test_a_phone_that_changes_networks_keeps_its_session(
    network: Network, server: Server, peer: FullAgent
) -> None:
    wifi, mobile = peer.address("192.0.2.1"), peer.address("198.51.100.9", 61000, **LOSSY)
    peer.use(wifi)
    network.clock.run_for(20 * SECOND)
    wifi.connected = False
    network.clock.run_for(10 * SECOND)
    peer.use(mobile)
    network.clock.run_for(5 * SECOND)
    assert server.agent.selected is mobile
    assert not server.agent.expired(network.clock.now_us)


@pytest.mark.parametrize("conditions", [CLEAN, {"delay_us": 150 * MS}, LOSSY])
def test_media_moves_to_the_new_network_within_two_seconds(
    network: Network, server: Server, peer: FullAgent, conditions: dict[str, Any]
) -> None:
    wifi = peer.address("192.0.2.1")
    peer.use(wifi)
    network.clock.run_for(20 * SECOND)
    wifi.connected = False
    mobile = peer.address("198.51.100.9", 61000, **conditions)
    peer.use(mobile)
    network.clock.run_for(2 * SECOND)
    assert server.agent.selected is mobile


def test_a_flood_of_copies_keeps_nobody_off_its_address(
    network: Network, server: Server, peer: FullAgent
) -> None:
    """A thief repeats a check that it has seen, a thousand times a second, from another address each time."""
    home, thief = peer.address("192.0.2.1"), FullAgent(network, server)
    thief.ours = Credentials(THEIRS.ufrag, "guessed" * 4)
    numbers = itertools.count(1)
    network.clock.every(MS, lambda: thief.check(thief.address("203.0.113.66", next(numbers)), nominate=True))
    network.clock.run_for(SECOND)
    peer.use(home)
    network.clock.run_for(SECOND)
    assert server.agent.selected is home


def test_media_follows_a_nat_that_rebinds_without_a_nomination(
    network: Network, server: Server, peer: FullAgent
) -> None:
    before, after = peer.address("192.0.2.1", 5000), peer.address("192.0.2.1", 5001)
    peer.use(before)
    network.clock.run_for(60 * SECOND)
    before.connected = False
    rebound_us = network.clock.now_us
    peer.use(after, nominate=False)
    while server.agent.selected is before:
        network.clock.run_for(SECOND)
        assert network.clock.now_us - rebound_us < STALE_US + 7 * SECOND
    assert server.agent.selected is after


def test_a_backup_path_that_is_only_checked_takes_nothing_over(
    network: Network, server: Server, peer: FullAgent
) -> None:
    home, backup = peer.address("192.0.2.1"), peer.address("2001:db8::1")
    peer.use(home)
    network.clock.every(SECOND, lambda: peer.check(backup))
    for _ in every_second(network, 120):
        assert server.agent.selected is home
    assert set(server.agent.paths) == {home, backup}


def test_ice_restart_bridges_both_generations(network: Network, server: Server, peer: FullAgent) -> None:
    home = peer.address("192.0.2.1", **LOSSY)
    peer.use(home)
    network.clock.run_for(20 * SECOND)
    fresh = Credentials("5e40e402", "r" * 32)
    server.agent.restart(fresh)
    refused = server.refused
    network.clock.run_for(20 * SECOND)  # The description is still on its way: old checks go on.
    assert server.refused == refused
    assert server.retired == []
    peer.theirs, peer.ours = fresh, Credentials("again", "s" * 24)
    server.agent.remote = peer.ours
    peer.use(home)
    network.clock.run_for(10 * SECOND)
    assert server.retired == [OURS.ufrag]
    assert peer.answers[-1].integrity_is_valid(fresh.pwd)
    assert not server.agent.expired(network.clock.now_us)
    peer.theirs = OURS
    refused = server.refused
    peer.fall_silent()
    clean = peer.address("192.0.2.1")
    peer.check(clean)
    network.clock.run_for(SECOND)
    assert server.refused > refused
    assert clean not in server.agent.paths


def test_a_stranger_cannot_keep_a_dead_session_alive_nor_move_it(
    network: Network, server: Server, peer: FullAgent
) -> None:
    home, stranger = peer.address("192.0.2.1"), FullAgent(network, server)
    peer.use(home)
    network.clock.run_for(10 * SECOND)
    stranger.theirs = Credentials(OURS.ufrag, "guessed" * 4)
    elsewhere = stranger.address("203.0.113.66")
    network.clock.every(100 * MS, lambda: stranger.check(elsewhere, nominate=True))
    network.clock.run_for(5 * SECOND)
    assert server.agent.selected is home
    peer.fall_silent()
    network.clock.run_for((CONSENT_S + 10) * SECOND)
    assert server.agent.expired(network.clock.now_us)
    assert stranger.answers == []
    assert server.refused > 100
