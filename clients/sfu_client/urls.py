"""URLs as they may be logged and printed."""

from __future__ import annotations

import re

_AUTHORITY_END = re.compile(r"[/?#]")
_VALUE = re.compile(r"(?<==)[^&#]+")


def without_password(url: str) -> str:
    """`url` without user, password and the values of its query; another text as it is.

    >>> without_password("rtsp://user:pass@cam/stream?key=abc")
    'rtsp://cam/stream?key=***'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    if "@" in authority:
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    elif ":" in authority and not authority.rpartition(":")[2].isdecimal():
        # No port, so a password with a character that should have been escaped.
        rest = rest.rpartition("@")[2]
    path, mark, query = rest.partition("?")
    return f"{scheme}://{path}{mark}{_VALUE.sub('***', query)}"
