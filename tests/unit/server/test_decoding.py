"""Pictures for extensions: refused before they are made where too large, the newest where many wait."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from sfu.server.decoding import MOST_WAITING, Backlog, Decoder

WIDTH, HEIGHT = 640, 480


def keyframe(encoder: str) -> bytes:
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base = Fraction(1, 30)
    context.options = {"tune": "zerolatency"} if encoder == "libx264" else {"lag-in-frames": "0"}
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))


@pytest.mark.parametrize(
    ("encoder", "codec"), [("libvpx", "vp8"), ("libvpx-vp9", "vp9"), ("libx264", "h264")]
)
def test_pictures_have_a_largest_size(encoder: str, codec: str) -> None:
    data = keyframe(encoder)
    with pytest.raises(av.FFmpegError):
        Decoder(codec, WIDTH * HEIGHT - 1).picture(data, wanted=True)
    decoder = Decoder(codec, WIDTH * HEIGHT)
    pictures = [decoder.picture(data, wanted=True) for _ in range(2)]
    assert pictures[-1] is not None
    assert pictures[-1].shape == (HEIGHT, WIDTH, 3)
    assert decoder.picture(data, wanted=False) is None


def test_after_nonsense_it_decodes_again() -> None:
    decoder = Decoder("vp8", WIDTH * HEIGHT)
    with pytest.raises(av.FFmpegError):
        decoder.picture(b"nonsense", wanted=True)
    assert decoder.picture(keyframe("libvpx"), wanted=True) is not None


async def test_where_many_wait_the_newest_stays() -> None:
    backlog = Backlog()
    for number in range(MOST_WAITING):
        assert backlog.put(b"%d" % number, keyframe=number == 0)
    assert not backlog.put(b"of no use without the others", keyframe=False)
    for number in range(MOST_WAITING):
        assert backlog.put(b"%d" % number, keyframe=number == 0)
    assert backlog.put(b"new", keyframe=True)
    assert await backlog.get() == b"new"


async def test_what_refers_to_a_frame_that_is_broken_is_skipped() -> None:
    backlog = Backlog()
    for name, key in ((b"delta", False), (b"key", True), (b"its delta", False)):
        backlog.put(name, keyframe=key)
    assert backlog.skip()
    assert [await backlog.get(), await backlog.get()] == [b"key", b"its delta"]
    backlog.put(b"delta", keyframe=False)
    assert not backlog.skip()
