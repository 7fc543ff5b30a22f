"""Configuration: frozen dataclasses, each field with its meaning, unit and default.

Precedence: command line, then `SFU_SECTION__FIELD` in the environment, then the TOML file, then the
default. An unknown key is an error, and every fault is reported at once. With nothing configured
everything runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from sfu import forms
from sfu.options import option
from sfu.templates import (
    TEMPLATES,
    ClassroomTemplate,
    ConsultationTemplate,
    MeetingTemplate,
    MonitoringTemplate,
    WebinarTemplate,
)

MAX_SAMPLES = 500
"""Samples of telemetry in one message."""

EventType = Literal[
    "room_started",
    "room_ended",
    "participant_joined",
    "participant_left",
    "published",
    "unpublished",
    "message",
    "hand",
    "moderated",
    "alarm",
    "recording",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
"""What webhooks and extensions may be told of."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The web server: page, signalling, API."""

    host: str = option(
        "", "address to listen on; empty means every interface, IPv4 and IPv6", form=forms.host, guards=True
    )
    port: int = option(7880, "TCP port of plain HTTP; 0 picks a free one", least=0, most=65_535)
    https_port: int = option(
        7881, "TCP port of HTTPS; 0 picks a free one, -1 turns HTTPS off", least=-1, most=65_535
    )
    tls_cert: str = option(
        "",
        "path of the PEM certificate chain; empty makes a self-signed one at first start",
        form=forms.text,
        reloads=True,
    )
    tls_key: str = option(
        "", "path of the PEM private key that belongs to tls_cert", form=forms.text, reloads=True
    )
    data_dir: str = option(
        "", "folder for what the server keeps; empty means ~/.local/share/pysfu", form=forms.text
    )
    allowed_origins: tuple[str, ...] = option(
        (),
        "origins, besides the server's own, whose pages may open the WebSocket and read the API; '*' allows "
        "all. Over plain HTTP and without auth.keys the server answers to a domain name only if it stands "
        "here (DNS rebinding)",
        form=forms.origin,
        reloads=True,
    )
    trust_proxy: bool = option(
        False, "believe X-Forwarded-For and X-Forwarded-Proto (only behind your own proxy)"
    )


@dataclass(frozen=True, kw_only=True)
class RtcConfig:
    """The media port."""

    port: int = option(
        7882,
        "UDP port for all media, and TCP port of the ICE-TCP candidate; 0 picks a free one",
        least=0,
        most=65_535,
    )
    bind: tuple[str, ...] = option(
        ("0.0.0.0", "::"),  # noqa: S104 - a media port serves every interface
        "addresses to bind; IPv6 is left out where the machine has none. On loopback alone Firefox finds no "
        "path: it uses no loopback address (`media.peerconnection.ice.loopback` in `about:config`)",
        form=forms.address,
    )
    tcp: bool = option(True, "offer ICE over TCP on the same port number, for networks that block UDP")
    announce: tuple[str, ...] = option(
        (),
        "addresses told to clients instead of the machine's own (public address behind 1:1 NAT)",
        form=forms.address,
    )
    stun_server: str = option(
        "",
        "host:port of a STUN server asked at start for the public address to announce",
        form=forms.host_port,
    )
    consent_timeout_s: float = option(
        30.0,
        "seconds without a valid check, or an answer to one of the server's own, after which a peer is gone "
        "(RFC 7675)",
        above=0,
        most=3600,
    )
    receive_buffer_bytes: int = option(
        4_194_304,
        "socket receive buffer, bytes; above net.core.rmem_max it takes CAP_NET_ADMIN",
        least=1,
        most=1_073_741_823,
    )
    send_buffer_bytes: int = option(
        4_194_304,
        "socket send buffer, bytes; above net.core.wmem_max it takes CAP_NET_ADMIN",
        least=1,
        most=1_073_741_823,
    )


@dataclass(frozen=True, kw_only=True)
class IceConfig:
    """STUN and TURN servers handed to clients."""

    stun_urls: tuple[str, ...] = option(
        (),
        "STUN URLs for clients, for example stun:stun.example.org:3478",
        form=forms.begins("stun:", "stuns:"),
        reloads=True,
    )
    turn_urls: tuple[str, ...] = option(
        (),
        "TURN URLs for clients, for example turn:turn.example.org:3478?transport=udp",
        form=forms.begins("turn:", "turns:"),
        reloads=True,
    )
    turn_username: str = option(
        "", "static TURN user name; leave empty when turn_secret is set", form=forms.text, reloads=True
    )
    turn_password: str = option("", "static TURN password", secret=True, form=forms.text, reloads=True)
    turn_secret: str = option(
        "",
        "secret shared with the TURN server (coturn's use-auth-secret)",
        secret=True,
        form=forms.text,
        reloads=True,
    )
    turn_ttl_s: int = option(
        3600,
        "life of a time-limited TURN credential, seconds; renewed at half; at most 600 without auth.keys",
        least=1,
        most=31_536_000,
        reloads=True,
    )


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """Who may come in."""

    keys: tuple[str, ...] = option(
        (),
        "API keys as 'key:secret', secrets of at least 32 bytes; with none, and no jwks_url, anybody may "
        "join (development mode)",
        secret=True,
        form=forms.api_key,
        guards=True,
        reloads=True,
    )
    jwks_url: str = option(
        "",
        "URL of a JSON Web Key Set whose keys sign tokens too; https, or http on this machine",
        form=forms.key_set,
        guards=True,
        reloads=True,
    )
    jwks_issuer: str = option(
        "",
        "'iss' that tokens signed with the key set must have; empty takes any",
        form=forms.text,
        guards=True,
        reloads=True,
    )
    jwks_audience: str = option(
        "",
        "'aud' that tokens signed with the key set must have; empty takes any",
        form=forms.text,
        guards=True,
        reloads=True,
    )
    jwks_ttl_s: float = option(
        3600.0,
        "seconds a fetched key set is used before it is fetched again",
        above=0,
        most=2_592_000,
        reloads=True,
    )
    revoked: tuple[str, ...] = option(
        (), "ids ('jti') of tokens that open nothing any more", form=forms.text, guards=True, reloads=True
    )
    revoked_file: str = option(
        "",
        "file of revoked token ids, one a line, read when it changes; revocations made here go there, too",
        form=forms.text,
        guards=True,
    )
    max_failures: int = option(
        20, "bad tokens from one address before more of them are locked out", least=1, most=1_000_000
    )
    lockout_s: float = option(
        60.0, "seconds after which an address's bad tokens are forgotten", above=0, most=2_592_000
    )

    @property
    def guarded(self) -> bool:
        return bool(self.keys or self.jwks_url)


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """Rooms and their limits."""

    grace_s: float = option(
        20.0,
        "seconds a participant stays after its WebSocket dropped, media running on",
        least=0,
        most=86_400,
    )
    empty_s: float = option(
        30.0, "seconds an empty room is kept; fewer where another needs its place", least=0, most=2_592_000
    )
    max_rooms: int = option(1000, "rooms at the same time", least=1, most=1_000_000)
    max_participants: int = option(250, "participants in one room", least=1, most=100_000)
    max_publications: int = option(8, "publications of one participant", least=1, most=1000)
    chat_history: int = option(
        200, "chat messages in memory, given to who joins; older ones are asked for", least=0, most=100_000
    )
    template: str = option(
        "meeting", "template of rooms for which nobody chooses one", form=forms.one_of(*TEMPLATES)
    )


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """What one stranger may use."""

    message_bytes: int = option(262_144, "largest signalling message, bytes", least=1024, most=16_777_216)
    messages_per_s: float = option(
        50.0, "signalling messages a second of one session, sustained", above=0, most=1_000_000
    )
    message_burst: int = option(200, "signalling messages of one session at once", least=1, most=1_000_000)
    data_bytes: int = option(65_536, "largest message on a data channel, bytes", least=1, most=16_777_216)
    data_bytes_per_s: int = option(
        2_000_000, "data-channel bytes a second from one participant, sustained", least=1, most=10_000_000_000
    )
    data_messages_per_s: float = option(
        500.0, "data-channel messages a second from one participant, sustained", above=0, most=1_000_000
    )
    data_slow_s: float = option(
        5.0,
        "seconds a receiver of reliable data may be behind before it is cut off from the topic",
        above=0,
        most=3600,
    )
    stored_bytes_per_day: int = option(
        8_388_608,
        "bytes one person may add a day to what is kept of chat, questions, polls and acts of moderation",
        least=1,
        most=1_000_000_000_000,
    )
    room_stored_bytes_per_day: int = option(
        67_108_864, "the same of all people in one room", least=1, most=1_000_000_000_000
    )
    address_stored_bytes_per_day: int = option(
        33_554_432,
        "the same of one address (IPv6: one /64) where nobody needs a token",
        least=1,
        most=1_000_000_000_000,
    )
    address_file_bytes_per_day: int = option(
        536_870_912,
        "bytes of files from one address a day where nobody needs a token",
        least=1,
        most=1_000_000_000_000,
    )
    joins_per_day: int = option(
        10_000,
        "joins a day of one person; of one address where nobody needs a token",
        least=1,
        most=1_000_000_000,
    )
    chat_characters: int = option(4_000, "longest chat message, characters", least=1, most=1_000_000)
    state_keys: int = option(256, "keys in the shared state of one room", least=0, most=1_000_000)
    state_value_bytes: int = option(
        16_384, "largest key and value of the shared state, bytes of JSON", least=0, most=16_777_216
    )
    state_bytes: int = option(
        131_072, "shared state of one room as a whole, bytes of JSON", least=0, most=1_073_741_824
    )
    acts_per_s: float = option(
        10.0,
        "hands, votes, strokes, reactions and the like a second of one participant, sustained",
        above=0,
        most=1_000_000,
    )
    acts_burst: int = option(
        100,
        "hands, votes, strokes, reactions and the like of one participant at once",
        least=1,
        most=1_000_000,
    )
    telemetry_samples_per_s: float = option(
        500.0, "samples of telemetry a second of one participant, sustained", above=0, most=10_000_000
    )
    telemetry_burst: int = option(
        15_000,
        "samples of one participant at once, of a time without connection; at least 500",
        least=MAX_SAMPLES,
        most=10_000_000,
    )
    work_per_s: float = option(
        0.2,
        "seconds of the server's CPU time a second that one person's requests may take, sustained",
        above=0,
        most=1_000_000,
    )
    work_burst_s: float = option(
        5.0,
        "seconds of the server's CPU time that one person's requests may take at once",
        above=0,
        most=1_000_000,
    )
    api_per_s: float = option(
        20.0,
        "HTTP API requests a second of one caller, and of all at one address without a token, sustained",
        above=0,
        most=1_000_000,
    )
    api_burst: int = option(
        200,
        "HTTP API requests of one caller, and of all others at one address, at once",
        least=1,
        most=1_000_000,
    )
    sessions_per_address: int = option(
        100,
        "sessions at once of one address that have not joined (without auth.keys: all); the oldest gives way",
        least=1,
        most=1_000_000,
    )
    rooms_per_address: int = option(
        30,
        "rooms open at once that people at one address (IPv6: one /64) have opened without a token, and no "
        "more than there are places left; an empty one of theirs gives way",
        least=1,
        most=1_000_000,
    )
    connections_per_address: int = option(
        1000,
        "connections at once of one address that nobody has joined over; all have 3/4 of 'ulimit -n'",
        least=1,
        most=1_000_000,
    )


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """Forwarding."""

    plane: str = option(
        "auto",
        "media plane: python, rust (pysfu-plane), or auto: rust where it is installed",
        form=forms.one_of("auto", "python", "rust"),
    )
    threads: int = option(
        0,
        "threads of the native media plane; 0 is one per core that it may use (cpu.max), at most 16",
        least=0,
        most=64,
    )
    keyframe_interval_ms: int = option(
        500, "least time between two keyframe requests for one encoding, ms", least=1, most=60_000
    )
    cache_packets: int = option(1024, "packets of each encoding kept to answer NACKs", least=1, most=32_768)
    last_n: int = option(
        25,
        "pictures of people sent to one subscriber at most, last speakers first; 0 is no limit",
        least=0,
        most=100_000,
    )
    m_lines: int = option(
        60,
        "m-lines of one subscriber at most, nine of ten in use, half for sound; given by need",
        least=4,
        most=200,
    )


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """What lasts: messages, sessions, files."""

    url: str = option(
        "",
        "database: empty means the SQLite file sfu.db in server.data_dir; sqlite:///FILE; "
        "postgresql://USER:PASSWORD@HOST/NAME; 'temporary' forgets everything at the end",
        secret=True,
        form=forms.database,
    )
    retention_days: int = option(
        0, "days after which messages, files and sessions are deleted; 0 keeps them", least=0, most=36_500
    )
    telemetry_days: int = option(
        30, "days after which telemetry is deleted; 0 keeps it as long as the rest", least=0, most=36_500
    )
    telemetry_samples: int = option(
        10_000_000,
        "samples kept of one room; past that the oldest go, of whoever has most there; 0 is no limit",
        least=0,
        most=1_000_000_000_000,
    )
    file_bytes: int = option(26_214_400, "largest file in the chat, bytes", least=1, most=1_099_511_627_776)
    room_bytes: int = option(
        1_073_741_824, "files of one room together, bytes", least=1, most=1_125_899_906_842_624
    )
    person_bytes: int = option(
        268_435_456, "files of one person together, bytes", least=1, most=1_125_899_906_842_624
    )
    files: str = option(
        "",
        "where files lie: empty means beside the database; s3://BUCKET or s3://BUCKET/PREFIX, "
        "of this server alone (pysfu[s3])",
        form=forms.bucket,
    )
    s3_endpoint: str = option(
        "", "URL of an S3-compatible store; empty means Amazon's", form=forms.url("http", "https")
    )
    s3_region: str = option("us-east-1", "region of the bucket", form=forms.text)
    s3_key: str = option(
        "", "access key id; empty means what AWS's own variables, files or roles say", form=forms.text
    )
    s3_secret: str = option("", "secret access key", secret=True, form=forms.text)
    max_waiting: int = option(
        10_000, "writes that may wait for the disk; past that senders are refused", least=1, most=10_000_000
    )


@dataclass(frozen=True, kw_only=True)
class WebhooksConfig:
    """Posts that tell other programs what happens in rooms."""

    urls: tuple[str, ...] = option(
        (), "where every event is posted to", secret=True, form=forms.url("http", "https")
    )
    secret: str = option(
        "",
        "what the posts are signed with (Standard Webhooks: text, or whsec_ and Base64)",
        secret=True,
        form=forms.webhook_secret,
        guards=True,
    )
    events: tuple[str, ...] = option(
        (), "types of event that are posted; empty means all", form=forms.one_of(*EVENT_TYPES), guards=True
    )
    timeout_s: float = option(10.0, "seconds a receiver may take to answer", above=0, most=3600)
    max_waiting: int = option(
        10_000,
        "events that may wait for one receiver; past that the oldest are dropped",
        least=1,
        most=10_000_000,
    )
    max_age_s: float = option(
        86_400.0, "seconds after which an event that nobody took is dropped", above=0, most=31_536_000
    )


@dataclass(frozen=True, kw_only=True)
class ExtensionsConfig:
    """Your own Python in the server: see extensions.md."""

    modules: tuple[str, ...] = option(
        (), "modules that are imported at start and whose extend(hooks) is called", form=forms.module
    )
    timeout_s: float = option(2.0, "seconds one call of an extension may take", above=0, most=3600)
    max_failures: int = option(
        10, "failures in a row after which a callback is switched off", least=1, most=1_000_000
    )
    frame_pixels: int = option(
        4_147_200, "largest picture that is decoded for extensions, pixels", least=1, most=268_435_456
    )


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Logging to standard error.

    What one place of the code says is bounded, because strangers can cause it: 300 lines at once and then one
    a second, ten tracebacks at once and then one a minute. How many were held back is told once a minute.
    """

    level: str = option("info", "debug, info, warning or error", form=forms.level, reloads=True)
    json: bool = option(False, "one JSON object a line", reloads=True)
    addresses: bool = option(
        False, "write peers' network addresses in full instead of shortened", reloads=True
    )
    access: bool = option(False, "one line for each HTTP request, without its query; it is not bounded")


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
