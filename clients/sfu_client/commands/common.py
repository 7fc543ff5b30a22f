"""What the client's commands share: connection options, stopping on a signal, exit statuses."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from sfu_client.errors import PERMANENT_CODES, ClosedError, RefusedError, UnavailableError

DEFAULT_SERVER = "http://localhost:7880"

NEEDS_OPENCV = "needs OpenCV: pip install 'pysfu[camera]'"
"""What a server does without; some machines have no build of it (musl)."""


def add_connection(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options that say where to connect and as whom."""
    parser.add_argument("--server", metavar="URL", default=DEFAULT_SERVER, help="the server's address")
    parser.add_argument("--room", metavar="NAME", default="demo", help="the room to join")
    parser.add_argument("--name", default=name, help="name shown to others")
    parser.add_argument("--token", help="access token; SFU_TOKEN in the environment is the safer place")
    parser.add_argument("--insecure", action="store_true", help="accept a self-signed certificate")
    parser.add_argument("--relay", action="store_true", help="send media through TURN only")
    parser.add_argument(
        "--duration", metavar="SECONDS", type=seconds, default=None, help="stop by itself after this long"
    )
    parser.add_argument("--verbose", "-v", action="store_true", help="say more")


def token(args: argparse.Namespace) -> str | None:
    """The access token given, None without one."""
    return args.token or os.environ.get("SFU_TOKEN") or None


def size(text: str) -> tuple[int, int]:
    """`1280x720` as (width, height)."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()) or not 16 <= int(width) <= 7680:
        raise argparse.ArgumentTypeError(f"{text}: expected WIDTHxHEIGHT, as 1280x720")
    if not 16 <= int(height) <= 4320 or int(width) % 2 or int(height) % 2:
        raise argparse.ArgumentTypeError(f"{text}: width and height must be even and reasonable")
    return int(width), int(height)


def bitrate(text: str) -> int:
    """`1500k`, `1.5M` or plain bits a second."""
    factors = {"k": 1_000, "m": 1_000_000}
    factor = factors.get(text[-1:].lower(), 1)
    try:
        value = int(float(text[:-1] if factor > 1 else text) * factor)
    except ValueError:
        value = 0
    if value < 50_000:
        raise argparse.ArgumentTypeError(f"{text}: expected bits a second, as 1500k or 2M, at least 50k")
    return value


def seconds(text: str) -> float:
    """`2`, `0.5` or `500ms`, above 0."""
    factor = 0.001 if text.endswith("ms") else 1.0
    try:
        value = float(text.removesuffix("ms").removesuffix("s")) * factor
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, as 2, 0.5s or 500ms")
    return value


def start_logging(verbose: bool) -> None:
    """Log to standard error: this client from INFO (DEBUG when `verbose`), libraries from WARNING."""
    if not logging.getLogger().handlers:
        logging.basicConfig(
            stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(message)s"
        )
    logging.getLogger("sfu_client").setLevel(logging.DEBUG if verbose else logging.INFO)


def say(text: str) -> None:
    """A message for the person at the terminal, on standard error."""
    print(text, file=sys.stderr, flush=True)


def watch_link(server: str, room: str) -> str:
    """The page where `room` can be seen.

    >>> watch_link("wss://example.org/signal", "my room")
    'https://example.org/r/my%20room'
    """
    parts = urlsplit(server)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    path = parts.path.removesuffix("/").removesuffix("/signal")
    return urlunsplit((scheme, parts.netloc.rpartition("@")[2], f"{path}/r/{quote(room, safe='')}", "", ""))


def _at_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            stop.set()

    loop.add_reader(descriptor, read)


def closed_status(reason: ClosedError) -> int:
    """The exit status when the room ends for good.

    77 (no permission) where retrying is useless: a refused token, removed, or replaced by a newer session
    of the same identity, which a restart would only throw out in its turn.
    """
    if reason.code == "left":
        return 0
    if reason.code in PERMANENT_CODES or reason.code in {"removed", "replaced"}:
        return os.EX_NOPERM
    return os.EX_UNAVAILABLE


async def until_stopped(
    work: Coroutine[Any, Any, int], duration_s: float | None, *, with_stdin: bool = False
) -> int:
    """Run `work` until it ends, a signal asks for its end, or `duration_s` has passed; the exit status.

    Signals are SIGINT, SIGTERM and, unless it is ignored (nohup), SIGHUP; the second one ends the process.
    With `with_stdin` the end of standard input is one as well. Stopping cancels `work`, which cleans up. What
    the client raises becomes a line and a status of sysexits.h.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def asked() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, asked)
    if with_stdin:
        _at_end_of_stdin(loop, stop)
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        return 0 if task.cancelled() else task.result()
    except RefusedError as error:
        say(f"sfu: refused by the server: {error}")
        return os.EX_NOPERM if error.permanent else os.EX_UNAVAILABLE
    except ClosedError as error:
        say(f"sfu: the room is closed: {error}")
        return closed_status(error)
    except UnavailableError as error:
        say(f"sfu: {error}")
        return os.EX_UNAVAILABLE
    finally:
        for pending in (task, stopping):
            pending.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)
        if with_stdin:
            loop.remove_reader(sys.stdin.fileno())
        for number in numbers:
            loop.remove_signal_handler(number)
