"""Session descriptions as plain values: what stands on the lines, in order, without interpretation.

Only what negotiation uses is kept: the origin's numbers, attributes, and m-lines with their
attributes. `c=`, `b=`, `t=` and the like mean nothing under ICE and BUNDLE, and are written as
constants. Spec: RFC 8866.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from sfu.errors import ParseError

MAX_CHARACTERS = 262_144
"""Longest description that is parsed, characters."""
MAX_MEDIA = 200
"""Most m-lines in one description."""
MAX_OFFERED = 64
"""Most m-lines in a publisher's offer: eight times what it may publish, as lines are left and used again."""
MAX_ATTRIBUTES = 5000
"""Most attributes in a publisher's offer: a browser writes some 150 to an m-line with every codec."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]+")
_MEDIA_LINE = re.compile(
    r"([a-z]{1,16}) ([0-9]{1,5})(?:/[0-9]{1,5})? ([A-Za-z0-9/]{1,32})((?: [!-~]{1,64})+) *"
)
_ORIGIN_NUMBER = re.compile(r"-?[0-9]{1,20}")
_make_tuple = tuple.__new__


class Attribute(NamedTuple):
    """`a=name` or `a=name:value`; an empty value is a flag."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attributes:
    """Lookup shared by the session and its m-lines: as fast with thousands of attributes as with few."""

    attributes: tuple[Attribute, ...] = ()
    _values: dict[str, list[str]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        values = self._values
        for name, value in self.attributes:
            if name in values:
                values[name].append(value)
            else:
                values[name] = [value]

    def get(self, name: str) -> str | None:
        """The value of the first attribute of that name, None where there is none."""
        found = self._values.get(name)
        return found[0] if found else None

    def all(self, name: str) -> Sequence[str]:
        """The values of every attribute of that name, in order."""
        return self._values.get(name, ())

    def has(self, name: str) -> bool:
        return name in self._values


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDescription(_Attributes):
    """One m-line with its attributes. `kind` is audio, video, application or anything else a peer wrote."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription(_Attributes):
    """A whole description. `session_id` and `session_version` are the origin line's numbers."""

    session_id: int
    session_version: int
    media: tuple[MediaDescription, ...] = ()


def decimal(text: str, maximum: int) -> int | None:
    """A plain unsigned decimal up to `maximum`, None where `text` is anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    number = int(text)
    return number if number <= maximum else None


def parse(
    text: str, *, most_media: int = MAX_MEDIA, most_attributes: int | None = None
) -> SessionDescription:
    """Read a description with CRLF or LF line ends, of at most so many m-lines and attributes.

    Unknown lines and attributes are kept or skipped, never refused, and so are blank lines. Raises
    `ParseError` where the text is too long, has too many m-lines or attributes, is not made of `x=` lines,
    carries control characters (they could smuggle lines into another peer's description), or has a malformed
    version, origin or m-line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ParseError("sdp-too-long")
    text = text.replace("\r\n", "\n").removesuffix("\r")
    if _CONTROL.search(text):
        raise ParseError("sdp-line")
    if most_attributes is not None and text.count("\na=") > most_attributes:
        raise ParseError("sdp-too-many-attributes")
    lines = [line for line in text.split("\n") if line]
    if not lines or lines[0] != "v=0":
        raise ParseError("sdp-version")
    origin: tuple[int, int] | None = None
    attributes: list[Attribute] = []
    session_attributes = attributes
    sections: list[tuple[str, list[Attribute]]] = []
    for line in lines[1:]:
        if line[1:2] != "=":
            raise ParseError("sdp-line")
        kind, value = line[0], line[2:]
        if kind == "a":
            name, _, rest = value.partition(":")
            if not _is_token(name):
                raise ParseError("sdp-attribute")
            # Half the time of a call of `Attribute`, of which an offer may take thousands.
            attributes.append(_make_tuple(Attribute, (name, rest)))
        elif kind == "m":
            if len(sections) == most_media:
                raise ParseError("sdp-too-many-media")
            attributes = []
            sections.append((value, attributes))
        elif kind == "o" and origin is None:
            origin = _parse_origin(value)
    if origin is None:
        raise ParseError("sdp-origin")
    return SessionDescription(
        session_id=origin[0],
        session_version=origin[1],
        attributes=tuple(session_attributes),
        media=tuple(_parse_media(value, tuple(found)) for value, found in sections),
    )


def format(description: SessionDescription) -> str:
    """The description as text with CRLF line ends; `parse` reads it back equal."""
    lines = [
        "v=0",
        f"o=- {description.session_id} {description.session_version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
    ]
    lines += [_format_attribute(attribute) for attribute in description.attributes]
    for media in description.media:
        lines.append(f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}")
        lines.append("c=IN IP4 0.0.0.0")
        lines += [_format_attribute(attribute) for attribute in media.attributes]
    return "\r\n".join(lines) + "\r\n"


def _parse_origin(value: str) -> tuple[int, int]:
    """Session id and version, modulo 2^64. Gateways write user names with spaces, Java signed numbers."""
    fields = value.rsplit(" ", 5)
    if len(fields) != 6 or not all(_ORIGIN_NUMBER.fullmatch(field) for field in fields[1:3]):
        raise ParseError("sdp-origin")
    return int(fields[1]) % 2**64, int(fields[2]) % 2**64


@lru_cache(maxsize=1024)
def _is_token(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _parse_media(value: str, attributes: tuple[Attribute, ...]) -> MediaDescription:
    match = _MEDIA_LINE.fullmatch(value)
    port = decimal(match[2], 65535) if match else None
    if match is None or port is None:
        raise ParseError("sdp-media-line")
    formats = tuple(match[4].split(" ")[1:])
    return MediaDescription(
        kind=match[1], port=port, protocol=match[3], formats=formats, attributes=attributes
    )


def _format_attribute(attribute: Attribute) -> str:
    return f"a={attribute.name}:{attribute.value}" if attribute.value else f"a={attribute.name}"
