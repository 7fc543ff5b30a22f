"""The subscribe transport: the server offers what others publish."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from aiortc import RTCConfiguration, RTCRtpTransceiver, RTCSessionDescription

from sfu_client import _aiortc, remote_sdp
from sfu_client.peer import Peer

logger = logging.getLogger(__name__)

_MID = re.compile(r"^a=mid:(\S+)", re.MULTILINE)


class SubscribeTransport:
    """One RTCPeerConnection that only receives.

    `on_track(publication id, MediaStreamTrack)` and `on_track_gone(publication id)` are awaited nowhere:
    they must not block. `on_lost(reason)` tells that the transport is gone.
    """

    def __init__(
        self,
        configuration: RTCConfiguration,
        *,
        on_track: Callable[[str, Any], None],
        on_track_gone: Callable[[str], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._peer = Peer("subscribe", configuration, on_lost)
        self._pc = self._peer.pc
        self._on_track = on_track
        self._on_track_gone = on_track_gone
        self._publications: dict[str, str] = {}

    async def answer(self, sdp: str, media: list[dict[str, Any]]) -> str:
        """Apply an offer and return the answer's SDP."""
        await self._peer.ready()
        offered = {str(item["mid"]): str(item["publication"]) for item in media}
        for mid, publication in list(self._publications.items()):
            if offered.get(mid) != publication:
                del self._publications[mid]
                self._on_track_gone(publication)
                line = self._line(mid)
                if line is not None:
                    await _aiortc.renew_receiver(line)
        present = set(_MID.findall(sdp))
        for line in self._pc.getTransceivers():
            if line.mid is not None and line.mid not in present:
                _aiortc.forget_line(self._pc, line)
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=remote_sdp.adapt(sdp), type="offer"))
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        self._peer.started()
        for mid, publication in offered.items():
            line = self._line(mid)
            track = line.receiver.track if line is not None else None
            if track is not None and mid not in self._publications:
                self._publications[mid] = publication
                self._on_track(publication, track)
        return str(self._pc.localDescription.sdp)

    def backlogs(self) -> dict[str, int]:
        """Encoded frames that wait for the decoder, by publication."""
        waiting = {}
        for mid, publication in self._publications.items():
            line = self._line(mid)
            if line is not None:
                waiting[publication] = _aiortc.decoder_backlog(line.receiver)
        return waiting

    async def settle(self) -> None:
        """Wait, a second at most, while the transport is connecting."""
        await self._peer.settle()

    async def close(self) -> None:
        """Stop receiving and close the transport."""
        self._publications.clear()
        await self._peer.close()

    def _line(self, mid: str) -> RTCRtpTransceiver | None:
        return next((line for line in self._pc.getTransceivers() if line.mid == mid), None)
