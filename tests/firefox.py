"""A Firefox that is driven by WebDriver BiDi, which it speaks itself. Spec: https://w3c.github.io/webdriver-bidi"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from browser import LOOK, NOTE_CONNECTIONS, until

PREFERENCES = {
    # Devices: Firefox's own colour bars and tone, without a question. A picked screen is its first one.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    # Everything is on this machine: candidates are told as they are.
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "dom.disable_beforeunload": True,
    # It talks to nobody but the page's server.
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
}
WIDTH, HEIGHT = 1280, 900
_LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """A running browser with one BiDi session."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []
        """Script errors of every page."""
        self._reader = asyncio.create_task(self._read())

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        message = await asyncio.wait_for(answer, 60)
        assert message["type"] == "success", message
        return dict(message["result"])

    async def page(self) -> FirefoxPage:
        """A page with a profile of its own."""
        user_context = (await self.command("browser.createUserContext"))["userContext"]
        made = await self.command("browsingContext.create", type="tab", userContext=user_context)
        return FirefoxPage(self, made["context"])

    async def begin(self) -> None:
        await self.command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        await self.command("session.subscribe", events=["log.entryAdded"])
        await self.command("script.addPreloadScript", functionDeclaration=f"() => {{ {NOTE_CONNECTIONS} }}")

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    async def _read(self) -> None:
        async for frame in self._socket:
            message = json.loads(frame.data)
            if message["type"] == "event":
                entry = message["params"]
                if entry.get("type") == "javascript" and entry.get("level") == "error":
                    self.errors.append(str(entry["text"]))
            elif answer := self._waiting.pop(message["id"], None):
                answer.set_result(message)


class FirefoxPage:
    """One page in a call, driven as a person would: by what is on the page."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    async def run(self, function: str, *arguments: Any) -> Any:
        """The value, as JSON has it, that a function of the page's returns for `arguments`."""
        result = await self._firefox.command(
            "script.callFunction",
            functionDeclaration=f"""
                async (given) => JSON.stringify(await ({function})(...JSON.parse(given)) ?? null)
            """,
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert result["type"] == "success", result["exceptionDetails"]["text"]
        return json.loads(result["result"]["value"])

    async def open(self, url: str) -> None:
        await self._firefox.command(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def has(self, test_id: str) -> bool:
        return bool(await self.run('(id) => !!document.querySelector(`[data-testid="${id}"]`)', test_id))

    async def click(self, test_id: str) -> None:
        """Press a control with the pointer, when it can be seen and is at rest."""
        found: dict[str, Any] = await until(lambda: self._at(test_id), f"{test_id} to be pressed")
        pointer = [
            {"type": "pointerMove", "x": found["x"], "y": found["y"]},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        await self._perform("pointer", pointer)

    async def turn(self, test_id: str, *, on: bool) -> None:
        """Press a switch when it is the other way, and wait until it is so: devices take their time."""

        async def pressed(wanted: bool) -> bool:
            now = "(id) => document.querySelector(`[data-testid=\"${id}\"]`)?.getAttribute('aria-pressed')"
            return bool(await self.run(now, test_id) == str(wanted).lower())

        await until(lambda: pressed(not on), f"{test_id} to be there")
        await self.click(test_id)
        await until(lambda: pressed(on), f"{test_id} to be {'on' if on else 'off'}")

    async def fill(self, test_id: str, text: str) -> None:
        """Type into a field, by the keyboard, in place of what stands there."""
        await self.click(test_id)
        await self.run("() => document.activeElement.select()")
        keys = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        await self._perform("key", keys)

    async def join(self, url: str, room: str, name: str) -> None:
        """Open the room's link, give a name, press Join, and wait for the call."""
        await self.open(f"{url}/r/{room}")
        await self.fill("prejoin-name", name)
        await self.click("prejoin-join")
        await until(lambda: self.has("leave"), "the call", 40)

    async def tile(self, name: str, source: str = "camera") -> dict[str, str] | None:
        """The data attributes of the tile of the participant called `name`, None where there is none."""
        found: dict[str, str] | None = await self.run(
            """(name, source) => {
              const tiles = [...document.querySelectorAll(`[data-testid="tile"][data-source="${source}"]`)];
              const tile = tiles.find((tile) => tile.textContent.includes(name));
              return tile ? {...tile.dataset} : null;
            }""",
            name,
            source,
        )
        return found

    async def sees(self, name: str, source: str = "camera", timeout_s: float = 30) -> dict[str, Any]:
        """Wait for a picture that is not flat and that moves; returns its last look."""
        first = await until(lambda: self._picture(name, source), f"a picture of {name}", timeout_s)

        async def moved() -> dict[str, Any] | None:
            look = await self._picture(name, source)
            return look if look and look["hash"] != first["hash"] else None

        moving: dict[str, Any] = await until(moved, f"a moving picture of {name}", timeout_s)
        return moving

    async def inbound(self, kind: str) -> list[dict[str, Any]]:
        """`inbound-rtp` statistics of what is received now, for one kind."""
        found: list[dict[str, Any]] = await self.run(
            """async (kind) => {
              const found = [];
              for (const pc of window.__connections) {
                if (pc.connectionState === 'closed') continue;
                for (const report of (await pc.getStats()).values())
                  if (report.type === 'inbound-rtp' && report.kind === kind) found.push(report);
              }
              return found;
            }""",
            kind,
        )
        return found

    async def energy(self) -> float:
        """`totalAudioEnergy` of what is heard, summed over streams."""
        return sum(report.get("totalAudioEnergy", 0) for report in await self.inbound("audio"))

    async def texts(self, test_id: str) -> list[str]:
        found: list[str] = await self.run(
            '(id) => [...document.querySelectorAll(`[data-testid="${id}"]`)].map((e) => e.textContent)',
            test_id,
        )
        return found

    async def close(self) -> None:
        await self._firefox.command("browsingContext.close", context=self._context)

    async def look(self, name: str, source: str = "camera") -> dict[str, Any] | None:
        """What the tile's picture looks like now, None while it shows none."""
        seen: dict[str, Any] | None = await self.run(
            f"""(name, source) => {{
              const tiles = [...document.querySelectorAll(`[data-testid="tile"][data-source="${{source}}"]`)];
              const video = tiles.find((tile) => tile.textContent.includes(name))?.querySelector('video');
              return video ? ({LOOK})(video) : null;
            }}""",
            name,
            source,
        )
        return seen

    async def _picture(self, name: str, source: str) -> dict[str, Any] | None:
        look = await self.look(name, source)
        return look if look and look["spread"] > 5 else None

    async def _at(self, test_id: str) -> dict[str, Any] | None:
        """The middle of a control, None while it does not take the pointer there."""
        found: dict[str, Any] | None = await self.run(
            """(id) => {
              const control = document.querySelector(`[data-testid="${id}"]`);
              control?.scrollIntoView({block: 'nearest'});
              const box = control?.getBoundingClientRect();
              if (!box?.width || control.disabled) return null;
              const [x, y] = [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];
              const top = document.elementFromPoint(x, y);
              return top && (control.contains(top) || top.contains(control)) ? {x, y} : null;
            }""",
            test_id,
        )
        return found

    async def _perform(self, kind: str, actions: list[dict[str, Any]]) -> None:
        source = {"type": kind, "id": kind, "actions": actions}
        await self._firefox.command("input.performActions", context=self._context, actions=[source])


@contextlib.asynccontextmanager
async def firefox(folder: Path, executable: str, xvfb: str) -> AsyncIterator[Firefox]:
    """Start Firefox with a new profile in `folder`, on a screen of its own that it can share, and end it."""
    profile = folder / "profile"
    profile.mkdir()
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items())
    (profile / "user.js").write_text("\n".join(lines))
    size = f"{WIDTH}x{HEIGHT}x24"
    async with _running(
        xvfb, "-displayfd", "1", "-screen", "0", size, "-nolisten", "tcp", stdout=PIPE, stderr=DEVNULL
    ) as screen:
        assert screen.stdout is not None
        async with asyncio.timeout(30):
            display = f":{int(await screen.stdout.readline())}"
        async with _running(
            executable, "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0",
            "--width", str(WIDTH), "--height", str(HEIGHT), "about:blank",
            stdout=DEVNULL, stderr=PIPE, env={**os.environ, "DISPLAY": display},
        ) as process:  # fmt: skip
            assert process.stderr is not None
            async with asyncio.timeout(90):
                address = await anext(
                    match[1].decode() async for line in process.stderr if (match := _LISTENS.search(line))
                )
            drain = asyncio.create_task(_drain(process.stderr))
            async with (
                aiohttp.ClientSession() as http,
                http.ws_connect(f"{address}/session", max_msg_size=2**24) as socket,
            ):
                browser = Firefox(socket)
                try:
                    await browser.begin()
                    yield browser
                finally:
                    await browser.close()
                    drain.cancel()


@contextlib.asynccontextmanager
async def _running(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is ended with the block."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    """A full pipe would stop the browser."""
    while await stream.read(65536):
        pass
