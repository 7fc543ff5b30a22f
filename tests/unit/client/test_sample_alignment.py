"""Samples and pictures of the Python client are timed by one clock, as docs/protocol.md promises."""

from __future__ import annotations

import numpy as np

from sfu_client import VideoSource
from sfu_client.publish import LocalPublication, _Outlet
from sfu_client.telemetry import now_ms

NTP_TO_UNIX_S = 2_208_988_800
"""From 1900 to 1970. Spec: RFC 5905 section 6."""


async def test_a_sample_between_push_and_sending_is_of_the_pictures_time() -> None:
    source = VideoSource()
    outlet = _Outlet(LocalPublication(source, "camera", "", None, 0))
    before_ms = now_ms()
    source.push(np.zeros((16, 16, 3), np.uint8))
    await outlet.recv()
    after_ms = now_ms()
    captured_ms = (outlet.captured_ntp / (1 << 32) - NTP_TO_UNIX_S) * 1000
    # Samples are in whole milliseconds, rounded down.
    assert before_ms - 1 <= captured_ms <= after_ms + 1
    outlet.stop()
    source.stop()
