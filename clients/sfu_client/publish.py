"""The publish transport: this client offers its tracks and the two data channels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
    clock,
)
from aiortc.mediastreams import MediaStreamError
from av import Packet

from sfu_client import _aiortc, opus, remote_sdp, simulcast
from sfu_client.adaptation import SentEncoding
from sfu_client.capture_time import CaptureClock, CapturedTrack, ntp
from sfu_client.errors import RefusedError, UnavailableError
from sfu_client.peer import Peer
from sfu_client.signalling import Signalling

logger = logging.getLogger(__name__)

RELIABLE, LOSSY = "reliable", "lossy"
DEFAULT_VIDEO_BPS = 1_500_000
BUFFERED_BYTES = 262_144
"""`send` on the reliable channel waits while more than this is queued."""
LOSSY_BUFFERED_BYTES = 65_536
"""With more than this queued a lossy message would be stale when it comes: it is dropped."""


class LocalPublication:
    """One of this client's own tracks in the room; survives reconnections. Made by `Room.publish`."""

    def __init__(
        self,
        track: MediaStreamTrack,
        source: str,
        name: str,
        codec: str | None,
        bitrate_bps: int,
        simulcast: bool = False,
    ) -> None:
        self.track = track
        self.source = source
        self.name = name
        self.codec = codec
        self.bitrate_bps = bitrate_bps
        self.simulcast = simulcast
        self.muted = False
        self.watched = True
        """Whether anybody has use for it, as the server says."""
        self.id = ""
        """The server's id, empty while the server does not know the track; a new one after a reconnection."""
        self.on_ended: Callable[[], None] | None = None
        self.on_refused: Callable[[RefusedError], None] | None = None
        """Called when the server does not take it again after a reconnection."""
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def kind(self) -> str:
        return str(self.track.kind)

    def forget_end(self) -> None:
        """Stop listening to the track's end."""
        if self.on_ended is not None and self.track.readyState == "live":
            self.track.remove_listener("ended", self.on_ended)
        self.on_ended = None


class _Outlet(CapturedTrack):
    """What a sender reads: the user's track behind a stand-in that may be stopped with its connection."""

    def __init__(self, publication: LocalPublication) -> None:
        super().__init__()
        self.kind = publication.kind
        self._publication = publication
        self._clock = CaptureClock()
        self._awaits_keyframe = False

    async def recv(self) -> Any:
        while self.readyState == "live":
            track = self._publication.track
            data: Any = await track.recv()
            read_s = clock.current_ntp_time() / (1 << 32) - getattr(track, "delay_s", 0.0)
            self.captured_ntp = ntp(self._clock.at(float(data.pts * data.time_base), read_s))
            if self._publication.muted or not self._publication.watched:
                self._awaits_keyframe = True
                continue
            if isinstance(data, Packet) and self._awaits_keyframe and not data.is_keyframe:
                continue  # encoded elsewhere: nobody can decode what follows a gap
            self._awaits_keyframe = False
            return data
        raise MediaStreamError


class PublishTransport:
    """One RTCPeerConnection that only sends. `on_data(label, bytes)`, `on_lost(reason)` are its callbacks."""

    def __init__(
        self,
        configuration: RTCConfiguration,
        *,
        on_data: Callable[[str, bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._peer = Peer("publish", configuration, on_lost)
        self._pc = self._peer.pc
        self._on_data = on_data
        self._lines: dict[LocalPublication, RTCRtpTransceiver] = {}
        self._channels: dict[str, RTCDataChannel] = {}
        self._opened = asyncio.Event()
        self._closed = False

    @property
    def negotiated(self) -> bool:
        """Whether the first offer was made."""
        return bool(self._channels)

    async def negotiate(self, publications: Sequence[LocalPublication], signalling: Signalling) -> None:
        """Bring the server to know exactly `publications`.

        Resolves each one's `accepted`, with `RefusedError` where the server does not take it. Raises
        `RefusedError` where it refuses the offer as a whole, `UnavailableError` when the connection is lost.
        """
        await self._peer.ready()
        for gone in [item for item in self._lines if item not in publications]:
            await self._withdraw(gone)
        for publication in publications:
            if publication not in self._lines:
                self._lines[publication] = await self._line_for(publication)
        if not self._channels:
            # After the first transceiver: aiortc would stop a data transport that media later joins.
            self._open_channels()
        await self._pc.setLocalDescription(await self._pc.createOffer())
        media = [
            {"mid": line.mid, "source": item.source, "name": item.name, "muted": item.muted}
            for item, line in self._lines.items()
        ]
        layered = {
            str(line.mid): line.sender
            for line in self._lines.values()
            if isinstance(line.sender, _aiortc.SimulcastSender)
        }
        rids = {mid: sender.rids for mid, sender in layered.items()}
        sdp = simulcast.announce(opus.announce_stereo(self._pc.localDescription.sdp), rids)
        answer = await signalling.request("offer", sdp=sdp, media=media)
        taken = simulcast.accepted(answer["sdp"])
        for mid, sender in layered.items():
            sender.accept(taken.get(mid, ()))
        await self._pc.setRemoteDescription(
            RTCSessionDescription(sdp=remote_sdp.adapt(answer["sdp"]), type="answer")
        )
        self._peer.started()
        await self._settle({str(item["mid"]): item for item in answer.get("media") or ()})

    def choose_encodings(self, publication_id: str, active: Mapping[str, bool]) -> None:
        """Encode and send of a publication what is active, by RID; those not named are sent.

        An empty RID stands for all of them. What comes back begins with a keyframe. Without effect on a
        publication that is not known any more.
        """
        for publication, line in self._lines.items():
            if publication.id != publication_id:
                continue
            everything = active.get("", True)
            if isinstance(line.sender, _aiortc.SimulcastSender):
                rids = line.sender.rids
                line.sender.splitter.choose({rid for rid in rids if active.get(rid, everything)})
            elif everything != publication.watched:
                publication.watched = everything
                _aiortc.begin_with_keyframe(line)

    def sent(self, publication: LocalPublication) -> list[SentEncoding]:
        """What is sent of it; nothing of sound, and of what is encoded already."""
        line = self._lines.get(publication)
        return [] if line is None or publication.kind != "video" else _aiortc.sent_encodings(line)

    async def send(self, label: str, message: bytes) -> bool:
        """Send on a data channel; waits until it is open, and while too much is queued on `reliable`.

        On `lossy` the message is dropped instead, and False returned.
        """
        await self._opened.wait()
        channel = self._channels.get(label)
        if self._closed or channel is None or channel.readyState != "open":
            raise UnavailableError("the data channel is closed")
        if label == LOSSY and channel.bufferedAmount > LOSSY_BUFFERED_BYTES:
            return False
        if channel.bufferedAmount > BUFFERED_BYTES:
            await self._drained(channel)
        channel.send(message)
        return True

    async def settle(self) -> None:
        """Wait, a second at most, while the transport is connecting."""
        await self._peer.settle()

    async def close(self) -> None:
        """Stop sending and close the transport; the users' tracks stay alive."""
        self._closed = True
        self._opened.set()
        await self._peer.close()

    def _open_channels(self) -> None:
        self._channels[RELIABLE] = self._pc.createDataChannel(RELIABLE)
        self._channels[LOSSY] = self._pc.createDataChannel(LOSSY, ordered=False, maxRetransmits=0)
        for channel in self._channels.values():
            self._listen(channel)

    def _listen(self, channel: RTCDataChannel) -> None:
        def on_open() -> None:
            if all(item.readyState == "open" for item in self._channels.values()):
                self._opened.set()

        def on_message(message: bytes | str) -> None:
            if isinstance(message, bytes):
                self._on_data(channel.label, message)

        channel.on("open", on_open)
        channel.on("message", on_message)

    async def _drained(self, channel: RTCDataChannel) -> None:
        low = asyncio.Event()
        channel.bufferedAmountLowThreshold = BUFFERED_BYTES // 2
        channel.once("bufferedamountlow", low.set)
        channel.once("close", low.set)
        await low.wait()
        if channel.readyState != "open":
            raise UnavailableError("the data channel is closed")

    async def _line_for(self, publication: LocalPublication) -> RTCRtpTransceiver:
        """A free m-line of the kind, or a new one."""
        outlet = _Outlet(publication)
        taken = set(map(id, self._lines.values()))
        for line in self._pc.getTransceivers():
            if line.kind == publication.kind and id(line) not in taken:
                line.direction = "sendonly"
                break
        else:
            line = self._pc.addTransceiver(publication.kind, direction="sendonly")
        if publication.simulcast:
            await _aiortc.put_simulcast(line, outlet, simulcast.ENCODINGS, publication.bitrate_bps)
        else:
            await _aiortc.renew_sender(line, outlet)
        line.setCodecPreferences(_preferences(publication))
        return line

    async def _withdraw(self, publication: LocalPublication) -> None:
        line = self._lines.pop(publication)
        await _aiortc.renew_sender(line, None)
        line.direction = "inactive"

    async def _settle(self, answered: dict[str, dict[str, Any]]) -> None:
        """Read what the server made of each m-line."""
        for publication, line in list(self._lines.items()):
            reply = answered.get(str(line.mid), {"error": "bad_sdp"})
            if "publication" in reply:
                if publication.id != reply["publication"]:
                    publication.id = str(reply["publication"])
                    publication.watched = True
                _aiortc.prepare_encoder(line, publication.bitrate_bps)
                if not publication.accepted.done():
                    publication.accepted.set_result(None)
                continue
            error = RefusedError(str(reply.get("error")), f"the server does not take {publication.source}")
            await self._withdraw(publication)
            if not publication.accepted.done():
                publication.accepted.set_exception(error)
                publication.accepted.exception()  # seen: not every caller waits for it
            elif publication.on_refused is not None:
                publication.on_refused(error)


def _preferences(publication: LocalPublication) -> list[Any]:
    """The codecs to offer: the wished one alone, with its retransmission format; Opus for audio."""
    wished = f"{publication.kind}/{publication.codec or ('opus' if publication.kind == 'audio' else 'vp8')}"
    known = RTCRtpSender.getCapabilities(publication.kind).codecs
    chosen = [codec for codec in known if codec.mimeType.lower() == wished.lower()]
    if not chosen:
        raise ValueError(f"unknown codec {publication.codec}; video goes as vp8 or h264, audio as opus")
    return chosen + [codec for codec in known if codec.name.lower() == "rtx"]
