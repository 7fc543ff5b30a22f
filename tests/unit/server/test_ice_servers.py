from __future__ import annotations

import base64
import hashlib
import hmac

from sfu.config import IceConfig
from sfu.server.ice_servers import OPEN_TTL_S, ice_servers, renewal_s, warning

TURN = ("turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp")


def test_nothing_configured_is_an_empty_list() -> None:
    assert ice_servers(IceConfig(), "PA_x", 0, guarded=True) == []
    assert renewal_s(IceConfig(), guarded=True) is None


def test_static_credentials_are_passed_on_and_do_not_expire() -> None:
    config = IceConfig(
        stun_urls=("stun:stun.example.org",), turn_urls=TURN, turn_username="u", turn_password="p"
    )
    assert ice_servers(config, "PA_x", 0, guarded=True) == [
        {"urls": ["stun:stun.example.org"]},
        {"urls": list(TURN), "username": "u", "credential": "p"},
    ]
    assert renewal_s(config, guarded=True) is None


def test_time_limited_credentials_are_what_coturn_checks() -> None:
    config = IceConfig(turn_urls=TURN, turn_secret="shared", turn_ttl_s=600)
    (server,) = ice_servers(config, "PA_x", 1000.9, guarded=True)
    assert server["username"] == "1600:PA_x"
    expected = hmac.new(b"shared", b"1600:PA_x", hashlib.sha1).digest()
    assert base64.b64decode(server["credential"]) == expected
    assert renewal_s(config, guarded=True) == 300


def test_where_anybody_joins_credentials_are_short_and_told_of() -> None:
    config = IceConfig(turn_urls=TURN, turn_secret="shared", turn_ttl_s=3600)
    (server,) = ice_servers(config, "PA_x", 1000, guarded=False)
    assert server["username"] == f"{1000 + OPEN_TTL_S}:PA_x"
    assert renewal_s(config, guarded=False) == OPEN_TTL_S / 2
    assert f"{OPEN_TTL_S} s" in warning(config, guarded=False)
    shorter = IceConfig(turn_urls=TURN, turn_secret="shared", turn_ttl_s=60)
    assert renewal_s(shorter, guarded=False) == 30
    static = IceConfig(turn_urls=TURN, turn_username="u", turn_password="a password")
    assert "turn_password" in warning(static, guarded=False)
    assert "a password" not in warning(static, guarded=False)
    for quiet in (warning(config, guarded=True), warning(IceConfig(), guarded=False)):
        assert quiet == ""
