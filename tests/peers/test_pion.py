"""examples/pion: a publisher and a viewer in Go, written from the documents."""

from __future__ import annotations

import asyncio
from pathlib import Path

from browser import until
from media_files import RATE, SIZE, decoded_samples, decoded_sizes
from server_process import ServerProcess

WATCHED_S = 12


def kept(folder: Path) -> tuple[Path, Path]:
    """The one picture and the one sound that a viewer has kept."""
    (video,), (audio,) = folder.glob("*-video.ivf"), folder.glob("*-audio.ogg")
    return video, audio


async def test_what_pion_publishes_pion_receives(
    server: ServerProcess, room: str, pion: Path, vp8: Path, opus: Path, tmp_path: Path
) -> None:
    def command(name: str, *words: str | Path) -> list[str]:
        url = server.url.replace("http", "ws", 1) + "/signal"
        return [str(word) for word in (pion, "-url", url, "-room", room, "-name", name, *words)]

    log = (tmp_path / "publisher.log").open("wb")
    publisher = await asyncio.create_subprocess_exec(
        *command("Ann", "-video", vp8, "-audio", opus), stderr=log, stdout=log
    )
    try:
        log_text = tmp_path / "publisher.log"

        async def connected() -> bool:
            return "publish transport connected" in log_text.read_text()

        await until(connected, "the publisher to be connected")
        viewer = await asyncio.create_subprocess_exec(
            *command("Ben", "-view", tmp_path, "-for", f"{WATCHED_S}s"), stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(viewer.communicate(), WATCHED_S + 30)
    finally:
        publisher.kill()
        await publisher.wait()
    log.close()
    assert viewer.returncode == 0, said.decode()
    video, audio = kept(tmp_path)
    sizes = decoded_sizes(video)
    assert set(sizes) == {SIZE}
    assert len(sizes) > RATE * WATCHED_S / 2, said.decode()
    assert decoded_samples(audio) > 48_000 * WATCHED_S / 2, said.decode()
