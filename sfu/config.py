"""Configuration: frozen dataclasses, each field with its meaning, unit and default.

Precedence: command line, then `SFU_SECTION__FIELD` in the environment, then the TOML file, then the
default. An unknown key is an error, and every fault is reported at once. With nothing configured
everything runs.
"""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from sfu import templates
from sfu.errors import ConfigError
from sfu.options import option
from sfu.templates import (
    TEMPLATES,
    ClassroomTemplate,
    ConsultationTemplate,
    MeetingTemplate,
    MonitoringTemplate,
    WebinarTemplate,
)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The web server: page, signalling, API."""

    host: str = option("", "address to listen on; empty means every interface, IPv4 and IPv6")
    port: int = option(7880, "TCP port of plain HTTP; 0 picks a free one")
    https_port: int = option(7881, "TCP port of HTTPS; 0 picks a free one, -1 turns HTTPS off")
    tls_cert: str = option(
        "", "path of the PEM certificate chain; empty makes a self-signed one at first start"
    )
    tls_key: str = option("", "path of the PEM private key that belongs to tls_cert")
    data_dir: str = option("", "folder for what the server keeps; empty means ~/.local/share/pysfu")
    allowed_origins: tuple[str, ...] = option(
        (),
        "origins, besides the server's own, whose pages may open the WebSocket; '*' allows all. Over plain "
        "HTTP and without auth.keys a domain name is the server's own only if it stands here (DNS rebinding)",
    )
    trust_proxy: bool = option(
        False, "believe X-Forwarded-For and X-Forwarded-Proto (only behind your own proxy)"
    )


@dataclass(frozen=True, kw_only=True)
class RtcConfig:
    """The media port."""

    port: int = option(
        7882, "UDP port for all media, and TCP port of the ICE-TCP candidate; 0 picks a free one"
    )
    bind: tuple[str, ...] = option(
        ("0.0.0.0", "::"),  # noqa: S104 - a media port serves every interface
        "addresses to bind; IPv6 is left out where the machine has none",
    )
    tcp: bool = option(True, "offer ICE over TCP on the same port number, for networks that block UDP")
    announce: tuple[str, ...] = option(
        (), "addresses told to clients instead of the machine's own (public address behind 1:1 NAT)"
    )
    stun_server: str = option(
        "", "host:port of a STUN server asked at start for the public address to announce"
    )
    consent_timeout_s: float = option(
        30.0, "seconds without a valid check after which a peer is gone (RFC 7675)"
    )
    receive_buffer_bytes: int = option(
        4_194_304, "socket receive buffer, bytes; above net.core.rmem_max it takes CAP_NET_ADMIN"
    )
    send_buffer_bytes: int = option(
        4_194_304, "socket send buffer, bytes; above net.core.wmem_max it takes CAP_NET_ADMIN"
    )


@dataclass(frozen=True, kw_only=True)
class IceConfig:
    """STUN and TURN servers handed to clients."""

    stun_urls: tuple[str, ...] = option((), "STUN URLs for clients, for example stun:stun.example.org:3478")
    turn_urls: tuple[str, ...] = option(
        (), "TURN URLs for clients, for example turn:turn.example.org:3478?transport=udp"
    )
    turn_username: str = option("", "static TURN user name; leave empty when turn_secret is set")
    turn_password: str = option("", "static TURN password", secret=True)
    turn_secret: str = option(
        "", "secret shared with the TURN server (coturn's use-auth-secret)", secret=True
    )
    turn_ttl_s: int = option(3600, "life of a time-limited TURN credential, seconds; renewed at half of it")


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """Who may come in."""

    keys: tuple[str, ...] = option(
        (),
        "API keys as 'key:secret', secrets of at least 32 bytes; with none, and no jwks_url, anybody may "
        "join (development mode)",
        secret=True,
    )
    jwks_url: str = option(
        "", "URL of a JSON Web Key Set whose keys sign tokens too; https, or http on this machine"
    )
    jwks_issuer: str = option("", "'iss' that tokens signed with the key set must have; empty takes any")
    jwks_audience: str = option("", "'aud' that tokens signed with the key set must have; empty takes any")
    jwks_ttl_s: float = option(3600.0, "seconds a fetched key set is used before it is fetched again")
    revoked: tuple[str, ...] = option((), "ids ('jti') of tokens that open nothing any more")
    revoked_file: str = option(
        "", "file of revoked token ids, one a line, read when it changes; a moderator's revocations go there"
    )
    max_failures: int = option(20, "bad tokens from one address before it is locked out")
    lockout_s: float = option(60.0, "seconds after which an address's bad tokens are forgotten")


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """Rooms and their limits."""

    grace_s: float = option(20.0, "seconds a participant stays after its WebSocket dropped, media running on")
    empty_s: float = option(30.0, "seconds an empty room is kept; fewer where another needs its place")
    max_rooms: int = option(1000, "rooms at the same time")
    max_participants: int = option(250, "participants in one room")
    max_publications: int = option(8, "publications of one participant")
    chat_history: int = option(200, "chat messages in memory, given to who joins; older ones are asked for")
    template: str = option("meeting", "template of rooms for which nobody chooses one")


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """What one stranger may use."""

    message_bytes: int = option(262_144, "largest signalling message, bytes")
    messages_per_s: float = option(50.0, "signalling messages a second of one session, sustained")
    message_burst: int = option(200, "signalling messages of one session at once")
    data_bytes: int = option(65_536, "largest message on a data channel, bytes")
    data_bytes_per_s: int = option(2_000_000, "data-channel bytes a second from one participant, sustained")
    data_messages_per_s: float = option(
        500.0, "data-channel messages a second from one participant, sustained"
    )
    data_slow_s: float = option(
        5.0, "seconds a receiver of reliable data may be behind before it is cut off from the topic"
    )
    chat_characters: int = option(4_000, "longest chat message, characters")
    state_keys: int = option(256, "keys in the shared state of one room")
    state_value_bytes: int = option(16_384, "largest key and value of the shared state, bytes of JSON")
    state_bytes: int = option(131_072, "shared state of one room as a whole, bytes of JSON")
    acts_per_s: float = option(
        10.0, "hands, votes, strokes, reactions and the like a second of one participant, sustained"
    )
    acts_burst: int = option(100, "hands, votes, strokes, reactions and the like of one participant at once")
    telemetry_samples_per_s: float = option(
        500.0, "samples of telemetry a second of one participant, sustained"
    )
    telemetry_burst: int = option(
        15_000, "samples of one participant at once, of a time without connection; at least 500"
    )
    api_per_s: float = option(20.0, "HTTP API requests a second from one address, sustained")
    api_burst: int = option(200, "HTTP API requests from one address at once")
    sessions_per_address: int = option(100, "signalling sessions at once from one address (IPv6: one /64)")
    connections_per_address: int = option(
        1000, "connections to the web server at once from one address; all have three quarters of 'ulimit -n'"
    )


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """Forwarding."""

    plane: str = option(
        "auto", "media plane: python, rust (pysfu-plane), or auto: rust where it is installed"
    )
    threads: int = option(0, "threads of the native media plane; 0 is one per core, at most 16")
    keyframe_interval_ms: int = option(500, "least time between two keyframe requests for one encoding, ms")
    cache_packets: int = option(1024, "packets of each encoding kept to answer NACKs")
    last_n: int = option(
        25, "pictures of people sent to one subscriber at most, last speakers first; 0 is no limit"
    )


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """What lasts: messages, sessions, files."""

    url: str = option(
        "",
        "database: empty means the SQLite file sfu.db in server.data_dir; sqlite:///FILE; "
        "postgresql://USER:PASSWORD@HOST/NAME; 'temporary' forgets everything at the end",
        secret=True,
    )
    retention_days: int = option(0, "days after which messages, files and sessions are deleted; 0 keeps them")
    telemetry_days: int = option(30, "days after which telemetry is deleted; 0 keeps it as long as the rest")
    telemetry_samples: int = option(
        10_000_000,
        "samples kept of one room; past that the oldest go, of whoever has most there; 0 is no limit",
    )
    file_bytes: int = option(26_214_400, "largest file in the chat, bytes")
    room_bytes: int = option(1_073_741_824, "files of one room together, bytes")
    person_bytes: int = option(268_435_456, "files of one person together, bytes")
    files: str = option(
        "",
        "where files lie: empty means beside the database; s3://BUCKET or s3://BUCKET/PREFIX, "
        "of this server alone (pysfu[s3])",
    )
    s3_endpoint: str = option("", "URL of an S3-compatible store; empty means Amazon's")
    s3_region: str = option("us-east-1", "region of the bucket")
    s3_key: str = option("", "access key id; empty means what AWS's own variables, files or roles say")
    s3_secret: str = option("", "secret access key", secret=True)
    max_waiting: int = option(10_000, "writes that may wait for the disk; past that senders are refused")


@dataclass(frozen=True, kw_only=True)
class WebhooksConfig:
    """Posts that tell other programs what happens in rooms."""

    urls: tuple[str, ...] = option((), "where every event is posted to", secret=True)
    secret: str = option(
        "", "what the posts are signed with (Standard Webhooks: text, or whsec_ and Base64)", secret=True
    )
    events: tuple[str, ...] = option((), "types of event that are posted; empty means all")
    timeout_s: float = option(10.0, "seconds a receiver may take to answer")
    max_waiting: int = option(
        10_000, "events that may wait for one receiver; past that the oldest are dropped"
    )
    max_age_s: float = option(86_400.0, "seconds after which an event that nobody took is dropped")


@dataclass(frozen=True, kw_only=True)
class ExtensionsConfig:
    """Your own Python in the server: see extensions.md."""

    modules: tuple[str, ...] = option(
        (), "modules that are imported at start and whose extend(hooks) is called"
    )
    timeout_s: float = option(2.0, "seconds one call of an extension may take")
    max_failures: int = option(10, "failures in a row after which a callback is switched off")
    frame_pixels: int = option(4_147_200, "largest picture that is decoded for extensions, pixels")


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Logging to standard error."""

    level: str = option("info", "debug, info, warning or error")
    json: bool = option(False, "one JSON object a line")
    addresses: bool = option(False, "write peers' network addresses in full instead of shortened")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration; one TOML table for each field."""

    server: ServerConfig = field(default_factory=ServerConfig)
    rtc: RtcConfig = field(default_factory=RtcConfig)
    ice: IceConfig = field(default_factory=IceConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    room: RoomConfig = field(default_factory=RoomConfig)
    meeting: MeetingTemplate = field(default_factory=MeetingTemplate)
    classroom: ClassroomTemplate = field(default_factory=ClassroomTemplate)
    webinar: WebinarTemplate = field(default_factory=WebinarTemplate)
    consultation: ConsultationTemplate = field(default_factory=ConsultationTemplate)
    monitoring: MonitoringTemplate = field(default_factory=MonitoringTemplate)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    webhooks: WebhooksConfig = field(default_factory=WebhooksConfig)
    extensions: ExtensionsConfig = field(default_factory=ExtensionsConfig)
    log: LogConfig = field(default_factory=LogConfig)


ENV_PREFIX = "SFU_"
MIN_SECRET_BYTES = 32
"""Of what signs tokens."""
MAX_SAMPLES = 500
"""Samples of telemetry in one message."""


@dataclass(frozen=True, slots=True)
class Option:
    """One configuration key as documentation and loaders see it. `name` is `section.field`."""

    name: str
    type: Any
    default: Any
    doc: str
    secret: bool


def options() -> Iterator[Option]:
    """Every key there is, in the order of the dataclasses."""
    for section in fields(Config):
        cls = _section_class(section.name)
        hints = get_type_hints(cls)
        for f in fields(cls):
            doc, secret = f.metadata["doc"], f.metadata["secret"]
            yield Option(f"{section.name}.{f.name}", hints[f.name], f.default, doc, secret)


def load(
    toml: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, str] | None = None
) -> Config:
    """The effective configuration.

    `toml` is the file's text, `environ` the process environment, `overrides` maps `section.field` to
    the text given on the command line. Raises `ConfigError` naming every fault: unknown keys, wrong
    types, values out of range.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    known = {option.name: option for option in options()}
    for source, layer in (
        ("file", _from_toml(toml, faults)),
        ("environment", _from_environ(environ or {})),
        ("command line", dict(overrides or {})),
    ):
        for name, value in layer.items():
            if name not in known:
                faults.append(f"{source}: unknown key {name}")
                continue
            try:
                values[name] = _convert(known[name].type, value)
            except ValueError as error:
                faults.append(f"{source}: {name}: {error}")
    config = _build(values)
    faults.extend(_out_of_range(config))
    if faults:
        raise ConfigError(faults)
    return config


def show(config: Config) -> str:
    """The configuration as TOML with comments; secrets are masked."""
    lines: list[str] = []
    section = ""
    for item in options():
        table, _, name = item.name.partition(".")
        if table != section:
            section = table
            lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
        value = getattr(getattr(config, table), name)
        shown = _toml_value("***" if item.secret and value and isinstance(value, str) else value)
        if item.secret and isinstance(value, tuple) and value:
            shown = _toml_value(tuple("***" for _ in value))
        lines += [f"# {item.doc}", f"{name} = {shown}"]
    return "\n".join(lines) + "\n"


def _section_class(name: str) -> Any:
    return get_type_hints(Config)[name]


def _build(values: Mapping[str, Any]) -> Config:
    sections: dict[str, dict[str, Any]] = {f.name: {} for f in fields(Config)}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    return Config(**{name: _section_class(name)(**given) for name, given in sections.items()})


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


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        name.removeprefix(ENV_PREFIX).lower().replace("__", ".", 1): value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and "__" in name
    }


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
        except ValueError:
            raise ValueError("expected a number") from None
    if kind == tuple[str, ...]:
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(item.strip() for item in items if item.strip())
        raise ValueError("expected a list of texts")
    raise ValueError("expected a text")


def _raise(message: str) -> Any:
    raise ValueError(message)


def _out_of_range(config: Config) -> Iterator[str]:
    for name, port, lowest in (
        ("server.port", config.server.port, 0),
        ("server.https_port", config.server.https_port, -1),
        ("rtc.port", config.rtc.port, 0),
    ):
        if not lowest <= port <= 65535:
            yield f"{name}: a port is between {lowest} and 65535"
    for name in _POSITIVE:
        section, _, key = name.partition(".")
        if getattr(getattr(config, section), key) <= 0:
            yield f"{name}: must be above 0"
    if bool(config.server.tls_cert) != bool(config.server.tls_key):
        yield "server.tls_cert and server.tls_key belong together"
    if config.ice.turn_urls and not (
        config.ice.turn_secret or (config.ice.turn_username and config.ice.turn_password)
    ):
        yield "ice.turn_urls needs ice.turn_secret, or ice.turn_username with ice.turn_password"
    if any(":" not in key or not all(key.split(":", 1)) for key in config.auth.keys):
        yield "auth.keys: each is 'key:secret'"
    yield from _auth_faults(config.auth)
    if config.room.template not in TEMPLATES:
        yield f"room.template: one of {', '.join(TEMPLATES)}"
    for name in TEMPLATES:
        yield from templates.faults(name, getattr(config, name))
    for name in ("retention_days", "telemetry_days", "telemetry_samples"):
        if getattr(config.storage, name) < 0:
            yield f"storage.{name}: must not be below 0"
    if config.limits.telemetry_burst < MAX_SAMPLES:
        yield f"limits.telemetry_burst: at least {MAX_SAMPLES}, the samples of one message"
    yield from _bucket_faults(config.storage)
    yield from _webhook_faults(config.webhooks)
    if config.media.plane not in {"auto", "python", "rust"}:
        yield "media.plane: auto, python or rust"
    if not 0 <= config.media.threads <= 64:
        yield "media.threads: 1 to 64, 0 is one per core"
    if config.media.last_n < 0:
        yield "media.last_n: a number of pictures, 0 is no limit"
    if config.log.level.lower() not in {"debug", "info", "warning", "error"}:
        yield "log.level: debug, info, warning or error"
    for url in config.ice.stun_urls:
        if not url.startswith(("stun:", "stuns:")):
            yield f"ice.stun_urls: {url} does not start with stun: or stuns:"
    for url in config.ice.turn_urls:
        if not url.startswith(("turn:", "turns:")):
            yield f"ice.turn_urls: {url} does not start with turn: or turns:"


def _auth_faults(auth: AuthConfig) -> Iterator[str]:
    # HS256 is as strong as its key: a shorter one can be found by trying. Spec: RFC 7518 section 3.2.
    if any(len(key.partition(":")[2].encode()) < MIN_SECRET_BYTES for key in auth.keys if ":" in key):
        yield f"auth.keys: a secret has at least {MIN_SECRET_BYTES} bytes (openssl rand -hex 32 makes one)"
    url = urlsplit(auth.jwks_url)
    here = url.scheme == "http" and url.hostname in {"127.0.0.1", "::1", "localhost"}
    if auth.jwks_url and not (here or (url.scheme == "https" and url.hostname)):
        yield "auth.jwks_url: https, or http on this machine"


def _bucket_faults(storage: StorageConfig) -> Iterator[str]:
    bucket = storage.files.removeprefix("s3://").partition("/")[0]
    if storage.files and not (storage.files.startswith("s3://") and bucket):
        yield "storage.files: s3://BUCKET or s3://BUCKET/PREFIX"
    if bool(storage.s3_key) != bool(storage.s3_secret):
        yield "storage.s3_key and storage.s3_secret belong together"
    if storage.s3_endpoint and urlsplit(storage.s3_endpoint).scheme not in {"http", "https"}:
        yield "storage.s3_endpoint: an http or https URL"


def _webhook_faults(webhooks: WebhooksConfig) -> Iterator[str]:
    for url in map(urlsplit, webhooks.urls):
        if url.scheme not in {"http", "https"} or not url.hostname:
            yield "webhooks.urls: each is an http or https URL"
    if webhooks.secret.startswith("whsec_"):
        try:
            base64.b64decode(webhooks.secret.removeprefix("whsec_"), validate=True)
        except ValueError:
            yield "webhooks.secret: what follows whsec_ is not Base64"


_POSITIVE = (
    "auth.jwks_ttl_s", "auth.max_failures", "auth.lockout_s", "limits.acts_per_s", "limits.acts_burst",
    "rtc.consent_timeout_s", "rtc.receive_buffer_bytes", "rtc.send_buffer_bytes", "ice.turn_ttl_s",
    "room.max_rooms",
    "room.max_participants", "room.max_publications", "limits.message_bytes", "limits.messages_per_s",
    "limits.message_burst", "limits.data_bytes", "limits.data_bytes_per_s", "limits.chat_characters",
    "limits.sessions_per_address", "limits.connections_per_address", "limits.api_per_s", "limits.api_burst",
    "limits.telemetry_samples_per_s",
    "storage.max_waiting", "storage.file_bytes", "storage.room_bytes", "storage.person_bytes",
    "media.keyframe_interval_ms", "media.cache_packets",
    "extensions.timeout_s", "extensions.max_failures", "extensions.frame_pixels",
    "webhooks.timeout_s", "webhooks.max_waiting", "webhooks.max_age_s",
)  # fmt: skip


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def reference() -> str:
    """Every key as Markdown tables; `docs/config.md` holds exactly this text."""
    lines: list[str] = []
    section = ""
    for item in options():
        table, _, name = item.name.partition(".")
        if table != section:
            section = table
            intro = (_section_class(table).__doc__ or "").strip()
            lines += ["", f"## `[{table}]`", "", intro, "", "| key | default | meaning |", "|---|---|---|"]
        lines.append(f"| `{name}` | `{_toml_value(item.default)}` | {item.doc} |")
    return "\n".join(lines).strip() + "\n"
