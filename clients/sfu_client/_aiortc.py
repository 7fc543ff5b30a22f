"""The one place that touches aiortc's private names.

`tests/contract/test_client_aiortc_private.py` holds them.

Why each is needed (aiortc 1.16):

- `RTCRtpSender.__encoder`: the public API sets no bitrate. An encoder prepared here has the limits the
  caller asked for, instead of the module constants (1.5 Mbit/s for VP8, 3 Mbit/s for H264); the
  receiver's estimate (REMB) still lowers it.
- `RTCRtpTransceiver.__sender` and `.__receiver`: neither can be started twice, and an m-line that is
  reused for other media would stay silent. A new one is put in its place.
- `RTCRtpReceiver.__decoder_queue`: it is unbounded, and its length is the only sign that decoding falls
  behind.
"""

from __future__ import annotations

from typing import Any

from aiortc import MediaStreamTrack, RTCRtpReceiver, RTCRtpSender, RTCRtpTransceiver
from aiortc.codecs.base import Encoder
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

LOWEST_BPS = 100_000
"""Below this aiortc's encoders give no usable picture at any size."""


class _LimitedVp8(Vp8Encoder):
    """VP8 with a ceiling of one's own."""

    def __init__(self, ceiling_bps: int) -> None:
        super().__init__()
        self._ceiling_bps = ceiling_bps
        self.target_bitrate = ceiling_bps

    @property
    def target_bitrate(self) -> int:
        return self._Vp8Encoder__target_bitrate

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._Vp8Encoder__target_bitrate = max(LOWEST_BPS, min(bitrate, self._ceiling_bps))


class _LimitedH264(H264Encoder):
    """H264 with a ceiling of one's own."""

    def __init__(self, ceiling_bps: int) -> None:
        super().__init__()
        self._ceiling_bps = ceiling_bps
        self.target_bitrate = ceiling_bps

    @property
    def target_bitrate(self) -> int:
        return self._H264Encoder__target_bitrate

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._H264Encoder__target_bitrate = max(LOWEST_BPS, min(bitrate, self._ceiling_bps))


def prepare_encoder(transceiver: RTCRtpTransceiver, ceiling_bps: int) -> Encoder | None:
    """Give a video sender, once its codec is agreed, an encoder that goes up to `ceiling_bps`.

    Returns the encoder, None where there is none of ours for the codec (audio) or one is at work already.
    """
    sender: Any = transceiver.sender
    if not transceiver._codecs or sender._RTCRtpSender__encoder is not None:
        return None
    encoders = {"video/vp8": _LimitedVp8, "video/h264": _LimitedH264}
    chosen = encoders.get(transceiver._codecs[0].mimeType.lower())
    if chosen is None:
        return None
    encoder: Encoder = chosen(ceiling_bps)
    sender._RTCRtpSender__encoder = encoder
    return encoder


async def renew_sender(transceiver: RTCRtpTransceiver, track: MediaStreamTrack | None) -> None:
    """Stop what the transceiver sends; it sends `track`, under a new SSRC, after the next negotiation."""
    inside: Any = transceiver
    old = transceiver.sender
    await old.stop()
    sender = RTCRtpSender(track or transceiver.kind, old.transport)
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


def decoder_backlog(receiver: RTCRtpReceiver) -> int:
    """Encoded frames that wait for the decoder; it keeps up while this stays near 0."""
    inside: Any = receiver
    return int(inside._RTCRtpReceiver__decoder_queue.qsize())
