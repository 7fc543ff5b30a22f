"""`sfu serve`: the server, until it is asked to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from sfu import log
from sfu.cli import banner, options
from sfu.config import Config
from sfu.faults import start_fault
from sfu.server import descriptors, storage, tls
from sfu.server.app import Server

NAME = "serve"
HELP = "run the server"

WhileRunning = Callable[[Server, asyncio.Event], Awaitable[None]]


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)


async def run(args: argparse.Namespace) -> int:
    return await run_server(options.load(args), room="")


async def run_server(settings: Config, *, room: str, beside: WhileRunning | None = None) -> int:
    """Serve until SIGINT or SIGTERM; `beside` runs next to the server and is cancelled with it.

    Returns 0 when asked to stop, `EX_SOFTWARE` when `beside` fails or another server takes the database.
    Raises `StartError` or `ConfigError` where the server cannot start.
    """
    log.configure(settings.log)
    descriptors.raise_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    context = None
    if settings.server.https_port >= 0:
        context = tls.context(settings.server, storage.data_dir(settings))
    try:
        server = await Server.start(settings, ssl_context=context)
    except OSError as error:
        raise start_fault("the server cannot start", error) from error
    try:
        banner.show(settings, server.http_url, server.https_url, room)
        waiting = asyncio.ensure_future(stop.wait())
        tasks = [waiting, asyncio.ensure_future(_lost(server))]
        if beside is not None:
            tasks.append(asyncio.ensure_future(beside(server, stop)))
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        failed = [task for task in done if task.exception() is not None]
        for task in failed:
            print(f"sfu: {task.exception()}", file=sys.stderr)
        return os.EX_SOFTWARE if failed else 0
    finally:
        await server.stop("shutdown")


async def _lost(server: Server) -> None:
    await server.lost()
    raise RuntimeError("another server has taken the database (storage.url)")
