"""Addresses of hosts: as text, and what one host is where something is counted for each."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

PREFIX = 64
"""Bits of an IPv6 address that a provider gives to one customer at least."""


@lru_cache(maxsize=4096)
def host_key(address: str) -> str:
    """One text for all addresses of a host; whatever is no address is its own.

    >>> host_key("2001:db8::1") == host_key("2001:db8::2:1")
    True
    >>> host_key("::ffff:192.0.2.1")
    '192.0.2.1'
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> PREFIX << PREFIX, PREFIX)))
    return str(parsed)


def endpoint(address: str, port: int) -> str:
    """Address and port as one text.

    >>> endpoint("::", 7880)
    '[::]:7880'
    """
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
