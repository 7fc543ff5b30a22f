"""The real `sfu serve` in a process of its own, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[1]
_PORTS = (20_000, 32_000)


@dataclass
class ServerProcess:
    """`url` is the plain HTTP root, `https_url` the HTTPS one."""

    process: asyncio.subprocess.Process
    port: int
    https_port: int
    rtc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def https_url(self) -> str:
        return f"https://127.0.0.1:{self.https_port}"

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 15)


def free_port() -> int:
    """A port that was free for TCP and UDP a moment ago.

    It is below those that systems give to outgoing connections: one of those, or who asks whether the server
    is there again, could take it (even connect to itself) before the server has it, or while it restarts.
    """
    while True:
        port = random.randrange(*_PORTS)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            contextlib.suppress(OSError),
        ):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port


def command(*arguments: str) -> list[str]:
    """The `sfu` command line of this checkout."""
    return [sys.executable, "-m", "sfu", *arguments]


def environ(**extra: str) -> dict[str, str]:
    """This process's environment without its own configuration, with the checkout importable.

    Which media plane servers run may be chosen for all tests by `SFU_MEDIA__PLANE`.
    """
    chosen = {"SFU_MEDIA__PLANE"}
    kept = {
        name: value for name, value in os.environ.items() if name in chosen or not name.startswith("SFU_")
    }
    kept["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "clients")])
    return kept | extra


async def start(
    folder: Path, *settings: str, port: int = 0, https_port: int = 0, rtc_port: int = 0
) -> ServerProcess:
    """Start `sfu serve` with `--set` for each of `settings`, and wait until it answers."""
    port, https_port, rtc_port = port or free_port(), https_port or free_port(), rtc_port or free_port()
    chosen = (
        f"server.port={port}",
        f"server.https_port={https_port}",
        f"rtc.port={rtc_port}",
        "server.host=127.0.0.1",
        "rtc.bind=127.0.0.1",
        f"server.data_dir={folder}",
        *settings,
    )
    log = folder / f"server-{port}.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command("serve", *(word for item in chosen for word in ("--set", item))),
            stdout=out,
            stderr=out,
            env=environ(),
            cwd=ROOT,
        )
    server = ServerProcess(process, port, https_port, rtc_port, log)
    async with aiohttp.ClientSession() as client:
        for _ in range(300):
            if process.returncode is not None:
                break
            try:
                async with client.get(server.url + "/healthz") as answer:
                    if answer.status == 200:
                        return server
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


@contextlib.asynccontextmanager
async def running(folder: Path, *settings: str) -> AsyncIterator[ServerProcess]:
    """A server that is stopped at the end; a traceback in its log is a failure."""
    server = await start(folder, *settings)
    try:
        yield server
    finally:
        await server.stop()
    text = server.log.read_text()
    assert "Traceback" not in text, text
