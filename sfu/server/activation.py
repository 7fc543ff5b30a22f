"""Sockets that the service manager has opened for the server. Spec: sd_listen_fds(3).

Each is known by its name (`FileDescriptorName=` of the socket unit: `http`, `https` or `media`), and one
without such a name by its port: the configured one of the web server or of media. What is not handed over is
opened as usual.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Literal

from sfu.config import Config
from sfu.errors import ConfigError

FIRST = 3
"""The first descriptor that is handed over."""

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

Use = Literal["http", "https", "media"]


@dataclass(slots=True)
class Activated:
    """The sockets that were handed over, by what they are for."""

    http: list[socket.socket] = field(default_factory=list)
    https: list[socket.socket] = field(default_factory=list)
    media_udp: list[socket.socket] = field(default_factory=list)
    media_tcp: list[socket.socket] = field(default_factory=list)


def activated(environ: MutableMapping[str, str], config: Config) -> Activated:
    """Take over what there is. Raises `ConfigError` for a socket that is for nothing.

    The variables are taken out of `environ`: they are not for processes that this one starts.
    """
    pid, count, names = (environ.pop(name, "") for name in _VARIABLES)
    found = Activated()
    if pid != str(os.getpid()) or not count.isdecimal():
        return found
    named = names.split(":") if names else []
    for number in range(int(count)):
        descriptor = FIRST + number
        os.set_inheritable(descriptor, False)
        opened = socket.socket(fileno=descriptor)
        opened.setblocking(False)
        _take(found, opened, named[number] if number < len(named) else "", config)
    return found


def _take(found: Activated, opened: socket.socket, name: str, config: Config) -> None:
    if opened.family not in {socket.AF_INET, socket.AF_INET6}:
        raise ConfigError([f"LISTEN_FDS: {name or 'a socket'} is no socket of IPv4 or IPv6"])
    port = opened.getsockname()[1]
    datagrams = opened.type == socket.SOCK_DGRAM
    if not datagrams and not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError([f"LISTEN_FDS: port {port} is a connection: use Accept=no"])
    match name if name in {"http", "https", "media"} else _by_port(port, config):
        case "media" if datagrams:
            found.media_udp.append(opened)
        case "media":
            found.media_tcp.append(opened)
        case "http" if not datagrams:
            found.http.append(opened)
        case "https" if not datagrams:
            found.https.append(opened)
        case _:
            raise ConfigError(
                [
                    f"LISTEN_FDS: {'UDP' if datagrams else 'TCP'} port {port} is for nothing: "
                    "name it http, https or media (FileDescriptorName=), or configure that port"
                ]
            )


def _by_port(port: int, config: Config) -> str:
    ports = {config.rtc.port: "media", config.server.https_port: "https", config.server.port: "http"}
    return ports.get(port, "")
