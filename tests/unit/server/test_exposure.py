import logging
from dataclasses import replace

import pytest
from signalling import LOCAL, clients

from sfu.cli import banner
from sfu.config import AuthConfig, Config, ServerConfig
from sfu.server import exposure

KEYS = AuthConfig(keys=("k:" + "s" * 32,))


@pytest.mark.parametrize(
    ("server", "auth", "is_open"),
    [
        (ServerConfig(), AuthConfig(), True),
        (ServerConfig(host="0.0.0.0"), AuthConfig(), True),
        (ServerConfig(host="192.0.2.1"), AuthConfig(), True),
        (ServerConfig(host="127.0.0.1"), AuthConfig(), False),
        (ServerConfig(host="::1"), AuthConfig(), False),
        (ServerConfig(host="localhost"), AuthConfig(), False),
        (ServerConfig(host="127.0.0.1", trust_proxy=True), AuthConfig(), True),
        (ServerConfig(), KEYS, False),
        (ServerConfig(), AuthConfig(jwks_url="https://example.org/keys"), False),
    ],
)
def test_open_is_who_asks_for_nothing_and_can_be_reached(
    server: ServerConfig, auth: AuthConfig, is_open: bool
) -> None:
    assert exposure.is_open(Config(server=server, auth=auth)) is is_open


async def test_it_says_so_at_the_start_and_to_who_joins(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    everywhere = replace(LOCAL, server=replace(LOCAL.server, host="0.0.0.0"))
    async with clients(everywhere) as those:
        assert "open to everybody" in caplog.text
        assert (await those.join()).joined["open"] is True
    caplog.clear()
    async with clients() as those:
        assert "open to everybody" not in caplog.text
        assert (await those.join()).joined["open"] is False


def test_the_terminal_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    banner.show(Config(), "http://127.0.0.1:1", "", "")
    assert "open to everybody" in capsys.readouterr().out
    banner.show(Config(auth=KEYS), "http://127.0.0.1:1", "", "")
    assert "open to everybody" not in capsys.readouterr().out
