from __future__ import annotations

import base64
import hashlib
import hmac

from sfu.config import IceConfig
from sfu.server.ice_servers import ice_servers, renewal_s

TURN = ("turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp")


def test_nothing_configured_is_an_empty_list() -> None:
    assert ice_servers(IceConfig(), "PA_x", 0) == []
    assert renewal_s(IceConfig()) is None


def test_static_credentials_are_passed_on_and_do_not_expire() -> None:
    config = IceConfig(
        stun_urls=("stun:stun.example.org",), turn_urls=TURN, turn_username="u", turn_password="p"
    )
    assert ice_servers(config, "PA_x", 0) == [
        {"urls": ["stun:stun.example.org"]},
        {"urls": list(TURN), "username": "u", "credential": "p"},
    ]
    assert renewal_s(config) is None


def test_time_limited_credentials_are_what_coturn_checks() -> None:
    config = IceConfig(turn_urls=TURN, turn_secret="shared", turn_ttl_s=600)
    (server,) = ice_servers(config, "PA_x", 1000.9)
    assert server["username"] == "1600:PA_x"
    expected = hmac.new(b"shared", b"1600:PA_x", hashlib.sha1).digest()
    assert base64.b64decode(server["credential"]) == expected
    assert renewal_s(config) == 300
