from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sfu.transport import stun
from sfu.transport.ice import CONSENT_CHECK_US, MAX_PATHS, REFUSED, IceAgent, Verdict
from sfu.transport.validation import AMPLIFICATION, ANSWER_US, MAX_WAITING, Credentials

OURS = Credentials("5e40e401", "p" * 24)
THEIRS = Credentials("peer", "q" * 24)
SECOND = 1_000_000


@dataclass(frozen=True)
class FakePath:
    host: str
    port: int = 5000
    protocol: str = "udp"
    sent: list[bytes] = field(default_factory=list, compare=False)

    @property
    def key(self) -> Hashable:
        return self.host, self.port

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return True


WIFI, MOBILE = FakePath("192.0.2.1"), FakePath("198.51.100.1")


@pytest.fixture
def agent() -> IceAgent:
    made = IceAgent(OURS, 30 * SECOND, bytes(32))
    made.remote = THEIRS
    return made


def check(
    agent: IceAgent,
    path: FakePath,
    now_us: int = 0,
    *,
    nominate: bool = False,
    ours: Credentials = OURS,
    theirs: Credentials = THEIRS,
    role: int = stun.ICE_CONTROLLING,
    pwd: str | None = None,
) -> Verdict:
    """A check of the peer, from `path`."""
    attributes = [(stun.USERNAME, f"{ours.ufrag}:{theirs.ufrag}".encode()), (role, bytes(8))]
    if nominate:
        attributes.append((stun.USE_CANDIDATE, b""))
    data = stun.build(stun.BINDING_REQUEST, bytes(12), attributes, pwd or ours.pwd)
    return agent.check(stun.parse(data), path, now_us)


def answer(agent: IceAgent, check: bytes, path: FakePath, now_us: int, pwd: str = THEIRS.pwd) -> Verdict:
    """The peer's answer to a check of ours, from `path`."""
    request = stun.parse(check)
    assert request.message_type == stun.BINDING_REQUEST
    return agent.answered(
        stun.parse(stun.build(stun.BINDING_SUCCESS, request.transaction_id, [], pwd)), path, now_us
    )


def prove(agent: IceAgent, path: FakePath, now_us: int = 0, **kind: Any) -> Verdict:
    """A check, answered, and the answer to ours where there is one. Returns the last verdict."""
    verdict = check(agent, path, now_us, **kind)
    for datagram in agent.due(now_us):
        if stun.parse(datagram.data).message_type == stun.BINDING_REQUEST:
            verdict = answer(agent, datagram.data, path, now_us)
    return verdict


def test_a_good_check_is_answered_with_the_address_it_came_from(agent: IceAgent) -> None:
    assert check(agent, WIFI).answer is None
    ours, answered = agent.due(0)
    message = stun.parse(answered.data)
    assert message.message_type == stun.BINDING_SUCCESS
    assert stun.mapped_address(message) == ("192.0.2.1", 5000)
    assert message.integrity_is_valid(OURS.pwd)
    assert (ours.path, answered.path) == (WIFI, WIFI)
    assert agent.selected is None
    assert answer(agent, ours.data, WIFI, 0).proven
    assert agent.selected == WIFI


def test_a_check_of_ours_is_what_a_full_agent_expects(agent: IceAgent) -> None:
    check(agent, WIFI)
    ours = stun.parse(agent.due(0)[0].data)
    assert ours.username() == (THEIRS.ufrag, OURS.ufrag)
    assert ours.integrity_is_valid(THEIRS.pwd)
    assert ours.fingerprint_is_valid()
    assert {stun.ICE_CONTROLLED, stun.PRIORITY} <= set(ours.attributes)
    assert stun.USE_CANDIDATE not in ours.attributes


def test_a_replayed_check_moves_nothing(agent: IceAgent) -> None:
    """Somebody sends a copy of a check from an address of its own, and answers with a guess."""
    prove(agent, WIFI, nominate=True)
    thief = FakePath("203.0.113.66")
    assert not check(agent, thief, 1, nominate=True).proven
    ours = agent.due(1)[0].data
    assert answer(agent, ours, thief, 2, pwd="guess") == REFUSED
    # Nor do answers of the peer help that are for another address, or from another.
    assert answer(agent, ours, WIFI, 2) == REFUSED
    check(agent, MOBILE, 2)
    assert answer(agent, agent.due(2)[0].data, thief, 2) == REFUSED
    assert (agent.selected, set(agent.paths)) == (WIFI, {WIFI})


def test_an_answer_counts_for_some_seconds(agent: IceAgent) -> None:
    check(agent, WIFI)
    ours = agent.due(0)[0].data
    assert answer(agent, ours, WIFI, ANSWER_US + SECOND) == REFUSED
    assert answer(agent, ours, WIFI, ANSWER_US).proven


def test_an_address_that_does_not_answer_gets_three_times_what_it_sent(agent: IceAgent) -> None:
    sent = received = 0
    for now_us in range(0, 60 * SECOND, 50_000):
        if now_us % (5 * SECOND) == 0:
            check(agent, WIFI, now_us, nominate=True)
            received += 100
        for datagram in agent.due(now_us):
            sent += len(datagram.data)
            assert sent <= AMPLIFICATION * received
    assert sent > received
    for now_us in range(60 * SECOND, 90 * SECOND, 50_000):
        sent += sum(len(datagram.data) for datagram in agent.due(now_us))
    assert not agent.validates
    assert sent <= AMPLIFICATION * received


def test_a_check_of_ours_that_was_lost_is_repeated(agent: IceAgent) -> None:
    check(agent, WIFI)
    agent.due(0)
    assert agent.due(90_000) == []
    (again,) = agent.due(110_000)
    assert answer(agent, again.data, WIFI, 150_000).proven
    assert not agent.validates


def test_checks_from_many_addresses_keep_nobody_off(agent: IceAgent) -> None:
    """A thief repeats one check from many addresses, between the peer's check and its answer."""
    check(agent, WIFI, nominate=True)
    ours = agent.due(0)[0].data
    for port in range(1, 50 * MAX_WAITING):
        check(agent, FakePath("203.0.113.66", port), 1, nominate=True)
        agent.due(1)
    assert answer(agent, ours, WIFI, 50_000).proven
    assert agent.selected == WIFI


def test_checks_before_the_description_wait_for_it(agent: IceAgent) -> None:
    agent.remote = None
    check(agent, WIFI, nominate=True)
    check(agent, MOBILE, theirs=Credentials("else", ""))
    assert agent.due(0) == []
    agent.remote = THEIRS
    ours, answered = agent.due(SECOND)
    assert {ours.path, answered.path} == {WIFI}
    assert answer(agent, ours.data, WIFI, SECOND).proven
    assert agent.selected == WIFI


def test_a_copy_of_a_check_from_a_proven_address_does_not_move_media_alone(agent: IceAgent) -> None:
    prove(agent, WIFI, nominate=True)
    prove(agent, MOBILE, 1)
    assert check(agent, MOBILE, 2, nominate=True).waiting
    agent.due(2)
    assert agent.selected == WIFI


def test_checks_elsewhere_are_no_consent_to_send_here(agent: IceAgent) -> None:
    prove(agent, WIFI, nominate=True)
    for second in range(1, 40):
        check(agent, FakePath("203.0.113.66", second), second * SECOND, nominate=True)
    assert agent.expired(31 * SECOND)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pwd": "wrong"},
        {"ours": Credentials("deadbeef", OURS.pwd)},
        {"theirs": Credentials("else", "")},
    ],
)
def test_a_forged_check_gets_nothing_and_changes_nothing(agent: IceAgent, wrong: dict[str, object]) -> None:
    assert check(agent, WIFI, **wrong) == Verdict()  # type: ignore[arg-type]
    assert agent.selected is None
    assert not agent.paths


def test_a_check_without_fingerprint_is_refused(agent: IceAgent) -> None:
    good = stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"5e40e401:peer")], OURS.pwd)
    at = stun.parse(good).fingerprint_at
    bare = stun._with_length(good[:at], at)
    assert agent.check(stun.parse(bare), WIFI, 0) == Verdict()


def test_a_peer_that_claims_to_be_controlled_is_told_the_conflict(agent: IceAgent) -> None:
    verdict = check(agent, WIFI, role=stun.ICE_CONTROLLED)
    assert verdict.answer is not None
    error = stun.parse(verdict.answer)
    assert error.message_type == stun.BINDING_ERROR
    assert error.attributes[stun.ERROR_CODE][2:4] == bytes([4, 87])
    assert agent.selected is None


def test_the_nominated_path_is_used_and_a_later_nomination_moves_it(agent: IceAgent) -> None:
    prove(agent, WIFI)
    prove(agent, MOBILE)
    assert agent.selected == WIFI
    prove(agent, MOBILE, nominate=True)
    assert agent.selected == MOBILE
    prove(agent, WIFI)
    assert agent.selected == MOBILE
    prove(agent, WIFI, nominate=True)
    assert agent.selected == WIFI


def test_consent_expires_only_after_it_was_given(agent: IceAgent) -> None:
    assert not agent.expired(1000 * SECOND)
    prove(agent, WIFI, 1000 * SECOND)
    assert not agent.expired(1030 * SECOND)
    assert agent.silent_us(1010 * SECOND) == 10 * SECOND
    assert agent.expired(1031 * SECOND)
    prove(agent, WIFI, 1031 * SECOND)
    assert not agent.expired(1032 * SECOND)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_peer_that_only_answers_checks_keeps_its_consent(agent: IceAgent, restarted: bool) -> None:
    """As one does that keeps its path alive by indications and media."""
    prove(agent, WIFI, nominate=True)
    if restarted:
        agent.restart(Credentials("5e40e402", "r" * 24))
    asked = 0
    for now_us in range(SECOND, 600 * SECOND, SECOND):
        ours = agent.consent_check(now_us)
        if ours is not None:
            asked += 1
            assert ours.path == WIFI
            assert stun.parse(ours.data).username() == (THEIRS.ufrag, OURS.ufrag)
            assert answer(agent, ours.data, WIFI, now_us).proven
        assert agent.uses(WIFI, now_us)
        assert agent.silent_us(now_us) <= CONSENT_CHECK_US
    assert asked == 99


def test_a_peer_that_does_not_answer_loses_consent_though_it_is_asked(agent: IceAgent) -> None:
    assert agent.consent_check(100 * SECOND) is None
    prove(agent, WIFI, nominate=True)
    sent = [agent.consent_check(second * SECOND) for second in range(1, 32)]
    assert [each is not None for each in sent] == [False] * 5 + [True] * 26
    assert agent.expired(31 * SECOND)


def test_a_peer_that_makes_checks_is_not_asked(agent: IceAgent) -> None:
    prove(agent, WIFI, nominate=True)
    for second in range(1, 60):
        check(agent, WIFI, second // 5 * 5 * SECOND)
        assert agent.consent_check(second * SECOND) is None


def test_restart_keeps_the_old_credentials_until_the_new_are_used(agent: IceAgent) -> None:
    prove(agent, WIFI, nominate=True)
    fresh = Credentials("5e40e402", "r" * 24)
    agent.restart(fresh)
    assert prove(agent, WIFI, ours=OURS).proven
    assert prove(agent, MOBILE, ours=fresh, nominate=True).proven
    assert agent.selected == MOBILE
    assert not check(agent, WIFI, ours=OURS).proven


def test_losing_the_selected_path_falls_back_to_the_freshest(agent: IceAgent) -> None:
    prove(agent, WIFI, 1)
    prove(agent, MOBILE, 2, nominate=True)
    agent.forget(MOBILE)
    assert agent.selected == WIFI
    agent.forget(WIFI)
    assert agent.selected is None


def test_paths_are_bounded_and_the_selected_one_stays(agent: IceAgent) -> None:
    prove(agent, WIFI, 0, nominate=True)
    evicted = [prove(agent, FakePath("203.0.113.1", port), port).evicted for port in range(1, 50)]
    assert len(agent.paths) == MAX_PATHS
    assert agent.selected == WIFI
    assert evicted[-1] is not None
    assert WIFI not in evicted


def test_indications_and_answers_are_no_checks(agent: IceAgent) -> None:
    for kind in (stun.BINDING_INDICATION, stun.BINDING_SUCCESS, stun.BINDING_ERROR):
        data = stun.build(kind, bytes(12), [(stun.USERNAME, b"5e40e401:peer")], OURS.pwd)
        assert agent.check(stun.parse(data), WIFI, 0) == Verdict()
