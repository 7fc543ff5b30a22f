"""The server's descriptions, made fit for aiortc's RTCPeerConnection. Pure text functions.

One m-line without a codec that aiortc knows (VP9, AV1) makes it refuse the whole description; and it
refuses H264 profiles above baseline, though its decoder takes them all.
"""

from __future__ import annotations

import re

KNOWN_CODECS = {"audio": frozenset({"opus"}), "video": frozenset({"vp8", "h264"})}

_RTPMAP = re.compile(r"a=rtpmap:(\d+) ([^/\s]+)/")
_PACKETIZATION_1 = re.compile(r"a=fmtp:(\d+) .*packetization-mode=1(?!\d)")
_HIGHER_PROFILE = re.compile(r"profile-level-id=(?!42)[0-9a-f]{6}", re.IGNORECASE)
_CODEC_LINES = ("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=ssrc:", "a=ssrc-group:", "a=msid:")
_DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly")


def adapt(sdp: str) -> str:
    """`sdp` with H264 as baseline, and m-lines of unknown codecs inactive.

    An unknown codec's m-line is presented as inactive VP8 under the same payload type. The answer then
    names VP8 where another codec was offered, which tells the server that nothing was agreed, and the
    m-line stays usable for the next publication.
    """
    lines = _HIGHER_PROFILE.sub("profile-level-id=42e01f", sdp).replace("\r\n", "\n").rstrip("\n").split("\n")
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    head = lines[: starts[0]] if starts else lines
    sections = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    adapted: list[str] = list(head)
    for section in sections:
        adapted += section if _usable(section) else _as_inactive(section)
    return "\r\n".join(adapted) + "\r\n"


def _usable(section: list[str]) -> bool:
    kind = section[0][2:].split(" ", 1)[0]
    known = KNOWN_CODECS.get(kind)
    if known is None:
        return True
    names = {match[1]: match[2].lower() for line in section if (match := _RTPMAP.match(line))}
    fragmentable = {match[1] for line in section if (match := _PACKETIZATION_1.match(line))}
    return any(name in known and (name != "h264" or number in fragmentable) for number, name in names.items())


def _as_inactive(section: list[str]) -> list[str]:
    kind, port, protocol, *formats = section[0][2:].split(" ")
    codec = "VP8/90000" if kind == "video" else "opus/48000/2"
    kept = [line for line in section[1:] if not line.startswith(_CODEC_LINES) and line not in _DIRECTIONS]
    if "a=inactive" not in kept:
        kept.append("a=inactive")
    return [f"m={kind} {port} {protocol} {formats[0]}", *kept, f"a=rtpmap:{formats[0]} {codec}"]
