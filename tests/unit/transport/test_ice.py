from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import pytest

from sfu.transport import stun
from sfu.transport.ice import MAX_PATHS, Credentials, IceAgent, Verdict

OURS = Credentials("srv1", "p" * 24)
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
    made = IceAgent(OURS, 30 * SECOND)
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
    attributes = [(stun.USERNAME, f"{ours.ufrag}:{theirs.ufrag}".encode()), (role, bytes(8))]
    if nominate:
        attributes.append((stun.USE_CANDIDATE, b""))
    data = stun.build(stun.BINDING_REQUEST, bytes(12), attributes, pwd or ours.pwd)
    return agent.check(stun.parse(data), path, now_us)


def test_a_good_check_is_answered_with_the_address_it_came_from(agent: IceAgent) -> None:
    verdict = check(agent, WIFI)
    assert verdict.answer is not None
    answer = stun.parse(verdict.answer)
    assert answer.message_type == stun.BINDING_SUCCESS
    assert stun.mapped_address(answer) == ("192.0.2.1", 5000)
    assert answer.integrity_is_valid(OURS.pwd)
    assert agent.selected == WIFI


@pytest.mark.parametrize(
    "wrong",
    [
        {"pwd": "wrong"},
        {"ours": Credentials("else", OURS.pwd)},
        {"theirs": Credentials("else", "")},
    ],
)
def test_a_forged_check_gets_nothing_and_changes_nothing(agent: IceAgent, wrong: dict[str, object]) -> None:
    assert check(agent, WIFI, **wrong) == Verdict()  # type: ignore[arg-type]
    assert agent.selected is None
    assert not agent.paths


def test_a_check_without_fingerprint_is_refused(agent: IceAgent) -> None:
    good = stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"srv1:peer")], OURS.pwd)
    at = stun.parse(good).fingerprint_at
    bare = stun._with_length(good[:at], at)
    assert agent.check(stun.parse(bare), WIFI, 0) == Verdict()


def test_a_peer_that_claims_to_be_controlled_is_told_the_conflict(agent: IceAgent) -> None:
    verdict = check(agent, WIFI, role=stun.ICE_CONTROLLED)
    assert verdict.answer is not None
    answer = stun.parse(verdict.answer)
    assert answer.message_type == stun.BINDING_ERROR
    assert answer.attributes[stun.ERROR_CODE][2:4] == bytes([4, 87])
    assert agent.selected is None


def test_the_nominated_path_is_used_and_a_later_nomination_moves_it(agent: IceAgent) -> None:
    check(agent, WIFI)
    check(agent, MOBILE)
    assert agent.selected == WIFI
    check(agent, MOBILE, nominate=True)
    assert agent.selected == MOBILE
    check(agent, WIFI)
    assert agent.selected == MOBILE
    check(agent, WIFI, nominate=True)
    assert agent.selected == WIFI


def test_consent_expires_only_after_it_was_given(agent: IceAgent) -> None:
    assert not agent.expired(1000 * SECOND)
    check(agent, WIFI, 1000 * SECOND)
    assert not agent.expired(1030 * SECOND)
    assert agent.silent_us(1010 * SECOND) == 10 * SECOND
    assert agent.expired(1031 * SECOND)
    check(agent, WIFI, 1031 * SECOND)
    assert not agent.expired(1032 * SECOND)


def test_restart_keeps_the_old_credentials_until_the_new_are_used(agent: IceAgent) -> None:
    check(agent, WIFI, nominate=True)
    fresh = Credentials("srv2", "r" * 24)
    agent.restart(fresh)
    assert check(agent, WIFI, ours=OURS).proven
    assert check(agent, MOBILE, ours=fresh, nominate=True).proven
    assert agent.selected == MOBILE
    assert not check(agent, WIFI, ours=OURS).proven


def test_losing_the_selected_path_falls_back_to_the_freshest(agent: IceAgent) -> None:
    check(agent, WIFI, 1)
    check(agent, MOBILE, 2, nominate=True)
    agent.forget(MOBILE)
    assert agent.selected == WIFI
    agent.forget(WIFI)
    assert agent.selected is None


def test_paths_are_bounded_and_the_selected_one_stays(agent: IceAgent) -> None:
    check(agent, WIFI, 0, nominate=True)
    evicted = [check(agent, FakePath("203.0.113.1", port), port).evicted for port in range(1, 50)]
    assert len(agent.paths) == MAX_PATHS
    assert agent.selected == WIFI
    assert evicted[-1] is not None
    assert WIFI not in evicted


def test_indications_and_answers_are_no_checks(agent: IceAgent) -> None:
    for kind in (stun.BINDING_INDICATION, stun.BINDING_SUCCESS, stun.BINDING_ERROR):
        data = stun.build(kind, bytes(12), [(stun.USERNAME, b"srv1:peer")], OURS.pwd)
        assert agent.check(stun.parse(data), WIFI, 0) == Verdict()
