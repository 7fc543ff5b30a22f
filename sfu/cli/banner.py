"""What a person sees at start: which link to open, also as a QR code for a phone, and what to try next."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
import socket
import sys
from pathlib import Path

import qrcode
from rich.console import Console

import sfu
from sfu.config import Config
from sfu.server import exposure

log = logging.getLogger(__name__)


class _Console(Console):
    """Rich ends the program where nobody reads its output; this one says so."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def show(settings: Config, http_url: str, https_url: str, room: str) -> None:
    """Print the links. `room` is the room they lead to; empty leads to the landing page.

    A server whose standard output is full, closed or not read any more runs without.
    """
    if sys.stdout is None:
        return
    try:
        _print(settings, http_url, https_url, room)
    except OSError as error:
        log.warning("the links could not be printed: %s", error.strerror)
        # What is still in its buffer would fail once more at the end, and make the exit status 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _print(settings: Config, http_url: str, https_url: str, room: str) -> None:
    path = f"/r/{room}" if room else "/"
    local = _with_host(http_url, "localhost") + path
    console = _Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]pysfu {sfu.__version__}[/]")
    console.print(f"  Open          [bold cyan]{local}[/]")
    lan = lan_address()
    if https_url and lan:
        link = _with_host(https_url, lan) + path
        console.print(f"  Phone or LAN  [bold cyan]{link}[/]")
        if not settings.server.tls_cert:
            console.print("                (own certificate: the browser warns once, choose to go on)")
        if sys.stdout.isatty():
            console.print(qr(link), style="white on black")
    if settings.auth.keys:
        console.print(
            f"  Token         sfu token --room {room or 'ROOM'} --identity NAME   (append as #token=...)"
        )
    camera = f"{_command()} camera --server {_with_host(http_url, 'localhost')} --room {room or 'demo'}"
    console.print(f"  Add a camera  [green]{camera}[/]")
    console.print("                (no camera at hand? put 'synthetic' after 'camera')")
    if exposure.is_open(settings):
        console.print(f"  [bold red]Warning       {exposure.WARNING}[/]")
    console.print("  Stop          Ctrl-C\n")


def qr(link: str) -> str:
    """`link` as a QR code of half-block characters."""
    code = qrcode.QRCode(border=2, error_correction=qrcode.constants.ERROR_CORRECT_L)
    code.add_data(link)
    out = io.StringIO()
    code.print_ascii(out=out, invert=True)
    return out.getvalue()


def lan_address() -> str:
    """This machine's IPv4 address towards the network, empty if it has none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _with_host(url: str, host: str) -> str:
    scheme, _, rest = url.partition("://")
    port = rest.rsplit(":", 1)[-1]
    return f"{scheme}://{host}:{port}"


def _command() -> str:
    """How the person at this terminal calls `sfu`: by name if it is found, else where it was installed."""
    if shutil.which("sfu"):
        return "sfu"
    beside = Path(sys.executable).with_name("sfu")
    if not beside.exists():
        return f"{sys.executable} -m sfu"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
