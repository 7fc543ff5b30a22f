"""`sfu serve`: the server, until it is asked to stop."""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sfu import log
from sfu.cli import banner, options
from sfu.cli.signals import STOP_S, Signals, end_within
from sfu.config import Config
from sfu.errors import SfuError
from sfu.faults import start_fault
from sfu.server import descriptors, storage
from sfu.server.activation import activated
from sfu.server.app import Server
from sfu.server.certificates import Certificates
from sfu.server.supervisor import Supervisor

NAME = "serve"
HELP = "run the server"

WhileRunning = Callable[[Server], Awaitable[None]]

logger = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    options.add(parser)


async def run(args: argparse.Namespace) -> int:
    return await run_server(functools.partial(options.load, args), room="")


async def run_server(load: Callable[[], Config], *, room: str, beside: WhileRunning | None = None) -> int:
    """Serve what `load` says until SIGINT or SIGTERM; on SIGHUP it is asked again.

    `beside` runs next to the server and is cancelled with it. Returns 0 when asked to stop, `EX_SOFTWARE`
    when `beside` fails or another server takes the database. Raises `StartError` or `ConfigError` where the
    server cannot start.
    """
    settings = load()
    log.configure(settings.log)
    descriptors.raise_limit()
    signals, supervisor = Signals(), Supervisor(os.environ)
    stopping = asyncio.ensure_future(signals.stop.wait())
    try:
        server = await _started(settings, stopping)
    except OSError as error:
        raise start_fault("the server cannot start", error) from error
    if server is None:
        return 0
    try:
        banner.show(settings, server.http_url, server.https_url, room)
        supervisor.ready(f"serving on {server.http_url}")
        tasks = [
            stopping,
            asyncio.ensure_future(_lost(server)),
            asyncio.ensure_future(_reload(server, load, signals.reload, supervisor)),
        ]
        if beside is not None:
            tasks.append(asyncio.ensure_future(beside(server)))
        watchdog = asyncio.ensure_future(supervisor.watch(lambda: server.alive))
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        supervisor.stopping()
        # Whatever ends it, what hangs then does not keep it from ending.
        end_within(STOP_S)
        for task in (*pending, watchdog):
            task.cancel()
        await asyncio.gather(*pending, watchdog, return_exceptions=True)
        failed = [task for task in done if task.exception() is not None]
        for task in failed:
            print(f"sfu: {task.exception()}", file=sys.stderr)
        return os.EX_SOFTWARE if failed else 0
    finally:
        await server.stop("shutdown")


async def _started(settings: Config, stopping: asyncio.Future[Any]) -> Server | None:
    """A server that serves; None where it was asked to stop before it did."""
    sockets = activated(os.environ, settings)
    certificates = None
    if settings.server.https_port >= 0:
        certificates = Certificates(settings.server, storage.data_dir(settings))
    starting = asyncio.create_task(Server.start(settings, certificates=certificates, activated=sockets))
    both: set[asyncio.Future[Any]] = {starting, stopping}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        return await starting
    logger.info("asked to stop while starting")
    starting.cancel()
    (server,) = await asyncio.gather(starting, return_exceptions=True)
    if isinstance(server, Server):
        await server.stop("shutdown")
    return None


async def _reload(
    server: Server, load: Callable[[], Config], asked: asyncio.Event, supervisor: Supervisor
) -> None:
    """Read the configuration again whenever that is asked for. A wrong one changes nothing."""
    while True:
        await asked.wait()
        asked.clear()
        supervisor.reloading()
        try:
            await server.reload(load())
        except SfuError as error:
            logger.error("nothing is reloaded: %s", error)
        supervisor.ready(f"serving on {server.http_url}")


async def _lost(server: Server) -> None:
    await server.lost()
    raise RuntimeError("another server has taken the database (storage.url)")
