"""What signals do to the real `sfu serve`, what it tells a service manager, and sockets that it is handed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from server_process import ROOT, command, environ, free_port
from signalling import Signal

from sfu.cli import first_process, signals


class Started:
    """`sfu` in a process of its own, and its output so far."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, output: Path) -> None:
        self.process = process
        self.port = port
        self._output = output

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def text(self) -> str:
        return self._output.read_text()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                assert self.process.returncode is None, self.text
                await asyncio.sleep(0.05)

    async def up(self) -> None:
        await self.until(lambda: "Stop          Ctrl-C" in self.text)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 60)


@contextlib.asynccontextmanager
async def started(
    folder: Path, *settings: str, config: Path | None = None, prefix: tuple[str, ...] = (), **variables: str
) -> AsyncIterator[Started]:
    port = free_port()
    chosen = (
        f"server.port={port}", "server.https_port=-1", "server.host=127.0.0.1", "rtc.bind=127.0.0.1",
        "rtc.port=0", f"server.data_dir={folder / 'data'}", *settings,
    )  # fmt: skip
    words = ["serve", *(word for item in chosen for word in ("--set", item))]
    if config is not None:
        words += ["--config", str(config)]
    env = environ(PYTHONUNBUFFERED="1", **variables)
    env["PYTHONPATH"] += os.pathsep + str(folder)
    output = folder / "output"
    with output.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *prefix, *command(*words), stdout=out, stderr=out, env=env, cwd=ROOT
        )
    try:
        yield Started(process, port, output)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in output.read_text(), output.read_text()


def extension(folder: Path, code: str) -> str:
    """Write an extension; `began()` in it leaves a mark that `begun` finds."""
    mark = f"import pathlib\ndef began(): pathlib.Path({str(folder / 'mark')!r}).touch()\n"
    (folder / "hanging.py").write_text(mark + textwrap.dedent(code))
    return "extensions.modules=hanging"


HANGS = {
    "import": "import time\nbegan()\ntime.sleep(3600)\n",
    "extend": "import time\ndef extend(hooks):\n    began()\n    time.sleep(3600)\n",
    "await": "import asyncio\nasync def extend(hooks):\n    began()\n    await asyncio.sleep(3600)\n",
}


@pytest.mark.parametrize("where", HANGS)
async def test_a_stop_is_heeded_while_an_extension_hangs(where: str, tmp_path: Path) -> None:
    async with started(tmp_path, extension(tmp_path, HANGS[where])) as server:
        await server.until((tmp_path / "mark").exists)
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
        assert "asked to stop while starting" in server.text
        assert "not stopped within" not in server.text


async def test_a_stop_is_heeded_while_a_database_does_not_answer(tmp_path: Path) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with contextlib.closing(silent):
        url = f"storage.url=postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        async with started(tmp_path, url) as server:
            accepted, _ = await asyncio.to_thread(silent.accept)
            with contextlib.closing(accepted):
                server.process.send_signal(signal.SIGTERM)
                assert await server.ended() == 0
                assert "asked to stop while starting" in server.text


IMPORTS_FOREVER = """
import pathlib, time
pathlib.Path({mark!r}).touch()
time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_the_first_process_of_a_container_is_stopped_while_it_imports(
    number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "jwt.py").write_text(IMPORTS_FOREVER.format(mark=str(tmp_path / "mark")))
    container = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    async with started(tmp_path, prefix=container) as server:
        await server.until((tmp_path / "mark").exists)
        (first,) = _children(server.process.pid)
        os.kill(int(first), number)
        assert await server.ended() == 128 + number


def test_what_ends_a_process_by_default_ends_the_first_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    assert first_process.default_action() is signal.SIG_DFL
    monkeypatch.setattr(os, "getpid", lambda: 1)
    action = first_process.default_action()
    assert callable(action)
    action(signal.SIGTERM, None)
    assert ended == [143]


BLOCKS = """
    import asyncio, gc, threading, time
    def block():
        began()
        time.sleep(3600)
    def extend(hooks):
        loops = [each for each in gc.get_objects() if isinstance(each, asyncio.AbstractEventLoop)]
        main = next(each for each in loops if each._thread_id == threading.main_thread().ident)
        threading.Timer(0.1, main.call_soon_threadsafe, (block,)).start()
"""


async def test_the_second_signal_ends_whatever_hangs(tmp_path: Path) -> None:
    async with started(tmp_path, extension(tmp_path, BLOCKS)) as server:
        await server.until((tmp_path / "mark").exists)
        server.process.send_signal(signal.SIGINT)
        caught = Path(f"/proc/{server.process.pid}/status")
        await server.until(lambda: not _catches(caught.read_text(), signal.SIGINT))
        server.process.send_signal(signal.SIGINT)
        assert await server.ended() == -signal.SIGINT


def _catches(status: str, number: int) -> bool:
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) & 1 << number - 1)


async def test_a_stop_that_hangs_has_a_deadline() -> None:
    code = "import time\nfrom sfu.cli.signals import end_within\nend_within(0.05)\ntime.sleep(3600)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environ(), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == os.EX_SOFTWARE
    assert b"not stopped within 0.05 s" in said
    assert signals.STOP_S < 10, "Docker kills after ten seconds"


async def test_sighup_reloads_and_nobody_notices(tmp_path: Path) -> None:
    config = tmp_path / "sfu.toml"
    config.write_text("[ice]\nstun_urls = ['stun:one']\n")
    async with started(tmp_path, config=config) as server, aiohttp.ClientSession() as http:
        await server.up()
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        assert (await ann.join())["ice_servers"][0]["urls"] == ["stun:one"]
        config.write_text("[ice]\nstun_urls = ['stun:two']\n[room]\ngrace_s = 5\n")
        server.process.send_signal(signal.SIGHUP)
        await server.until(lambda: "reloaded: ice.stun_urls" in server.text)
        assert "after a restart: room.grace_s" in server.text
        assert (await ann.request("chat", text="still here"))["type"] == "ok"
        ben = Signal(await http.ws_connect(server.url + "/signal"))
        assert (await ben.join("r", "Ben"))["ice_servers"][0]["urls"] == ["stun:two"]
        config.write_text("[ice]\nstun_urls = ['http:wrong']\n[log]\nlevel = 'loud'\n")
        server.process.send_signal(signal.SIGHUP)
        await server.until(lambda: "nothing is reloaded" in server.text)
        assert "ice.stun_urls" in server.text
        assert "log.level" in server.text
        config.unlink()
        server.process.send_signal(signal.SIGHUP)
        await server.until(lambda: server.text.count("nothing is reloaded") == 2)
        assert (await ann.request("chat", text="and still"))["type"] == "ok"
        server.process.send_signal(signal.SIGTERM)
        assert (await ann.next("going_away"))["retry_after_ms"]
        assert await server.ended() == 0


async def test_the_service_manager_is_told(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)

        async def told() -> dict[str, str]:
            lines = (await asyncio.to_thread(manager.recv, 4096)).decode().splitlines()
            return dict(line.split("=", 1) for line in lines)

        async def next_of(name: str) -> dict[str, str]:
            while name not in (found := await told()):
                assert "WATCHDOG" in found
            return found

        async with started(
            tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000"
        ) as server:
            assert f"127.0.0.1:{server.port}" in (await next_of("READY"))["STATUS"]
            assert (await told())["WATCHDOG"] == "1"
            assert (await told())["WATCHDOG"] == "1"
            server.process.send_signal(signal.SIGHUP)
            assert int((await next_of("RELOADING"))["MONOTONIC_USEC"]) > 0
            await next_of("READY")
            server.process.send_signal(signal.SIGTERM)
            await next_of("STOPPING")
            assert await server.ended() == 0


HANDS_OVER = """
import os, socket, sys
opened = []
for kind, port in (word.split(":") for word in sys.argv[1].split(",")):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", int(port)))
    if kind == "tcp":
        sock.listen()
    opened.append(sock)
kept = [os.dup2(sock.fileno(), 50 + number) for number, sock in enumerate(opened)]
for number, descriptor in enumerate(kept):
    os.dup2(descriptor, 3 + number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(opened)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


async def test_sockets_that_are_handed_over_are_used(tmp_path: Path) -> None:
    web, media = free_port(), free_port()
    handed = f"tcp:{web},udp:{media},tcp:{media}"
    prefix = (sys.executable, "-c", HANDS_OVER, handed, "http:media:media")
    async with started(tmp_path, prefix=prefix) as server, aiohttp.ClientSession() as http:
        await server.up()
        async with http.get(f"http://127.0.0.1:{web}/readyz") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (200, [])
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(server.url + "/healthz")
        _, writer = await asyncio.open_connection("127.0.0.1", media)
        writer.close()
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0


async def test_a_socket_without_name_is_known_by_its_port(tmp_path: Path) -> None:
    web = free_port()
    prefix = (sys.executable, "-c", HANDS_OVER, f"tcp:{web}", "sfu.socket")
    async with started(tmp_path, f"server.port={web}", prefix=prefix) as server:
        await server.up()
        assert f"localhost:{web}" in server.text


async def test_a_socket_for_nothing_stops_the_start(tmp_path: Path) -> None:
    port = free_port()
    prefix = (sys.executable, "-c", HANDS_OVER, f"udp:{port}", "http")
    async with started(tmp_path, prefix=prefix) as server:
        assert await server.ended() == os.EX_CONFIG
        assert f"UDP port {port} is for nothing" in server.text


async def test_the_demos_camera_ends_with_it(tmp_path: Path) -> None:
    words = [f"server.port={free_port()}", "server.https_port=-1", "server.host=127.0.0.1", "rtc.port=0"]
    settings = [word for item in (*words, f"server.data_dir={tmp_path}") for word in ("--set", item)]
    process = await asyncio.create_subprocess_exec(
        *command("demo", *settings), env=environ(), stdout=asyncio.subprocess.DEVNULL, cwd=ROOT
    )
    async with asyncio.timeout(60):
        while not (found := _children(process.pid)):
            await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
        while any(_runs(int(each)) for each in found):
            await asyncio.sleep(0.05)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
