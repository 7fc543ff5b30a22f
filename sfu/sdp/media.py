"""What an RTP m-line says, read as typed values. Malformed attributes are skipped, as an unknown one is."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from sfu.rtp.parameters import EncodingSsrcs
from sfu.sdp.capabilities import parameters
from sfu.sdp.model import MediaDescription, decimal

MAX_RIDS = 8
"""Encodings accepted from one m-line."""
MAX_SSRCS = 32
"""SSRCs read from one m-line."""

_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,64}")
_RID = re.compile(r"[0-9A-Za-z_-]{1,16}")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpCodec:
    """One payload type of an m-line. `name` is lower case, `fmtp` and `feedback` as written."""

    name: str
    payload_type: int
    clock_rate: int
    channels: int
    fmtp: str
    feedback: frozenset[str]

    def apt(self) -> int | None:
        """The payload type that an RTX codec repairs. Spec: RFC 4588 section 8.1."""
        return decimal(parameters(self.fmtp).get("apt", ""), 127) if self.name == "rtx" else None


def mid(media: MediaDescription) -> str:
    """The m-line's identification, empty where it has no usable one. Spec: RFC 5888."""
    value = media.get("mid") or ""
    return value if _MID.fullmatch(value) else ""


def direction(media: MediaDescription) -> str:
    """`sendrecv` (the default), `sendonly`, `recvonly` or `inactive`."""
    return next((name for name in _DIRECTIONS if media.has(name)), "sendrecv")


def sends(media: MediaDescription) -> bool:
    return direction(media) in {"sendrecv", "sendonly"}


def codecs(media: MediaDescription) -> tuple[RtpCodec, ...]:
    """The m-line's codecs in the order of its formats, without those whose `a=rtpmap` is missing or wrong.

    Payload types 64 to 95 are left out: with rtcp-mux they read as RTCP. Spec: RFC 5761 section 4.
    """
    maps = _by_payload_type(media, "rtpmap")
    fmtp = _by_payload_type(media, "fmtp")
    feedback = _by_payload_type(media, "rtcp-fb")
    found: dict[int, RtpCodec] = {}
    for payload_type in (decimal(text, 127) for text in media.formats):
        if payload_type is None or 64 <= payload_type < 96 or payload_type in found:
            continue
        name, _, rest = (
            maps[str(payload_type)][0].partition("/") if str(payload_type) in maps else ("", "", "")
        )
        rate_text, _, channels_text = rest.partition("/")
        clock_rate, channels = decimal(rate_text, 1_000_000), decimal(channels_text or "1", 255)
        if not name or not clock_rate or not channels:
            continue
        key = str(payload_type)
        found[payload_type] = RtpCodec(
            name=name.lower(),
            payload_type=payload_type,
            clock_rate=clock_rate,
            channels=channels,
            fmtp=fmtp[key][0] if key in fmtp else "",
            feedback=frozenset(feedback.get(key, ()) + feedback.get("*", ())),
        )
    return tuple(found.values())


def extensions(media: MediaDescription) -> dict[str, tuple[int, str]]:
    """Header extensions by URI: id and direction (empty for both ways). Spec: RFC 8285 section 5.

    Ids outside 1..255, 15 (reserved in the one-byte form) and a second use of an id are left out.
    """
    found: dict[str, tuple[int, str]] = {}
    taken: set[int] = set()
    for value in media.all("extmap"):
        entry, _, rest = value.partition(" ")
        uri = rest.split(" ", 1)[0]
        number, _, way = entry.partition("/")
        extension_id = decimal(number, 255)
        if extension_id and extension_id != 15 and uri and uri not in found and extension_id not in taken:
            found[uri] = (extension_id, way)
            taken.add(extension_id)
    return found


def send_rids(media: MediaDescription, payload_type: int) -> tuple[str, ...]:
    """The RIDs the peer wants to send with that payload type, in its order; empty without simulcast.

    Of alternatives (`a,b`) the first counts, a paused one (`~a`) counts as it can be resumed.
    Spec: RFC 8851, RFC 8853 section 5.
    """
    declared: dict[str, bool] = {}
    for value in media.all("rid"):
        fields = value.split(" ", 2)
        if len(fields) >= 2 and fields[1] == "send" and _RID.fullmatch(fields[0]):
            allowed = parameters(fields[2]).get("pt") if len(fields) == 3 else None
            declared[fields[0]] = allowed is None or str(payload_type) in allowed.split(",")
    simulcast = (media.get("simulcast") or "").split(" ")
    streams = dict(zip(simulcast[::2], simulcast[1::2], strict=False)).get("send")
    listed = (
        list(declared)
        if streams is None
        else [stream.split(",")[0].removeprefix("~") for stream in streams.split(";")]
    )
    return tuple(dict.fromkeys(rid for rid in listed if declared.get(rid)))[:MAX_RIDS]


def ssrcs(media: MediaDescription) -> tuple[EncodingSsrcs, ...]:
    """The SSRCs announced with their RTX ones, in order; repair SSRCs do not stand by themselves.

    Spec: RFC 5576, RFC 4588 section 8.8 (FID).
    """
    announced: dict[int, None] = {}
    for value in media.all("ssrc"):
        ssrc = decimal(value.split(" ", 1)[0], 2**32 - 1)
        if ssrc is not None and len(announced) < MAX_SSRCS:
            announced[ssrc] = None
    rtx: dict[int, int] = {}
    repairs: set[int] = set()
    for value in media.all("ssrc-group"):
        semantics, *members = value.split(" ")
        numbers = [decimal(member, 2**32 - 1) for member in members]
        if semantics in {"FID", "FEC-FR"} and len(numbers) == 2:
            source, repair = numbers
            if source in announced and repair in announced and source != repair:
                repairs.add(repair)
                if semantics == "FID":
                    rtx[source] = repair
    return tuple(
        EncodingSsrcs(ssrc=ssrc, rtx_ssrc=rtx.get(ssrc)) for ssrc in announced if ssrc not in repairs
    )


def _by_payload_type(media: MediaDescription, name: str) -> dict[str, tuple[str, ...]]:
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for value in media.all(name):
        payload_type, _, rest = value.partition(" ")
        grouped[payload_type].append(rest.strip(" "))
    return {payload_type: tuple(values) for payload_type, values in grouped.items()}
