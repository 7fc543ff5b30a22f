"""Configuration: frozen dataclasses, each field with its meaning, unit and default.

Precedence: command line, then `SFU_SECTION__FIELD` in the environment, then the TOML file, then the
default. An unknown key is an error, and every fault is reported at once. With nothing configured
everything runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def option(default: Any, doc: str, *, secret: bool = False) -> Any:
    """A dataclass field with its documentation; `secret` values are masked when printed."""
    metadata = {"doc": doc, "secret": secret}
    if isinstance(default, (list, dict)):
        raise TypeError("defaults are immutable: use a tuple")
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The web server: page, signalling, API."""

    host: str = option("", "address to listen on; empty means every interface, IPv4 and IPv6")
    port: int = option(7880, "TCP port of plain HTTP; 0 picks a free one")
    https_port: int = option(7881, "TCP port of HTTPS; 0 picks a free one, -1 turns HTTPS off")
    tls_cert: str = option("", "path of the PEM certificate chain; empty makes a self-signed one at first start")
    tls_key: str = option("", "path of the PEM private key that belongs to tls_cert")
    data_dir: str = option("", "folder for what the server keeps; empty means ~/.local/share/pysfu")
    allowed_origins: tuple[str, ...] = option(
        (), "origins, besides the server's own, whose pages may open the WebSocket; '*' allows all"
    )
    trust_proxy: bool = option(False, "believe X-Forwarded-For and X-Forwarded-Proto (only behind your own proxy)")


@dataclass(frozen=True, kw_only=True)
class RtcConfig:
    """The media port."""

    port: int = option(7882, "UDP port for all media, and TCP port of the ICE-TCP candidate; 0 picks a free one")
    bind: tuple[str, ...] = option(("0.0.0.0", "::"), "addresses to bind; IPv6 is left out where the machine has none")
    tcp: bool = option(True, "offer ICE over TCP on the same port number, for networks that block UDP")
    announce: tuple[str, ...] = option(
        (), "addresses told to clients instead of the machine's own (public address behind 1:1 NAT)"
    )
    stun_server: str = option("", "host:port of a STUN server asked at start for the public address to announce")
    consent_timeout_s: float = option(30.0, "seconds without a valid check after which a peer is gone (RFC 7675)")
    receive_buffer_bytes: int = option(4_194_304, "socket receive buffer asked of the system, bytes")
    send_buffer_bytes: int = option(4_194_304, "socket send buffer asked of the system, bytes")


@dataclass(frozen=True, kw_only=True)
class IceConfig:
    """STUN and TURN servers handed to clients."""

    stun_urls: tuple[str, ...] = option((), "STUN URLs for clients, for example stun:stun.example.org:3478")
    turn_urls: tuple[str, ...] = option((), "TURN URLs for clients, for example turn:turn.example.org:3478?transport=udp")
    turn_username: str = option("", "static TURN user name; leave empty when turn_secret is set")
    turn_password: str = option("", "static TURN password", secret=True)
    turn_secret: str = option("", "secret shared with the TURN server (coturn's use-auth-secret)", secret=True)
    turn_ttl_s: int = option(3600, "life of a time-limited TURN credential, seconds; renewed at half of it")


@dataclass(frozen=True, kw_only=True)
class AuthConfig:
    """Who may come in."""

    keys: tuple[str, ...] = option(
        (), "API keys as 'key:secret'; with none anybody may join (development mode)", secret=True
    )


@dataclass(frozen=True, kw_only=True)
class RoomConfig:
    """Rooms and their limits."""

    grace_s: float = option(20.0, "seconds a participant stays after its WebSocket dropped, media running on")
    empty_s: float = option(30.0, "seconds an empty room is kept, with its chat")
    max_rooms: int = option(1000, "rooms at the same time")
    max_participants: int = option(250, "participants in one room")
    max_publications: int = option(8, "publications of one participant")
    chat_history: int = option(200, "chat messages kept for late joiners")


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """What one stranger may use."""

    message_bytes: int = option(262_144, "largest signalling message, bytes")
    messages_per_s: float = option(50.0, "signalling messages a second of one session, sustained")
    message_burst: int = option(200, "signalling messages of one session at once")
    data_bytes: int = option(65_536, "largest message on a data channel, bytes")
    data_bytes_per_s: int = option(2_000_000, "data-channel bytes a second from one participant, sustained")
    chat_characters: int = option(4_000, "longest chat message, characters")
    sessions_per_address: int = option(100, "signalling sessions at once from one address")


@dataclass(frozen=True, kw_only=True)
class MediaConfig:
    """Forwarding."""

    plane: str = option("auto", "media plane: auto or python")
    keyframe_interval_ms: int = option(500, "least time between two keyframe requests for one encoding, ms")
    cache_packets: int = option(1024, "packets of each encoding kept to answer NACKs")


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
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    log: LogConfig = field(default_factory=LogConfig)


