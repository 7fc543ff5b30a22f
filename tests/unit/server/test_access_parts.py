"""Lock-out, revocations and key sets, each by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from stored import FakeStore

from sfu import clock, templates
from sfu.config import Config
from sfu.errors import ConfigError, RequestError
from sfu.loading.load import load
from sfu.room.permissions import RIGHTS, ROLES, SOURCES, Grants, parse_changes, parse_words
from sfu.server import csv_cells, jwks, lockout, removals, revocations, settings, tokens
from sfu.server.lockout import Lockout
from sfu.server.removals import Removals
from sfu.server.revocations import Revocations
from sfu.store import withdrawals
from sfu.store.store import TEMPORARY, open_store

SECOND = 1_000_000


def locked(lock: Lockout, address: str, now_us: int) -> bool:
    """Whether a failure is answered so."""
    try:
        lock.failed(address, now_us)
    except RequestError as error:
        return error.code == "locked_out"
    return False


def test_an_address_is_locked_out_for_a_while() -> None:
    lock = Lockout(3, 60 * SECOND)
    assert [lock.failed("192.0.2.1", at * SECOND) for at in range(3)] == [False, False, True]
    assert locked(lock, "192.0.2.1", 3 * SECOND)
    assert not locked(lock, "192.0.2.2", 3 * SECOND)
    assert locked(lock, "192.0.2.1", 61 * SECOND)
    assert not locked(lock, "192.0.2.1", 63 * SECOND), "more tries while locked out do not prolong it"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("not an address", "not an address", True),
    ],
)
def test_hosts_with_many_addresses_are_one(one: str, other: str, same: bool) -> None:
    lock = Lockout(1, SECOND)
    lock.failed(one, 0)
    assert locked(lock, other, 0) is same


def test_the_table_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "MAX_ADDRESSES", 2)
    lock = Lockout(1, SECOND)
    for host in (1, 2, 3):
        lock.failed(f"192.0.2.{host}", 0)
    assert [locked(lock, f"192.0.2.{host}", 0) for host in (3, 2, 1)] == [True, True, False]


async def test_revocations_come_from_everywhere_and_stay(tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    revoked = Revocations(["a"], str(file), FakeStore())
    assert [jti in revoked for jti in ("a", "b", "")] == [True, False, False]
    file.write_text("b\n\n  c  ")
    assert "b" in revoked
    assert "c" in revoked
    assert await revoked.add("d") is None
    assert await revoked.add("e") is None
    assert file.read_text() == "b\n\n  c  \nd\ne\n", "a last line without an end is a line"
    file.unlink()
    again = Revocations([], str(file), FakeStore())
    assert await again.add("f") is None
    assert file.read_text() == "f\n"


async def test_what_moderators_revoke_is_kept_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000_000
    monkeypatch.setattr(clock, "wall_ms", lambda: now_s * 1000)
    async with open_store(TEMPORARY, None) as store:
        revoked = Revocations([], "", store)
        for jti, expires_s in (("old", now_s + 5), ("long", now_s + 500), ("unknown", None)):
            assert await revoked.add(jti, expires_s) is None
        again = Revocations([], "", store)
        await again.load()
        assert again.among(("old", "long", "unknown", "other")) == {"old", "long", "unknown"}
        now_s += 60
        assert await again.add("new", now_s + 1) is None
        assert set(again._stored) == {"long", "unknown", "new"}
        async with store.reading() as connection:
            assert set(await withdrawals.revoked_now(connection, 0)) == {"long", "unknown", "new"}


def claims(identity: str, made_s: float) -> tokens.Claims:
    return tokens.read(
        {"sub": identity, "room": "r", "exp": made_s + 3600, "nbf": made_s}, made_s, may_be_old=True
    )


async def test_who_was_removed_stays_out_with_what_was_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1_000_000
    monkeypatch.setattr(clock, "wall_ms", lambda: now_s * 1000)
    async with open_store(TEMPORARY, None) as store:
        kept = Removals(store)
        kept.add("r", "eve", now_s + 60, hidden=False)
        kept.add("r", "eve", now_s + 60, hidden=False)
        assert kept.last is not None
        assert await kept.last is None
        again = Removals(store)
        await again.load()
        for each in (kept, again):
            assert each.refuses(claims("eve", now_s - 1))
            assert not each.refuses(claims("eve", now_s + 1))
            assert not each.refuses(claims("ann", now_s - 1))
        assert await again.lift("r", "eve", Grants()) is None
        assert not again.refuses(claims("eve", now_s - 1))
        with pytest.raises(RequestError):
            again.lift("r", "eve", Grants())
        last = Removals(store)
        await last.load()
        assert last.of_room("r", Grants()) == []
        last.add("r", "old", 0, hidden=False)
        now_s += removals.LEAST_MS // 1000 + 1
        last.add("r", "new", 0, hidden=False)
        assert await last.last is None
        assert [each.identity for each in last.of_room("r", Grants())] == ["new"]
        async with store.reading() as connection:
            found = await withdrawals.removals_now(connection, 0)
        assert [each.identity for each in found] == ["new"]


def test_when_a_token_was_made_is_its_iat_else_its_nbf() -> None:
    given = {"sub": "ann", "room": "r", "exp": 100}
    for more, made_s in (({"iat": 5, "nbf": 3}, 5), ({"nbf": 3}, 3), ({}, 0)):
        assert tokens.read({**given, **more}, 50).made_s == made_s
    with pytest.raises(RequestError):
        tokens.read({**given, "iat": "never"}, 50)


async def test_a_file_that_cannot_be_read_frees_nobody_and_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "revoked"
    file.write_text("b\n")
    revoked = Revocations([], str(file), FakeStore())
    assert "b" in revoked
    monkeypatch.setattr(revocations, "MAX_FILE_BYTES", 3)
    file.write_text("something longer\n")
    for _ in range(30):
        assert "b" in revoked
    file.unlink()
    assert "b" in revoked, "as little does one that is gone"
    assert caplog.text.count("cannot be read") == 1
    file.write_text("c\n")
    assert "b" not in revoked
    assert "c" in revoked
    assert caplog.text.count("can be read again") == 1
    file.write_bytes(b"\xff")
    assert "c" in revoked
    assert caplog.text.count("cannot be read") == 2
    with pytest.raises(ConfigError, match="revoked_file"):
        async with open_store(TEMPORARY, None) as store:
            await Revocations([], str(file), store).load()


def public(kid: str, **changes: Any) -> dict[str, Any]:
    key = jwt.get_algorithm_by_name("ES256").to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
    return {**(json.loads(key) if isinstance(key, str) else key), "kid": kid, "alg": "ES256", **changes}


def test_only_public_signing_keys_with_an_id_are_taken() -> None:
    document = {
        "keys": [
            public("good"),
            public("encryption", use="enc"),
            public("broken", x="?"),
            {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "HS256"},
            {"kty": "new", "kid": "unknown"},
            public("unsigned", alg="none"),
            {**public("x"), "kid": 7},
            "nonsense",
        ]
    }
    assert set(jwks._parse(document)) == {"good"}
    for wrong in ([], {}, {"keys": "x"}):
        with pytest.raises(ValueError, match="keys"):
            jwks._parse(wrong)


def test_the_configuration_knows_the_roles_and_rights_of_the_room() -> None:
    assert templates.ROLE_NAMES == ROLES
    words = {*RIGHTS, "publish", *(f"publish:{source}" for source in SOURCES)}
    assert words == templates.RIGHT_WORDS
    made = settings.templates(Config())
    assert set(made) == set(templates.TEMPLATES)
    assert made["classroom"].roles["participant"].publish == ("camera", "microphone")
    assert made["consultation"].lobby


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classroom.participant", "fly"),
        ("classroom.entry", "king"),
        ("room.template", "party"),
        ("auth.jwks_url", "http://example.org/keys"),
        ("auth.max_failures", "0"),
        ("meeting.lobby", "perhaps"),
    ],
)
def test_wrong_templates_and_doors_are_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        load("", {}, {key: value})


def test_rights_as_words_and_as_changes() -> None:
    grants = parse_words(["join", "publish:camera", "chat"])
    assert (grants.publish, grants.chat, grants.data, grants.join) == (("camera",), True, False, True)
    assert parse_words(["publish", "publish:camera"]).publish is True
    assert parse_changes({"publish": ["screen", "camera"]}).applied(Grants()).publish == ("camera", "screen")
    for name, wrong in (("fly", True), ("chat", 1), ("publish", ["radio"]), ("chat", ["camera"])):
        with pytest.raises(ValueError, match=name):
            parse_changes({name: wrong})


def test_who_is_hidden_sends_nothing_whatever_it_was_given() -> None:
    hidden = Grants(hidden=True, moderate=True)
    assert not hidden.may_publish("camera", "video")
    assert (hidden.may_chat, hidden.may_send_data, hidden.may_moderate) == (False, False, False)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_names_are_no_formulas(name: str) -> None:
    assert csv_cells.cell(name) == "'" + name
    assert csv_cells.cell("Ann") == "Ann"
