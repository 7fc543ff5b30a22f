"""Programs with other WebRTC stacks. Each speaks the protocol in lines: the WebSocket is held here.

A line on a program's standard output is a message to the server, a line on its standard input one from the
server. `{"report": ...}` is no message but what it has counted, for the last time when its standard input has
ended. So a stack is tried whether or not its language has a WebSocket at hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

_FIRST_ID = 1_000_000
"""Ids of the test's own requests begin here, out of the way of the program's."""


class BridgedPeer:
    """A running program and its WebSocket. `messages` are those from the server, in order."""

    def __init__(
        self, process: asyncio.subprocess.Process, socket: aiohttp.ClientWebSocketResponse, log: Path
    ) -> None:
        self.messages: list[dict[str, Any]] = []
        self.report: dict[str, Any] | None = None
        self._process = process
        self._socket = socket
        self._log = log
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(_FIRST_ID)
        self._tasks = [asyncio.create_task(work()) for work in (self._to_server, self._from_server)]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one type that have come from the server."""
        return [message for message in self.messages if message["type"] == kind]

    async def ask(self, kind: str, **members: Any) -> dict[str, Any]:
        """A request of the test's own in this participant's name, and its answer."""
        request_id = next(self._ids)
        answer = self._asked[request_id] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"type": kind, "id": request_id, **members})
        return await asyncio.wait_for(answer, 15)

    async def finish(self) -> dict[str, Any]:
        """Let the program end, and return its report."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 30)
        await self._tasks[0]
        assert self.report is not None, self._log.read_text()[-4000:]
        return self.report

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _to_server(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "report" in message:
                self.report = message["report"]
            else:
                await self._socket.send_json(message)

    async def _from_server(self) -> None:
        assert self._process.stdin is not None
        async for frame in self._socket:
            message = json.loads(frame.data)
            self.messages.append(message)
            if answer := self._asked.pop(message.get("id"), None):
                answer.set_result(message)
            else:
                with contextlib.suppress(ConnectionError):
                    self._process.stdin.write(json.dumps(message).encode() + b"\n")


@contextlib.asynccontextmanager
async def bridged(url: str, log: Path, *command: str | Path) -> AsyncIterator[BridgedPeer]:
    """Run a program that speaks to the server at `url`; its standard error goes into `log`."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/signal", heartbeat=10) as socket:
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=2**20,
            )
        peer = BridgedPeer(process, socket, log)
        try:
            yield peer
        finally:
            await peer.close()
