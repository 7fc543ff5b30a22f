"""What is said of Opus in this client's offers."""

from __future__ import annotations

import re

_RTPMAP = re.compile(r"(?im)^a=rtpmap:(\d+) opus/48000/2\r?$")


def announce_stereo(sdp: str) -> str:
    """The offer with what aiortc leaves out: its encoder always makes stereo. Spec: RFC 7587 section 6.1.

    Whoever listens is told by the server; browsers play as mono what is not announced.
    """
    return _RTPMAP.sub(lambda found: f"{found[0].rstrip()}\r\na=fmtp:{found[1]} sprop-stereo=1\r", sdp)
