"""The one place that touches aiortc's private names.

`tests/contract/test_client_aiortc_private.py` holds them.

Why each is needed (aiortc 1.16):

- `RTCRtpSender.__encoder` and the encoders' `__target_bitrate`: the public API sets no bitrate. An encoder
  prepared here has the limits the caller asked for, instead of the module constants (1.5 Mbit/s for VP8,
  3 Mbit/s for H264), and keeps to the receiver's estimate (REMB), whatever the picture.
- `RTCRtpSender._send_keyframe`: after a pause the next picture must be one that can be decoded.
- `RTCRtpTransceiver.__sender` and `.__receiver`: neither can be started twice, and an m-line that is
  reused for other media would stay silent. A new one is put in its place.
- `RTCRtpSender.__rtp_header_extensions_map`: senders write neither RID nor repaired RID.
- `RTCRtpSender.__ntp_timestamp`: sender reports say when a frame was sent, after encoding. Sound and picture
  must agree on when it was captured, and so must the encodings of simulcast.
- `RTCRtpSender._next_encoded_frame` and the counters `__rtp_timestamp`, `__packet_count`, `__octet_count`:
  the first sender report comes half a second late or more, and layers are switched by them.
- `RTCPeerConnection.__transceivers`: aiortc finds transceivers by the place of their m-line, and takes that
  of an m-line that is gone for the one that has its place now.
- `RTCRtpReceiver.__decoder_queue`: it is unbounded, and its length is the only sign that decoding falls
  behind.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpSendParameters,
)
from aiortc.rtcrtpsender import RTCEncodedFrame
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtcpSenderInfo, RtcpSrPacket
from av import VideoFrame
from av.frame import Frame
from av.video.reformatter import VideoReformatter

from sfu_client.adaptation import Adaptation, SentEncoding
from sfu_client.capture_time import CapturedTrack
from sfu_client.simulcast import (
    REPAIRED_RID_ID,
    REPAIRED_RID_URI,
    RID_ID,
    RID_URI,
    Branch,
    Encoding,
    Splitter,
)


class _Scaler:
    """Makes of a picture, which other encoders read at the same time, one of this encoder's own.

    PyAV's `VideoFrame.reformat` keeps its state in the frame and hangs when two threads are in it; and a wish
    for a keyframe is marked on the frame.
    """

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Frame) -> VideoFrame:
        assert isinstance(frame, VideoFrame)
        if self._scale == 1 and frame.format.name == "yuv420p":
            own = VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
        else:
            width, height = (max(16, side // self._scale & ~1) for side in (frame.width, frame.height))
            own = self._reformatter.reformat(frame, width, height, "yuv420p")
        own.pts, own.time_base = frame.pts, frame.time_base
        return own


class _Adaptive(Encoder):
    """An encoder with a ceiling of one's own that keeps to what the receiver estimates.

    `scale` divides the picture's sides; None: nobody else reads it. `below_bps` goes to smaller encodings
    first.
    """

    _target_name: str

    def __init__(self, ceiling_bps: int, scale: int | None = None, below_bps: int = 0) -> None:
        super().__init__()
        self.adaptation = Adaptation(ceiling_bps, below_bps)
        self._scale = scale
        self._scaler: tuple[int, _Scaler] | None = None
        self._owes_keyframe = False
        setattr(self, self._target_name, ceiling_bps)

    @property
    def target_bitrate(self) -> int:
        return int(getattr(self, self._target_name))

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self.adaptation.tell(bitrate)
        setattr(self, self._target_name, self.adaptation.encoder_bps)

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        assert isinstance(frame, VideoFrame)
        self._owes_keyframe |= force_keyframe
        base = self._scale or 1
        if not self.adaptation.takes(frame.width // base, frame.height // base, time.monotonic()):
            return [], 0  # which the sender takes for a frame that it does not send
        own = self._scaled(frame, base * self.adaptation.scale)
        payloads, timestamp = super().encode(own, self._owes_keyframe)  # type: ignore[safe-super]
        self._owes_keyframe = False
        self.adaptation.made(own.width, own.height, sum(map(len, payloads)))
        return payloads, timestamp

    def _scaled(self, frame: VideoFrame, scale: int) -> VideoFrame:
        if self._scale is None and scale == 1:
            return frame
        if self._scaler is None or self._scaler[0] != scale:
            self._scaler = scale, _Scaler(scale)
        return self._scaler[1](frame)


class _LimitedVp8(_Adaptive, Vp8Encoder):
    _target_name = "_Vp8Encoder__target_bitrate"


class _LimitedH264(_Adaptive, H264Encoder):
    _target_name = "_H264Encoder__target_bitrate"


def _encoder(
    mime_type: str, ceiling_bps: int, scale: int | None = None, below_bps: int = 0
) -> _Adaptive | None:
    """An encoder that goes up to `ceiling_bps`; None where there is none of ours for the codec (audio)."""
    known: dict[str, type[_Adaptive]] = {"video/vp8": _LimitedVp8, "video/h264": _LimitedH264}
    chosen = known.get(mime_type.lower())
    return None if chosen is None else chosen(ceiling_bps, scale, below_bps)


def prepare_encoder(transceiver: RTCRtpTransceiver, ceiling_bps: int) -> Encoder | None:
    """Give a video sender, once its codec is agreed, an encoder that goes up to `ceiling_bps`.

    Returns the encoder, None where there is none of ours for the codec (audio), one is at work already, or
    there are several (simulcast).
    """
    sender: Any = transceiver.sender
    if (
        isinstance(sender, SimulcastSender)
        or not transceiver._codecs
        or sender._RTCRtpSender__encoder is not None
    ):
        return None
    sender._RTCRtpSender__encoder = _encoder(transceiver._codecs[0].mimeType, ceiling_bps)
    encoder: Encoder | None = sender._RTCRtpSender__encoder
    return encoder


class _RidExtensions(HeaderExtensionsMap):
    """Adds the RID to every packet, the repaired RID to retransmissions. Spec: RFC 8852 section 3."""

    def __init__(self, rid: str) -> None:
        super().__init__()
        self._rid = rid

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        if values.rtp_stream_id is None:
            values.rtp_stream_id = self._rid
            return super().set(values)
        # Written before: a retransmission shares the values of the packet that it repeats.
        return super().set(replace(values, rtp_stream_id=None, repaired_rtp_stream_id=self._rid))


class _TimedSender(RTCRtpSender):
    """A sender whose reports say when media was captured, and begin with the media."""

    def __init__(self, track: CapturedTrack, transport: RTCDtlsTransport) -> None:
        self._captured = track
        self._sent_ntp = 0
        self._reported = False
        super().__init__(track, transport)

    @property
    def _RTCRtpSender__ntp_timestamp(self) -> int:  # noqa: N802
        return self._sent_ntp

    @_RTCRtpSender__ntp_timestamp.setter
    def _RTCRtpSender__ntp_timestamp(self, _now: int) -> None:  # noqa: N802
        # Assigned with each packet, next to its RTP timestamp: here the time that belongs to it.
        self._sent_ntp = self._captured.captured_ntp

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        if self._sent_ntp and not self._reported:
            self._reported = True
            inside: Any = self
            info = RtcpSenderInfo(
                ntp_timestamp=self._sent_ntp,
                rtp_timestamp=inside._RTCRtpSender__rtp_timestamp,
                packet_count=inside._RTCRtpSender__packet_count,
                octet_count=inside._RTCRtpSender__octet_count,
            )
            await self._send_rtcp([RtcpSrPacket(ssrc=self._ssrc, sender_info=info)])
        return await super()._next_encoded_frame(codec)


class _EncodingSender(_TimedSender):
    """The sender of one encoding; `rid` is empty where the server takes no simulcast."""

    def __init__(
        self, branch: Branch, transport: RTCDtlsTransport, rid: str, ceiling_bps: int, below_bps: int
    ) -> None:
        super().__init__(branch, transport)
        self._branch = branch
        self.rid = rid
        self._ceiling_bps = ceiling_bps
        self._below_bps = below_bps
        branch.on_resumed = self._send_keyframe

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        inside: Any = self
        if self.rid:
            inside._RTCRtpSender__rtp_header_extensions_map = _RidExtensions(self.rid)
            parameters = replace(
                parameters,
                headerExtensions=[
                    *parameters.headerExtensions,
                    RTCRtpHeaderExtensionParameters(id=RID_ID, uri=RID_URI),
                    RTCRtpHeaderExtensionParameters(id=REPAIRED_RID_ID, uri=REPAIRED_RID_URI),
                ],
            )
        mime_type = parameters.codecs[0].mimeType
        inside._RTCRtpSender__encoder = _encoder(
            mime_type, self._ceiling_bps, self._branch.encoding.scale, self._below_bps
        )
        await super().send(parameters)


class SimulcastSender(RTCRtpSender):
    """Stands for the senders of all encodings in a transceiver, which knows one only."""

    def __init__(
        self,
        track: CapturedTrack,
        transport: RTCDtlsTransport,
        encodings: Sequence[Encoding],
        ceiling_bps: int,
    ) -> None:
        super().__init__(track, transport)
        self.rids = tuple(encoding.rid for encoding in encodings)
        self.splitter = Splitter(track, encodings)
        self._ceiling_bps = ceiling_bps
        self._accepted: Collection[str] | None = None
        self._senders: list[_EncodingSender] = []

    def accept(self, rids: Collection[str]) -> None:
        """Say which RIDs the server takes; none: the largest encoding goes as the only one."""
        self._accepted = rids

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        if self._senders or self._accepted is None:
            return  # aiortc starts a reused m-line with the offer already, and again with the answer
        taken = [branch for branch in self.splitter.branches if branch.encoding.rid in self._accepted]
        below_bps = 0
        for branch in taken or self.splitter.branches[-1:]:
            rid = branch.encoding.rid if taken else ""
            ceiling_bps = int(self._ceiling_bps * branch.encoding.share)
            self._senders.append(_EncodingSender(branch, self.transport, rid, ceiling_bps, below_bps))
            below_bps += ceiling_bps
        for sender in self._senders:
            await sender.send(parameters)
        self.splitter.start()

    @property
    def senders(self) -> Sequence[_EncodingSender]:
        """Of each encoding that is sent, the smallest first."""
        return self._senders

    async def stop(self) -> None:
        self.splitter.stop()
        for sender in self._senders:
            await sender.stop()
        self.track.stop()


def sent_encodings(transceiver: RTCRtpTransceiver) -> list[SentEncoding]:
    """What is sent of each encoding, none where something else encodes (audio, packets of the user's)."""
    sender = transceiver.sender
    senders: dict[str, Any] = {"": sender}
    if isinstance(sender, SimulcastSender):
        senders = {each.rid: each for each in sender.senders}
    encoders = ((rid, each._RTCRtpSender__encoder) for rid, each in senders.items())
    return [each.adaptation.sent(rid) for rid, each in encoders if isinstance(each, _Adaptive)]


async def put_simulcast(
    transceiver: RTCRtpTransceiver, track: CapturedTrack, encodings: Sequence[Encoding], ceiling_bps: int
) -> SimulcastSender:
    """Let the transceiver send `track` in all `encodings` after the next negotiation."""
    sender = SimulcastSender(track, transceiver.sender.transport, encodings, ceiling_bps)
    await _replace_sender(transceiver, sender)
    return sender


def begin_with_keyframe(transceiver: RTCRtpTransceiver) -> None:
    """The next picture that the transceiver sends is a keyframe: nobody can decode what follows a gap."""
    transceiver.sender._send_keyframe()


async def renew_sender(transceiver: RTCRtpTransceiver, track: CapturedTrack | None) -> None:
    """Stop what the transceiver sends; it sends `track`, under a new SSRC, after the next negotiation."""
    transport = transceiver.sender.transport
    sender = RTCRtpSender(transceiver.kind, transport) if track is None else _TimedSender(track, transport)
    await _replace_sender(transceiver, sender)


async def _replace_sender(transceiver: RTCRtpTransceiver, sender: RTCRtpSender) -> None:
    inside: Any = transceiver
    old = transceiver.sender
    await old.stop()
    sender._stream_id = old._stream_id
    inside._RTCRtpTransceiver__sender = sender
    transceiver.receiver._set_rtcp_ssrc(sender._ssrc)


async def renew_receiver(transceiver: RTCRtpTransceiver) -> None:
    """Stop what the transceiver receives; the next negotiation gives it a new track."""
    inside: Any = transceiver
    old = transceiver.receiver
    await old.stop()
    receiver = RTCRtpReceiver(transceiver.kind, old.transport)
    receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
    inside._RTCRtpTransceiver__receiver = receiver


def forget_line(pc: RTCPeerConnection, transceiver: RTCRtpTransceiver) -> None:
    """The transceiver's m-line is gone; another has its place."""
    inside: Any = pc
    inside._RTCPeerConnection__transceivers.remove(transceiver)


def decoder_backlog(receiver: RTCRtpReceiver) -> int:
    """Encoded frames that wait for the decoder; it keeps up while this stays near 0."""
    inside: Any = receiver
    return int(inside._RTCRtpReceiver__decoder_queue.qsize())
