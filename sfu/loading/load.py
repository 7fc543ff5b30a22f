"""Read the configuration from file, environment and command line, and check it: every fault at once.

Precedence: command line, then `SFU_SECTION__FIELD` in the environment, then the TOML file, then the
default. An unknown key is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from sfu.config import Config
from sfu.errors import ConfigError
from sfu.loading.keys import Key, keys, nearest, section_class
from sfu.loading.show import MASK

ENV_PREFIX = "SFU_"
NOT_KEYS = frozenset({"SFU_CONFIG", "SFU_TOKEN", "SFU_SOURCE", "SFU_AUDIO"})
"""Variables of ours that are no configuration keys: the file, and what `sfu camera` and the like take."""

# Kubernetes gives containers such variables of a service called "sfu" (or "sfu-..."), unless told otherwise.
_SERVICE_LINK = re.compile(
    r"SFU_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$"
)
_SERVICE_PORT = re.compile(r"(tcp|udp)://[^/]+:\d+$")

_MASKED = re.compile(rf"(^|[:=]){re.escape(MASK)}($|[@&#])")


def load(
    toml: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, str] | None = None
) -> Config:
    """The effective configuration.

    `toml` is the file's text, `environ` the process environment, `overrides` maps `section.field` to the
    text given on the command line. Raises `ConfigError` naming every fault: unknown keys, wrong types,
    values out of range.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = {key.name: key for key in keys()}
    for source, layer in (
        ("file", _from_toml(toml, faults)),
        ("environment", _from_environ(environ or {}, list(known), faults)),
        ("command line", dict(overrides or {})),
    ):
        for name, value in layer.items():
            shown = f"{variable(name)} ({name})" if source == "environment" else name
            if name not in known:
                faults.append(f"{source}: unknown key {name}{nearest(name, list(known))}")
                continue
            try:
                values[name] = _checked(known[name], value, may_be_empty=source == "file")
            except ValueError as error:
                faults.append(f"{source}: {shown}: {error}")
    config = _build(values)
    faults.extend(_at_odds(config))
    if faults:
        raise ConfigError(faults)
    return config


def variable(name: str) -> str:
    """The environment variable of a key."""
    return ENV_PREFIX + name.upper().replace(".", "__")


def _checked(key: Key, value: Any, *, may_be_empty: bool) -> Any:
    made = _convert(key.type, value)
    # In a file an empty one stands where somebody has put it: `sfu config` prints those that are not in use.
    if key.guards and not made and not (may_be_empty and value == ("" if key.type is str else [])):
        raise ValueError(
            "is empty, which would open what it protects (a variable that is not set?): "
            "give it a value, or leave it out"
        )
    for each in made if isinstance(made, tuple) else (made,):
        if isinstance(each, str) and _MASKED.search(each):
            raise ValueError(f"holds {MASK}, as `sfu config` prints secrets: put the secret itself there")
    if fault := key.fault(made):
        raise ValueError(fault)
    return made


def _build(values: Mapping[str, Any]) -> Config:
    sections: dict[str, dict[str, Any]] = {f.name: {} for f in fields(Config)}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    return Config(**{name: section_class(name)(**given) for name, given in sections.items()})


def _from_toml(text: str, faults: list[str]) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.append(f"file: not TOML: {error}")
        return {}
    flat: dict[str, Any] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            faults.append(f"file: {section} is not a table")
            continue
        flat.update({f"{section}.{key}": value for key, value in table.items()})
    return flat


def _from_environ(environ: Mapping[str, str], known: list[str], faults: list[str]) -> dict[str, Any]:
    variables = {variable(name): name for name in known}
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.upper().startswith(ENV_PREFIX) or name in NOT_KEYS or _is_service_link(name, value):
            continue
        if name in variables:
            found[variables[name]] = value
        else:
            faults.append(f"environment: unknown variable {name}{nearest(name, list(variables))}")
    return found


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.match(name) or (name.endswith("_PORT") and _SERVICE_PORT.match(value)))


def _convert(kind: Any, value: Any) -> Any:
    """`value` from TOML (typed) or from text, as `kind`; `ValueError` says what was expected."""
    if kind is str and isinstance(value, str):
        return value
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in {"true", "yes", "on", "1", "false", "no", "off", "0"}:
            return value.lower() in {"true", "yes", "on", "1"}
        raise ValueError("expected true or false")
    if kind is int and not isinstance(value, bool):
        try:
            return int(value) if isinstance(value, (int, str)) else _raise("expected a whole number")
        except ValueError:
            raise ValueError("expected a whole number") from None
    if kind is float and not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise ValueError("expected a number") from None
    if kind == tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(item.strip() for item in items if item.strip())
        raise ValueError("expected a list of texts")
    raise ValueError("expected a text")


def _raise(message: str) -> Any:
    raise ValueError(message)


def _at_odds(config: Config) -> Iterator[str]:
    """Values that are right by themselves, and not together."""
    server, storage = config.server, config.storage
    if bool(server.tls_cert) != bool(server.tls_key):
        yield "server.tls_cert and server.tls_key belong together"
    if server.port == server.https_port and server.port:
        yield "server.port and server.https_port are the same"
    if not config.rtc.bind:
        yield "rtc.bind is empty: name the addresses to bind"
    if config.ice.turn_urls and not (
        config.ice.turn_secret or (config.ice.turn_username and config.ice.turn_password)
    ):
        yield "ice.turn_urls needs ice.turn_secret, or ice.turn_username with ice.turn_password"
    names = [key.partition(":")[0] for key in config.auth.keys]
    if len(set(names)) < len(names):
        yield "auth.keys: two keys have the same name"
    if storage.files and storage.url == "temporary":
        yield "storage.files: a bucket would outlive a temporary database (storage.url)"
    if bool(storage.s3_key) != bool(storage.s3_secret):
        yield "storage.s3_key and storage.s3_secret belong together"
