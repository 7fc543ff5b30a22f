"""RTP parameters of one leg as negotiation finds them and the media plane uses them: plain values.

They live below both, so that negotiation needs no media plane and a plane needs no SDP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One negotiated media payload type with its retransmission payload type.

    `name` is lower case (`opus`, `red`, `vp8`, `vp9`, `h264`, `av1`); `rtx_payload_type` is None
    where RTX was not negotiated.
    """

    name: str
    payload_type: int
    clock_rate: int
    rtx_payload_type: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionIds:
    """RTP header-extension ids of one leg; 0 means not negotiated. Spec: RFC 8285."""

    mid: int = 0
    rid: int = 0
    repaired_rid: int = 0
    transport_cc: int = 0
    abs_send_time: int = 0
    audio_level: int = 0
    dependency_descriptor: int = 0
    playout_delay: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingSsrcs:
    """SSRCs announced in the publisher's SDP (`a=ssrc`, `a=ssrc-group:FID`), where it announced any."""

    ssrc: int
    rtx_ssrc: int | None = None
