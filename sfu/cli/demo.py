"""`sfu demo`: the server with a moving picture and a tone in the room `demo`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib.util
import os
import signal
import sys
import time

from sfu.cli import options
from sfu.cli.serve import run_server
from sfu.config import Config
from sfu.server import tokens
from sfu.server.app import Server
from sfu_client.commands import common

NAME = "demo"
HELP = "run the server with a moving picture and a tone in the room 'demo', so that nobody is alone"

ROOM = "demo"
RESTART_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)


async def run(args: argparse.Namespace) -> int:
    return await run_server(functools.partial(options.load, args), room=ROOM, beside=keep_publishing)


async def keep_publishing(server: Server) -> None:
    """Run the synthetic camera in a process of its own, so that its encoding never delays forwarding."""
    if importlib.util.find_spec("cv2") is None:
        print(f"sfu: nobody is in the room: the moving picture {common.NEEDS_OPENCV}", file=sys.stderr)
        await asyncio.Event().wait()
    while True:
        await run_camera(server.config, server.http_url)
        await asyncio.sleep(RESTART_S)


async def run_camera(settings: Config, url: str) -> None:
    """Run the camera until it ends. Its input is a pipe, so it ends with this process, however that ends."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SFU_")}
    if settings.auth.keys:
        key, _, secret = settings.auth.keys[0].partition(":")
        environ["SFU_TOKEN"] = tokens.mint(
            key,
            secret,
            identity="demo",
            name="Demo",
            room=ROOM,
            role="device",
            now_s=int(time.time()),
            ttl_s=365 * 86400,
        )
    command = [
        sys.executable,
        # Without -P a folder `sfu` of the current directory would be run instead.
        "-P",
        "-m",
        "sfu",
        "camera",
        "synthetic",
        "--server",
        url,
        "--room",
        ROOM,
        "--name",
        "Demo",
    ]
    command += ["--with-stdin", "--size", "640x360", "--fps", "25", "--audio", "tone"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
