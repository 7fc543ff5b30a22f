"""Calls through a real TURN server, by time-limited credentials, with every other path closed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from browser import Caller, Pages, until
from server_process import free_port, running

from sfu_client import Room, VideoSource

pytestmark = pytest.mark.turn

SECRET = "shared-with-coturn"


@contextlib.asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[int]:
    """A turnserver on loopback; yields its port."""
    path = shutil.which("turnserver")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("coturn is not installed, and in CI it must be: see tests/install_tools.sh")
        pytest.skip("coturn is not installed")
    port = free_port()
    log = folder / "turn.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            path, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}",
            "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=test.example",
            "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers",
            f"--pidfile={folder}/turn.pid", f"--userdb={folder}/turn.db",
            "--log-file=stdout", "--fingerprint", "--verbose",
            stdout=out, stderr=out, cwd=folder,
        )  # fmt: skip
    try:

        async def listening() -> bool:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                return True
            return False

        await until(listening, f"coturn: {log.read_text()}", 10)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def selected_pairs(caller: Caller) -> list[dict[str, str]]:
    """Type of the local candidate, and its relay protocol, of each transport's selected pair."""
    pairs: list[dict[str, str]] = await caller.page.evaluate(
        """async () => {
          const found = [];
          for (const pc of window.__connections) {
            const report = await pc.getStats();
            for (const r of report.values()) {
              if (r.type !== 'transport' || !r.selectedCandidatePairId) continue;
              const local = report.get(report.get(r.selectedCandidatePairId).localCandidateId);
              found.push({type: local.candidateType, protocol: local.relayProtocol ?? ''});
            }
          }
          return found;
        }"""
    )
    return pairs


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_a_call_by_relay_only(pages: Pages, tmp_path: Path, protocol: str) -> None:
    async with (
        coturn(tmp_path) as port,
        running(
            tmp_path, f"ice.turn_urls=turn:127.0.0.1:{port}?transport={protocol}", f"ice.turn_secret={SECRET}"
        ) as server,
    ):
        alice, bob = await pages.new(), await pages.new()
        await alice.join(server.url, "relay", "Alice", "?ice=relay")
        await bob.join(server.url, "relay", "Bob", "?ice=relay")
        await alice.sees("Bob")
        await bob.sees("Alice")
        for caller in (alice, bob):
            assert await selected_pairs(caller) == [{"type": "relay", "protocol": protocol}] * 2


async def test_python_peers_call_by_relay_only(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path) as port,
        running(
            tmp_path, f"ice.turn_urls=turn:127.0.0.1:{port}?transport=udp", f"ice.turn_secret={SECRET}"
        ) as server,
        Room.connect(server.url, "relay", name="sender", relay=True) as sender,
        Room.connect(server.url, "relay", name="viewer", relay=True) as viewer,
    ):
        source = VideoSource()
        await sender.publish(source)
        picture = np.full((120, 160, 3), 200, np.uint8)
        track = await viewer.wait_for_track(kind="video")
        frames = aiter(track)
        async with asyncio.timeout(20):
            receiving = asyncio.ensure_future(anext(frames))
            while not receiving.done():
                source.push(picture)
                await asyncio.wait({receiving}, timeout=0.04)
        frame = receiving.result()
        assert (frame.width, frame.height) == (160, 120)
        assert abs(float(frame.to_ndarray(format="bgr24").mean()) - 200) < 20
        relayed = (tmp_path / "turn.log").read_text()
        assert relayed.count("ALLOCATE processed, success") >= 2, relayed
