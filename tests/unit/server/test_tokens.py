from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from sfu.errors import RequestError
from sfu.room.permissions import GrantChanges
from sfu.server import tokens

SECRET, OTHER = "s" * 32, "o" * 32
KEYS = {"k": SECRET, "k2": OTHER}
NOW = 1_700_000_000


def minted(**changes: Any) -> str:
    given: dict[str, Any] = {"identity": "ann", "name": "Ann", "room": "r", "now_s": NOW, "ttl_s": 60}
    return tokens.mint("k", SECRET, **(given | changes))


def signed(secret: str = SECRET, **changes: Any) -> str:
    claims = {"iss": "k", "sub": "ann", "name": "Ann", "room": "r", "exp": NOW + 60, "grants": {}}
    kept = {name: value for name, value in (claims | changes).items() if value is not ...}
    return jwt.encode(kept, secret, algorithm="HS256")


def code(token: str, room: str = "r", now_s: float = NOW) -> str:
    with pytest.raises(RequestError) as caught:
        tokens.verify(token, KEYS, room, now_s)
    return caught.value.code


def test_a_minted_token_says_what_it_was_minted_with() -> None:
    claims = tokens.verify(minted(publish=["camera"], chat=False), KEYS, "r", NOW)
    assert (claims.identity, claims.name, claims.room) == ("ann", "Ann", "r")
    assert claims.grants == GrantChanges(publish=("camera",), chat=False)


def test_minting_refuses_a_source_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="kamera"):
        minted(publish=["kamera"])


def test_the_issuer_selects_the_key() -> None:
    assert tokens.verify(signed(OTHER, iss="k2"), KEYS, "r", NOW).identity == "ann"
    assert code(signed(OTHER, iss="k")) == "bad_token"
    assert code(signed(iss="unknown")) == "bad_token"
    assert code(signed(iss=...)) == "bad_token"


def test_times_are_checked_with_leeway() -> None:
    assert tokens.verify(minted(), KEYS, "r", NOW + 60 + tokens.LEEWAY_S).identity == "ann"
    assert code(minted(), now_s=NOW + 61 + tokens.LEEWAY_S) == "token_expired"
    assert code(minted(), now_s=NOW - 1 - tokens.LEEWAY_S) == "bad_token"
    # Long past or far ahead by the machine's clock: only the given moment counts.
    assert abs(time.time() - NOW) > 3600


def test_another_room_is_refused() -> None:
    assert code(minted(), room="other") == "wrong_room"


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "erased"},
        {"exp": ...},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": "x"},
        {"sub": ...},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 129},
        {"room": ...},
        {"room": ""},
        {"name": "a\nb"},
        {"grants": []},
        {"grants": None},
        {"grants": {"publish": "camera"}},
        {"grants": {"publish": ["kamera"]}},
        {"grants": {"publish": [[]]}},
        {"grants": {"chat": "yes"}},
        {"iss": ["k"]},
    ],
)
def test_claims_of_the_wrong_form_are_refused(changes: dict[str, Any]) -> None:
    try:
        token = signed(**changes)
    except TypeError:
        # PyJWT refuses to write what it knows to be wrong; others do not.
        token = jwt.api_jws.encode(b'{"iss":["k"]}', SECRET, algorithm="HS256")
    assert code(token) == "bad_token"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud800", "e30.e30.", "x" * 9000])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert code(token) == "bad_token"


def test_an_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode({"iss": "k", "sub": "ann", "room": "r", "exp": NOW + 60}, None, algorithm="none")
    assert code(unsigned) == "bad_token"
