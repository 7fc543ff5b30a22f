"""GStreamer's webrtcbin as Debian ships it, for longer than consent without checks lasts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bridge import bridged
from browser import until
from server_process import ServerProcess

PROGRAM = Path(__file__).with_name("webrtcbin.py")
PYTHON = "/usr/bin/python3"
"""Debian's, which has Debian's bindings of GStreamer."""
WATCHED_S = 60
RATE = 15


async def test_a_minute_from_webrtcbin_to_webrtcbin(server: ServerProcess, room: str, tmp_path: Path) -> None:
    async with (
        bridged(server.url, tmp_path / "publisher.log", PYTHON, PROGRAM, "publish", room, "Ann") as publisher,
        bridged(server.url, tmp_path / "viewer.log", PYTHON, PROGRAM, "view", room, "Ben") as viewer,
    ):

        async def sent() -> bool:
            return any(message["state"] == "active" for message in viewer.of("subscription"))

        await until(sent, "the viewer's subscription", 30)
        await asyncio.sleep(WATCHED_S)
        for peer in (publisher, viewer):
            assert peer.of("transport_lost") == []
            assert peer.of("closed") == []
        report = await viewer.finish()
        assert report["states"][-1] == "connected", report
        assert report["video"] > WATCHED_S * RATE * 0.7, report
        assert report["audio"] > WATCHED_S * 50 * 0.7, report
        assert (await publisher.finish())["states"][-1] == "connected"
