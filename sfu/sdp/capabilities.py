"""What the server can forward: codecs with the parameters that matter, feedback, header extensions.

The server never decodes, so a codec is supported when its payload can be forwarded and its
keyframes be found. A codec's `fmtp` is rewritten to its canonical form: only known parameters with
checked values pass from a publisher to its subscribers, so that nobody can write lines into another
peer's description or use up its payload types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from sfu.rtp.parameters import ExtensionIds, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecCapability:
    """One forwarded codec as `a=rtpmap` writes it. `name` is lower case, `label` the registered spelling."""

    name: str
    label: str
    kind: Kind
    clock_rate: int
    channels: int = 1


CODECS: Mapping[str, CodecCapability] = {
    codec.name: codec
    for codec in (
        CodecCapability(name="opus", label="opus", kind="audio", clock_rate=48000, channels=2),
        CodecCapability(name="red", label="red", kind="audio", clock_rate=48000, channels=2),
        CodecCapability(name="vp8", label="VP8", kind="video", clock_rate=90000),
        CodecCapability(name="vp9", label="VP9", kind="video", clock_rate=90000),
        CodecCapability(name="h264", label="H264", kind="video", clock_rate=90000),
        CodecCapability(name="av1", label="AV1", kind="video", clock_rate=90000),
    )
}
"""Forwarded codecs by lower-case name. RTX belongs to a video codec and is not listed."""

FEEDBACK: Mapping[Kind, tuple[str, ...]] = {
    "audio": ("transport-cc", "nack"),
    "video": ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"),
}
"""RTCP feedback accepted from a publisher where it offers it. Spec: RFC 4585, RFC 5104."""

SUBSCRIBE_FEEDBACK: Mapping[Kind, tuple[str, ...]] = {
    "audio": ("transport-cc",),
    "video": FEEDBACK["video"],
}
"""RTCP feedback offered to subscribers."""

EXTENSION_URIS: Mapping[str, str] = {
    "mid": "urn:ietf:params:rtp-hdrext:sdes:mid",
    "rid": "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "repaired_rid": "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "transport_cc": "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "abs_send_time": "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "audio_level": "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "dependency_descriptor": (
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
    ),
    "playout_delay": "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
}
"""Header-extension URI of each field of `ExtensionIds`."""

assert set(EXTENSION_URIS) == {field.name for field in fields(ExtensionIds)}

EXTENSIONS: Mapping[Kind, tuple[str, ...]] = {
    "audio": ("mid", "transport_cc", "abs_send_time", "audio_level"),
    "video": (
        "mid",
        "rid",
        "repaired_rid",
        "transport_cc",
        "abs_send_time",
        "dependency_descriptor",
        "playout_delay",
    ),
}
"""Extensions (fields of `ExtensionIds`) accepted from a publisher.

To take one is a promise for everybody who receives, now and later. The video orientation is none of them:
Firefox, recordings and most programs do not turn pictures. Where it is not taken, the publisher turns them.
"""

SUBSCRIBE_EXTENSION_IDS: Mapping[str, int] = {
    "mid": 1,
    "abs_send_time": 2,
    "transport_cc": 3,
    "audio_level": 4,
    "playout_delay": 6,
    "dependency_descriptor": 7,
}
"""Ids offered to subscribers. RIDs end at the server: a subscriber gets one stream for each m-line."""

_BIT = re.compile(r"[01]")
_PROFILE_LEVEL_ID = re.compile(r"[0-9a-fA-F]{6}")
_SMALL_NUMBER = re.compile(r"[0-9]{1,2}")
_MOST: Mapping[str, int] = {"profile-id": 3, "level-idx": 31, "profile": 2, "tier": 1}
"""The largest value of parameters that are numbers. Spec: RFC 9628 section 6, AV1 RTP section 7.2."""

_H264_PROFILES: tuple[tuple[int, int, int, str], ...] = (
    (0x42, 0x4F, 0x40, "42e0"),
    (0x4D, 0x8F, 0x80, "42e0"),
    (0x58, 0xCF, 0xC0, "42e0"),
    (0x58, 0xCF, 0x80, "4200"),
    (0x64, 0x0F, 0x0C, "640c"),
    (0x42, 0x00, 0x00, "4200"),
    (0x4D, 0x00, 0x00, "4d00"),
    (0x64, 0x00, 0x00, "6400"),
    (0x6E, 0x00, 0x00, "6e00"),
    (0x7A, 0x00, 0x00, "7a00"),
    (0xF4, 0x00, 0x00, "f400"),
)
"""`profile_idc`, the bits of `profile-iop` that count, their value, and how the profile is written to
subscribers; the first that fits counts. Spec: RFC 6184 section 8.1, table 5."""
_H264_LEVEL = "1f"
"""Browsers write 3.1 whatever they send, and ignore what others write. Spec: RFC 6184 section 8.1."""


def parameters(fmtp: str) -> dict[str, str]:
    """`key=value;...` as a mapping with lower-case keys; the first of equal keys wins."""
    found: dict[str, str] = {}
    for item in fmtp.split(";"):
        key, separator, value = item.strip().partition("=")
        if key:
            found.setdefault(key.strip().lower(), value.strip() if separator else "")
    return found


def canonical_fmtp(name: str, fmtp: str) -> str | None:
    """The `fmtp` of codec `name` reduced to what is forwarded to subscribers; None: not forwardable.

    `red` has none of its own here, because it names payload types.
    """
    given = parameters(fmtp)
    match name:
        case "opus":
            return _opus(given)
        case "h264":
            return _h264(given)
        case "vp9":
            return _kept(given, ("profile-id",))
        case "av1":
            return _kept(given, ("level-idx", "profile", "tier"))
        case "vp8" | "red":
            return ""
        case _:
            return None


def offered_fmtp(name: str, fmtp: str) -> str:
    """The `fmtp` that subscribers are offered, of a canonical one.

    Only what tells decoders apart is left of it, and that takes few values: all of them together have payload
    types on one transport, so no choice of publishers leaves another one without.
    """
    given = parameters(fmtp)
    match name:
        case "opus":
            return ";".join(part for part in fmtp.split(";") if part != "usedtx=1")
        case "h264":
            mode, profile = given["packetization-mode"], _h264_profile(given.get("profile-level-id"))
            return (
                f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}{_H264_LEVEL}"
            )
        case "vp9":
            return f"profile-id={given.get('profile-id', '0')}"
        case "av1":
            return f"level-idx=5;profile={given.get('profile', '0')};tier=0"
        case _:
            return fmtp


def is_baseline(fmtp: str) -> bool:
    """Whether a canonical `fmtp` of H264 is of a profile that every decoder of it has."""
    return _h264_profile(parameters(fmtp).get("profile-level-id")) in {"42e0", "4200"}


def _opus(given: Mapping[str, str]) -> str:
    """In-band FEC is always wanted, DTX and stereo are the publisher's choice. Spec: RFC 7587 section 6.1.

    A publisher that says either of stereo means both: it wants to be asked for stereo, and sends it.
    """
    stereo = "1" in (given.get("stereo"), given.get("sprop-stereo"))
    chosen = ["stereo=1", "sprop-stereo=1"] if stereo else []
    if given.get("usedtx") == "1":
        chosen.append("usedtx=1")
    return ";".join(["minptime=10", "useinbandfec=1", *chosen])


def _h264(given: Mapping[str, str]) -> str | None:
    """Single NAL and non-interleaved modes only. Spec: RFC 6184 section 8.1."""
    mode = given.get("packetization-mode", "0")
    profile = given.get("profile-level-id")
    if not _BIT.fullmatch(mode) or (profile is not None and not _PROFILE_LEVEL_ID.fullmatch(profile)):
        return None
    if _h264_profile(profile) is None:
        return None
    kept = ["level-asymmetry-allowed=1"] if given.get("level-asymmetry-allowed") == "1" else []
    kept.append(f"packetization-mode={mode}")
    if profile is not None:
        kept.append(f"profile-level-id={profile.lower()}")
    return ";".join(kept)


def _h264_profile(profile_level_id: str | None) -> str | None:
    """How subscribers know the profile; None where nobody knows it."""
    if profile_level_id is None:
        return "42e0"
    idc, iop = int(profile_level_id[:2], 16), int(profile_level_id[2:4], 16)
    fitting = (name for known, mask, bits, name in _H264_PROFILES if (known, bits) == (idc, iop & mask))
    return next(fitting, None)


def _kept(given: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    values = {name: given[name] for name in names if name in given}
    if not all(_SMALL_NUMBER.fullmatch(v) and int(v) <= _MOST[name] for name, v in values.items()):
        return None
    return ";".join(f"{name}={int(value)}" for name, value in values.items())
