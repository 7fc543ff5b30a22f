import dataclasses
from pathlib import Path

import pytest

from sfu import config
from sfu.errors import ConfigError


def test_nothing_configured_is_valid() -> None:
    assert config.load() == config.Config()


def test_command_line_beats_environment_beats_file() -> None:
    toml = "[server]\nport = 1\nhost = 'file'\n[rtc]\nport = 3"
    loaded = config.load(toml, {"SFU_SERVER__PORT": "2", "SFU_RTC__PORT": "4"}, {"server.port": "5"})
    assert (loaded.server.port, loaded.server.host, loaded.rtc.port) == (5, "file", 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("ON", True), ("1", True), ("no", False), ("False", False), ("0", False)],
)
def test_booleans_from_text(text: str, value: bool) -> None:
    assert config.load("", {}, {"log.json": text}).log.json is value


def test_lists_from_text_and_toml() -> None:
    assert config.load("", {"SFU_RTC__ANNOUNCE": "1.2.3.4, 5.6.7.8"}).rtc.announce == ("1.2.3.4", "5.6.7.8")
    assert config.load('[rtc]\nannounce = ["1.2.3.4"]').rtc.announce == ("1.2.3.4",)


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load("[server]\nprt = 1\nport = 'x'", {"SFU_LOG__LEVEL": "loud"}, {"rtc.port": "70000"})
    text = str(caught.value)
    for part in ("server.prt", "server.port", "log.level", "rtc.port"):
        assert part in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server.port", "-1"),
        ("server.tls_cert", "a.pem"),
        ("ice.turn_urls", "turn:example.org"),
        ("ice.stun_urls", "example.org"),
        ("auth.keys", "nosecret"),
        ("auth.keys", "key:" + "s" * 31),
        ("auth.keys", "good:" + "s" * 32 + ",key:s"),
        ("media.plane", "steam"),
        ("room.max_participants", "0"),
        ("webhooks.urls", "ftp://example.org"),
        ("webhooks.secret", "whsec_!"),
        ("storage.files", "ftp://files"),
        ("storage.s3_key", "without its secret"),
        ("storage.s3_endpoint", "store.example.org"),
        ("log.json", "maybe"),
        ("rtc.consent_timeout_s", "soon"),
    ],
)
def test_bad_values_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name.split(".")[0]):
        config.load("", {}, {name: value})


@pytest.mark.parametrize("toml", ["= 1", "server = 1", "[server]\nport = 1.5", "[rtc]\nannounce = [1]"])
def test_bad_files_are_refused(toml: str) -> None:
    with pytest.raises(ConfigError):
        config.load(toml)


def test_secrets_are_masked_when_shown() -> None:
    shown = config.show(
        config.load("", {}, {"auth.keys": f"key:{'hunter' * 6}", "ice.turn_secret": "hunter3"})
    )
    assert "hunter" not in shown


def test_what_is_shown_loads_again() -> None:
    original = config.load("", {}, {"server.data_dir": 'C:\\odd "place"', "rtc.announce": "1.2.3.4"})
    assert config.load(config.show(original)) == original


def test_every_field_is_documented() -> None:
    for section in dataclasses.fields(config.Config):
        for field in dataclasses.fields(getattr(config.Config(), section.name)):
            assert field.metadata.get("doc"), f"{section.name}.{field.name}"


def test_the_documentation_holds_the_reference() -> None:
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    assert config.reference() in text, "run: sfu config --reference, and put it into docs/config.md"
