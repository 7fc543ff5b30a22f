"""Forms of configured texts: each checks one text and returns what it should be, empty where it is right."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

Form = Callable[[str], str]
"""Checks one text: returns what it should be, empty where it is right."""

MIN_SECRET_BYTES = 32
"""Of what signs tokens."""

_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$"
)
_DIGITS_ONLY = re.compile(r"[0-9.]+$")


def text(value: str) -> str:
    """Any text of one line."""
    return ""


def one_of(*words: str) -> Form:
    """One of `words`."""
    return lambda value: "" if value in words else f"one of {', '.join(words)}"


def address(value: str) -> str:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "an IPv4 or IPv6 address"
    return ""


def host(value: str) -> str:
    """An address or the name of a host."""
    is_name = _HOST_NAME.match(value) and not _DIGITS_ONLY.match(value)
    return "" if not value or is_name or not address(value) else "an address or the name of a host"


def host_port(value: str) -> str:
    """A host and a port, as in `stun.example.org:3478` or `[2001:db8::1]:3478`."""
    try:
        parsed = urlsplit(f"//{value}")
        good = not value or (
            parsed.netloc == value and not parsed.username and parsed.hostname and parsed.port
        )
    except ValueError:
        good = False
    return "" if good else "HOST:PORT"


def url(*schemes: str) -> Form:
    """A URL with a host and one of `schemes`."""

    def check(value: str) -> str:
        try:
            parsed = urlsplit(value)
            good = not value or (parsed.scheme in schemes and parsed.hostname and parsed.port != 0)
        except ValueError:
            good = False
        return "" if good else f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    return check


def origin(value: str) -> str:
    """What browsers send as `Origin`, or `*`."""
    try:
        parsed = urlsplit(value)
        good = value == "*" or (
            parsed.netloc and value == f"{parsed.scheme}://{parsed.netloc}" and parsed.port != 0
        )
    except ValueError:
        good = False
    return "" if good else "an origin such as https://app.example.org, or *"


def begins(*starts: str) -> Form:
    """A text that begins with one of `starts`, and goes on."""
    return lambda value: (
        "" if value.startswith(starts) and value not in starts else f"begins with {' or '.join(starts)}"
    )


def module(value: str) -> str:
    """The dotted name of a Python module."""
    return "" if all(part.isidentifier() for part in value.split(".")) else "the name of a Python module"


# --- forms of single keys ---------------------------------------------------------------------------


def api_key(value: str) -> str:
    """`key:secret`, the secret long enough to sign with."""
    name, _, secret = value.partition(":")
    if not name or not secret:
        return "'key:secret'"
    # HS256 is as strong as its key: a shorter one can be found by trying. Spec: RFC 7518 section 3.2.
    short = len(secret.encode()) < MIN_SECRET_BYTES
    return f"a secret of at least {MIN_SECRET_BYTES} bytes (openssl rand -hex 32 makes one)" if short else ""


def key_set(value: str) -> str:
    """The URL of a JSON Web Key Set."""
    here = urlsplit(value).hostname in {"127.0.0.1", "::1", "localhost"}
    good = not url("https", "http" if here else "https")(value)
    return "" if good else "a URL with https, or http on this machine"


def bucket(value: str) -> str:
    """`s3://BUCKET` and perhaps a prefix."""
    return (
        ""
        if not value or (urlsplit(value).scheme == "s3" and urlsplit(value).netloc)
        else "s3://BUCKET or s3://BUCKET/PREFIX"
    )


def database(value: str) -> str:
    """The URL of a database, or `temporary`."""
    good = value in {"", "temporary"} or value.partition(":")[0].partition("+")[0] in {
        "sqlite",
        "postgresql",
        "postgres",
    }
    return "" if good else "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


def webhook_secret(value: str) -> str:
    """A text, or `whsec_` and Base64."""
    if value.startswith("whsec_"):
        try:
            base64.b64decode(value.removeprefix("whsec_"), validate=True)
        except ValueError:
            return "Base64 after whsec_"
    return ""


def level(value: str) -> str:
    """A level of logging."""
    return one_of("debug", "info", "warning", "error")(value.lower())
