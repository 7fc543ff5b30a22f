"""werift, a stack in TypeScript: it knows the extension of transport-wide feedback, and sends none."""

from __future__ import annotations

from pathlib import Path

from bridge import bridged
from browser import Pages, until
from media_files import decoded_sizes
from server_process import ServerProcess
from tools import tool

PROGRAM = Path(__file__).with_name("werift.mjs")
TOP_WIDTH = 960
"""A browser that is busy may send its largest encoding somewhat smaller; the next one has 640."""
LEAST_PICTURES = 20


async def test_werift_gets_the_top_layer(
    server: ServerProcess, room: str, pages: Pages, tmp_path: Path
) -> None:
    ann = await pages.new()
    await ann.join(server.url, room, "Ann")
    kept = tmp_path / "kept.ivf"
    command = (tool("node"), PROGRAM, room, "Ben", kept)
    async with bridged(server.url, tmp_path / "werift.log", *command) as ben:

        async def at_the_top() -> bool:
            counted = ben.report or {}
            return sum(count for width, count in counted.items() if int(width) >= TOP_WIDTH) >= LEAST_PICTURES

        await until(at_the_top, f"{LEAST_PICTURES} pictures of the top layer", 120)
        counted = await ben.finish()
    sizes = decoded_sizes(kept)
    assert len(sizes) > sum(counted.values()) * 0.8, counted
    assert sum(width >= TOP_WIDTH for width, _ in sizes) >= LEAST_PICTURES * 0.8, counted
