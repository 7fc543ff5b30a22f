"""What extensions see of cameras, where cameras or extensions are not as they should be."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from signalling import Clients, clients, local_config, until

from sfu.config import ExtensionsConfig
from sfu.extensions import Frame
from sfu.server import pictures
from sfu.server.decoding import Decoder
from sfu.server.pictures import FrameTaps
from sfu_client import Room, VideoSource


@pytest.fixture
def taps(monkeypatch: pytest.MonkeyPatch) -> list[FrameTaps]:
    """Of the servers of a test."""
    made: list[FrameTaps] = []
    first = FrameTaps.__init__

    def keep(self: FrameTaps, *args: Any) -> None:
        first(self, *args)
        made.append(self)

    monkeypatch.setattr(FrameTaps, "__init__", keep)
    monkeypatch.setattr(pictures, "KEYFRAME_EVERY_US", 50_000)
    return made


@contextlib.asynccontextmanager
async def camera(look: Callable[[Frame], Any], **values: Any) -> AsyncIterator[Clients]:
    """A server that shows `look` a camera of 320 x 240."""
    made = types.ModuleType("an_eye")
    made.extend = lambda hooks: hooks.on_frame(look, fps=50)  # type: ignore[attr-defined]
    sys.modules["an_eye"] = made
    config = local_config(extensions=ExtensionsConfig(modules=("an_eye",), **values))

    async def show(source: VideoSource) -> None:
        for number in range(2000):
            source.push(np.full((240, 320, 3), number % 256, np.uint8))
            await asyncio.sleep(0.03)

    async with (
        clients(config) as those,
        Room.connect(those.server.http_url, "r", name="Cam", auto_subscribe=False) as room,
    ):
        source = VideoSource()
        showing = asyncio.create_task(show(source))
        await room.publish(source, source="camera")
        yield those
        showing.cancel()
    del sys.modules["an_eye"]


async def test_a_camera_that_is_too_large_is_refused_and_soon_not_looked_at(
    taps: list[FrameTaps], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Frame] = []

    async def look(frame: Frame) -> None:
        seen.append(frame)

    async with camera(look, frame_pixels=320 * 240 // 16 - 1):
        await until(lambda: len(taps[0]) == 1)
        await until(lambda: len(taps[0]) == 0, 20)
    assert not seen
    assert caplog.text.count("cannot be decoded, or are too large") == 1


async def test_nothing_is_decoded_for_a_callback_that_is_switched_off(taps: list[FrameTaps]) -> None:
    async def look(frame: Frame) -> None:
        raise ZeroDivisionError

    async with camera(look, max_failures=2):
        await until(lambda: len(taps[0]) == 1)
        await until(lambda: len(taps[0]) == 0)


async def test_an_error_of_ours_does_not_blind_an_extension(
    taps: list[FrameTaps], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Frame] = []
    failed: list[bool] = []
    decode = Decoder.picture

    def fail_once(self: Decoder, data: bytes, *, wanted: bool) -> Any:
        if not failed:
            failed.append(True)
            raise ValueError("our bug")
        return decode(self, data, wanted=wanted)

    async def look(frame: Frame) -> None:
        seen.append(frame)

    monkeypatch.setattr(Decoder, "picture", fail_once)
    async with camera(look):
        await until(lambda: seen, 20)
    assert failed
    assert caplog.text.count("a picture could not be decoded") == 1
