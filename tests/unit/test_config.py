import dataclasses
from pathlib import Path

import pytest

from sfu import config
from sfu.errors import ConfigError
from sfu.loading.keys import Key, keys
from sfu.loading.load import load, variable
from sfu.loading.show import reference, show
from sfu.options import option


def test_nothing_configured_is_valid() -> None:
    assert load() == config.Config()


def test_command_line_beats_environment_beats_file() -> None:
    toml = "[server]\nport = 1\nhost = 'file'\n[rtc]\nport = 3"
    loaded = load(toml, {"SFU_SERVER__PORT": "2", "SFU_RTC__PORT": "4"}, {"server.port": "5"})
    assert (loaded.server.port, loaded.server.host, loaded.rtc.port) == (5, "file", 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("ON", True), ("1", True), ("no", False), ("False", False), ("0", False)],
)
def test_booleans_from_text(text: str, value: bool) -> None:
    assert load("", {}, {"log.json": text}).log.json is value


def test_lists_from_text_and_toml() -> None:
    assert load("", {"SFU_RTC__ANNOUNCE": "1.2.3.4, 5.6.7.8"}).rtc.announce == ("1.2.3.4", "5.6.7.8")
    assert load('[rtc]\nannounce = ["1.2.3.4"]').rtc.announce == ("1.2.3.4",)


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load("[server]\nprt = 1\nport = 'x'", {"SFU_LOG__LEVEL": "loud"}, {"rtc.port": "70000"})
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
        ("auth.keys", "key:" + "s" * 32 + ",key:" + "t" * 32),
        ("auth.jwks_url", "http://example.org/keys"),
        ("server.host", "999.1.1.1"),
        ("server.host", "a b"),
        ("server.allowed_origins", "example.org"),
        ("server.allowed_origins", "https://example.org/"),
        ("server.https_port", "7880"),
        ("rtc.announce", "example.org"),
        ("rtc.bind", "localhost"),
        ("rtc.bind", ","),
        ("rtc.stun_server", "stun:example.org"),
        ("meeting.owner", "fly"),
        ("meeting.entry", "king"),
        ("room.template", "party"),
        ("storage.url", "mysql://h/d"),
        ("storage.retention_days", "0.5"),
        ("webhooks.events", "no_such_event"),
        ("extensions.modules", "a/b.py"),
        ("ice.turn_password", "line\nbreak"),
        ("server.data_dir", "/x\ty"),
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
        load("", {}, {name: value})


@pytest.mark.parametrize("toml", ["= 1", "server = 1", "[server]\nport = 1.5", "[rtc]\nannounce = [1]"])
def test_bad_files_are_refused(toml: str) -> None:
    with pytest.raises(ConfigError):
        load(toml)


NUMBERS = [key for key in keys() if key.type in {int, float}]


@pytest.mark.parametrize("key", NUMBERS, ids=lambda key: key.name)
def test_every_number_has_a_range(key: Key) -> None:
    least, above, most = key.range
    assert most is not None
    lowest = least if least is not None else above
    assert lowest is not None
    for wrong in (lowest - 1, most + 1, *(["nan", "inf", "-inf", above] if key.type is float else [])):
        if wrong is not None:
            with pytest.raises(ConfigError, match=key.name):
                load("", {}, {key.name: str(wrong)})
    assert not key.fault(most)
    assert not key.fault(key.default)


def test_a_number_without_range_and_a_text_without_form_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="range"):
        option(1, "a number", least=0)
    with pytest.raises(TypeError, match="form"):
        option("", "a text")


@pytest.mark.parametrize("key", [key for key in keys() if key.guards], ids=lambda key: key.name)
def test_an_empty_text_does_not_open_what_it_protects(key: Key) -> None:
    for environ, overrides in (({variable(key.name): ""}, {}), ({}, {key.name: ""})):
        with pytest.raises(ConfigError, match=key.name) as caught:
            load("", environ, overrides)
        assert "is empty" in str(caught.value)


def test_what_guards_is_marked() -> None:
    guards = {key.name for key in keys() if key.guards}
    assert {"auth.keys", "auth.jwks_url", "auth.revoked_file", "webhooks.secret", "server.host"} <= guards


@pytest.mark.parametrize("given", ['""', '[""]', '["", " "]'])
def test_a_list_of_keys_that_a_template_left_empty_is_an_error(given: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.keys"):
        load(f"[auth]\nkeys = {given}")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SFU_AUTH_KEYS", "SFU_AUTH__KEYS"),
        ("SFU_AUTH__KEY", "SFU_AUTH__KEYS"),
        ("SFU_KEYS", "SFU_AUTH__KEYS"),
        ("SFU_PORT", "SFU_SERVER__PORT or SFU_RTC__PORT"),
        ("SFU_SERVER__PROT", "SFU_SERVER__PORT"),
        ("sfu_rtc__port", "SFU_RTC__PORT"),
        ("SFU_", ""),
        ("SFU_QXQXQX", ""),
    ],
)
def test_unknown_variables_are_errors_and_name_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("", {name: "9999"})
    assert name in str(caught.value)
    assert str(caught.value).endswith(f"did you mean {nearest}?") is bool(nearest)


def test_unknown_keys_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"server\.prot; did you mean server\.port\?"):
        load("[server]\nprot = 1")
    with pytest.raises(ConfigError, match=r"did you mean auth\.keys\?"):
        load("", {}, {"auth.key": "x"})


def test_variables_of_others_are_none_of_ours() -> None:
    load("", {
        "SFU_CONFIG": "sfu.toml", "SFU_TOKEN": "t", "SFUX": "1", "PATH": "/bin",
        "SFU_SERVICE_HOST": "10.0.0.1", "SFU_SERVICE_PORT_HTTP": "7880", "SFU_PORT": "tcp://10.0.0.1:7880",
        "SFU_PORT_7880_TCP_ADDR": "10.0.0.1", "SFU_WEB_SERVICE_PORT": "80",
    })  # fmt: skip


SECRETS = {
    "auth.keys": f"key:{'hunter' * 6}",
    "ice.turn_secret": "hunter3",
    "auth.jwks_url": "https://user:hunter@example.org/keys?a=hunter&b=hunter",
    "storage.s3_endpoint": "https://user:hunter@example.org",
    "storage.url": "postgresql://user:hunter@example.org/sfu",
    "webhooks.urls": "https://example.org/hook?token=hunter",
    "webhooks.secret": "hunter",
}


def test_secrets_are_masked_when_shown() -> None:
    assert "hunter" not in show(load("", {}, SECRETS))


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_masked_is_not_taken_for_a_secret(name: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        load(show(load("", {}, {name: SECRETS[name]})))
    assert "put the secret itself there" in str(caught.value)


def test_what_is_shown_loads_again() -> None:
    original = load("", {}, {"server.data_dir": 'C:\\odd "place"', "rtc.announce": "1.2.3.4"})
    assert load(show(original)) == original


def test_every_field_is_documented() -> None:
    for section in dataclasses.fields(config.Config):
        for field in dataclasses.fields(getattr(config.Config(), section.name)):
            assert field.metadata.get("doc"), f"{section.name}.{field.name}"


def test_the_documentation_holds_the_reference() -> None:
    text = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
    assert reference() in text, "run: sfu config --reference, and put it into docs/config.md"
