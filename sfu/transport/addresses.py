"""Which addresses clients are told, and as what candidates."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from urllib.parse import urlsplit

import ifaddr

from sfu.config import RtcConfig
from sfu.errors import ConfigError, ParseError
from sfu.faults import start_fault
from sfu.transport import stun
from sfu.transport.ice import priority

log = logging.getLogger(__name__)

HOST_PREFERENCE = 126
"""Spec: RFC 8445 section 5.1.2.2."""
STUN_TRIES = 3
STUN_WAIT_S = 1.0
STUN_PORT = 3478
RESOLVE_WAIT_S = 5.0


async def find(config: RtcConfig, sockets: list[socket.socket], port: int) -> tuple[str, ...]:
    """Candidate attributes of what `sockets` are bound to, as `config` wants them announced."""
    try:
        hosts = announced([sock.getsockname()[0] for sock in sockets], config.announce)
    except OSError as error:
        hint = "name the machine's addresses here, or allow sockets of the family AF_NETLINK"
        raise start_fault("rtc.announce", error, hint) from error
    if config.stun_server:
        try:
            public = await discover_public_address(config.stun_server, sockets[0])
            hosts = list(dict.fromkeys([*hosts, public]))
        except OSError as error:
            log.warning("no public address found: %s", error)
    if hosts and all(map(_is_loopback, hosts)):
        log.warning(
            "media is reached on this machine alone, and not by Firefox, which uses no loopback address"
        )
    return candidates(hosts, port, tcp=config.tcp)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # A name, which stands for an address that the clients look up.


def announced(bound: list[str], configured: tuple[str, ...]) -> list[str]:
    """Addresses for candidates: the configured ones, else those the bound sockets are reached at.

    Loopback is announced only where nothing else is, or where it was bound by name. Raises `OSError` where
    the system does not tell the machine's addresses.
    """
    if configured:
        return list(configured)
    found: list[str] = []
    for host in bound:
        address = ipaddress.ip_address(host)
        if not address.is_unspecified:
            found.append(host)
            continue
        own = machine_addresses(address.version)
        found += own or (["127.0.0.1"] if address.version == 4 else [])
    return list(dict.fromkeys(found))


def machine_addresses(version: int) -> list[str]:
    """This machine's addresses of one IP version, without loopback and link-local ones.

    Raises `OSError` where the system does not tell them (no AF_NETLINK).
    """
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text.partition("%")[0])
            if address.version == version and not (address.is_loopback or address.is_link_local):
                found.append(str(address))
    return found


def candidates(hosts: list[str], port: int, *, tcp: bool) -> tuple[str, ...]:
    """Candidate attributes without `candidate:`, UDP first. Spec: RFC 8839 5.1, RFC 6544 4.5."""
    lines = []
    for number, host in enumerate(hosts):
        lines.append(f"{number + 1} 1 udp {priority(HOST_PREFERENCE, 65535 - number)} {host} {port} typ host")
    if tcp:
        for number, host in enumerate(hosts):
            # Direction preference 4 (passive), and below every UDP candidate. RFC 6544 section 4.2.
            rank = priority(HOST_PREFERENCE - 36, (4 << 13) + 8191 - number)
            lines.append(f"{number + 101} 1 tcp {rank} {host} {port} typ host tcptype passive")
    return tuple(lines)


async def discover_public_address(server: str, sock: socket.socket) -> str:
    """Our address as the STUN server at `host:port` (port 3478 by default) sees it, within some seconds.

    Raises `OSError` when it is not found or does not answer, `ConfigError` where `server` is malformed.
    """
    host, port = _host_and_port(server)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_WAIT_S):
        found = await loop.getaddrinfo(host, port, family=sock.family, type=socket.SOCK_DGRAM)
    for _ in range(STUN_TRIES):
        transaction = os.urandom(12)
        await loop.sock_sendto(sock, stun.build(stun.BINDING_REQUEST, transaction, []), found[0][4])
        try:
            async with asyncio.timeout(STUN_WAIT_S):
                while True:
                    answer = await loop.sock_recv(sock, stun.MAX_SIZE)
                    try:
                        message = stun.parse(answer)
                        if message.transaction_id == transaction:
                            return stun.mapped_address(message)[0]
                    except ParseError:
                        continue
        except TimeoutError:
            continue
    raise OSError(f"the STUN server {server} does not answer")


def _host_and_port(server: str) -> tuple[str, int]:
    """Split `host`, `host:port` or `[address]:port`."""
    try:
        parts = urlsplit(f"//{server}")
        if not parts.hostname:
            raise ValueError
        return parts.hostname, parts.port or STUN_PORT
    except ValueError:
        raise ConfigError([f"rtc.stun_server: {server} is not host:port"]) from None
