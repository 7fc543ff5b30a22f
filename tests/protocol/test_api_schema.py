"""The HTTP API against its own document, by schemathesis: nothing it makes up may break the server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from server_process import ServerProcess, running
from signalling import Signal

from sfu.server import tokens
from sfu.server.api.endpoint import PREFIX

KEY, SECRET = "key", "a secret that is long enough for HS256"
ROOM = "1"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 4
"""Of each operation and kind: what runs in some seconds."""
ENDING = (
    "delete_rooms_room",
    "delete_rooms_room_participants_participant",
    "delete_rooms_room_files_file",
)
"""What would take away what the others look at; it is asked for what is not there, by who is nobody."""
FOR_ADMINISTRATORS = {"get_stats", "get_audit", "post_rooms", "post_tokens", "delete_tokens_jti"}
APART = {
    "get_openapi_json",
    "patch_rooms_room_files_file",
    "post_rooms_room_lobby_waiting",
    "post_rooms_room_readmit",
}
"""The document, which it reads at first, and what needs more than ids: the offset at which an upload is; that
nobody has opened the lobby before; who was removed, and not let back yet."""
NOT_OF = {
    "owner": FOR_ADMINISTRATORS,
    "in development mode": FOR_ADMINISTRATORS,
    "administrator": {"get_rooms_room_files_file_upload"},
}
"""What they may not do. An upload is the affair of who has begun it."""


@dataclass(frozen=True)
class Seeds:
    """Ids of what there is in the room."""

    participant: str
    message: str
    file: str
    upload: str
    waiting: str

    def write(self, folder: Path) -> None:
        """As schemathesis takes them."""
        (folder / "schemathesis.toml").write_text(
            f'[parameters]\nroom = "{ROOM}"\nparticipant = "{self.participant}"\nmessage = "{self.message}"\n'
            f'file = "{self.file}"\nwaiting = "{self.waiting}"\njti = "spare"\nseries = "pulse"\n'
            "[[operations]]\n"
            'include-operation-id = ["get_rooms_room_files_file_upload", "patch_rooms_room_files_file"]\n'
            f'parameters = {{ file = "{self.upload}" }}\n'
        )


class Hall:
    """A server with one room in which there is something of everything."""

    def __init__(self, server: ServerProcess, http: aiohttp.ClientSession) -> None:
        self._url = server.url
        self._http = http
        self.ann = Signal(None)  # type: ignore[arg-type]
        self.others: list[Signal] = []

    async def signal(self) -> Signal:
        return Signal(await self._http.ws_connect(self._url + "/signal"))

    async def seed(self, token: str, another: str) -> Seeds:
        """Ann, the owner, with all that she can leave behind, and somebody who waits in the lobby."""
        self.ann = ann = await self.signal()
        await ann.join(ROOM, token=token)
        message = (await ann.request("chat", text="hello"))["message"]["id"]
        await ann.request("telemetry_declare", series=[{"name": "pulse", "high": 1}])
        samples = [["pulse", time.time_ns() // 1_000_000, value] for value in range(300)]
        assert (await ann.request("telemetry", samples=samples))["type"] == "ok"
        picture = io.BytesIO()
        Image.new("RGB", (64, 64)).save(picture, "PNG")
        content = picture.getvalue()
        file = await self._call("POST", "/files", json={"name": "a.png", "bytes": len(content)})
        done = await self._call("PATCH", f"/files/{file['id']}?offset=0", data=content)
        assert (await ann.request("chat", text="", file=done["file"]["id"]))["type"] == "ok"
        upload = await self._call("POST", "/files", json={"name": "b.png", "bytes": 1_000_000})
        assert (await ann.request("set_room", lobby=True))["type"] == "ok"
        ben = await self.signal()
        waiting = await ben.join(ROOM, name="Ben", token=another)
        assert waiting["type"] == "waiting", waiting
        self.others.append(ben)
        return Seeds(ann.me, str(message), done["file"]["id"], upload["id"], waiting["waiting"])

    async def _call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Participant {self.ann.me}:{self.ann.joined['secret']}"}
        url = f"{self._url}{PREFIX}/rooms/{ROOM}{path}"
        async with self._http.request(method, url, headers=headers, **body) as answer:
            assert answer.status < 300, await answer.text()
            return dict(await answer.json())

    async def ping(self) -> None:
        """Stay meanwhile, and hear what is told; of those who wait, some are sent away."""
        while True:
            await self.ann.request("ping")
            for other in self.others:
                with contextlib.suppress(ConnectionError):
                    await other.send({"type": "ping"})
            await asyncio.sleep(1)


async def conforms(server: ServerProcess, folder: Path, *options: str) -> None:
    """Run schemathesis in a process of its own: it is not of asyncio."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.url}{PREFIX}/openapi.json",
        *("--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "1"),
        *("--phases", "coverage,fuzzing", "--suppress-health-check", "all", "--no-color"),
        *("--report", "har", "--report-har-path", "asked.har"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()


async def unreached(server: ServerProcess, folder: Path) -> set[str]:
    """Operations that were never done: whatever was made up for them was refused."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}{PREFIX}/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    done: set[str] = set()
    for entry in json.loads((folder / "asked.har").read_text())["log"]["entries"]:
        if entry["response"]["status"] >= 300:
            continue
        path = entry["request"]["url"].removeprefix(server.url).partition("?")[0]
        for pattern, methods in paths.items():
            if re.fullmatch(re.sub("{[^}]+}", "[^/]+", pattern), path):
                done.add(methods.get(entry["request"]["method"].lower(), {}).get("operationId", ""))
    return {each["operationId"] for methods in paths.values() for each in methods.values()} - done


@pytest.mark.parametrize("who", ["owner", "administrator", "nobody", "in development mode"])
async def test_what_schemathesis_makes_up_breaks_nothing(tmp_path: Path, who: str) -> None:
    limits = ("auth.max_failures=1000000", "limits.api_per_s=100000", "limits.api_burst=100000")
    keys = () if who == "in development mode" else (f"auth.keys={KEY}:{SECRET}",)
    now_s = int(time.time())

    def token(identity: str, role: Any) -> str:
        return tokens.mint(
            KEY, SECRET, identity=identity, room=ROOM, role=role, now_s=now_s, ttl_s=600, jti=identity
        )

    boss = tokens.mint_admin(KEY, SECRET, identity="root", now_s=now_s, ttl_s=600, jti="k")
    async with running(tmp_path, *keys, *limits) as server, aiohttp.ClientSession() as http:
        hall = Hall(server, http)
        seeds = await hall.seed(token("ann", "owner"), token("ben", "participant"))
        credentials = {
            "owner": f"Bearer {token('ann', 'owner')}",
            "administrator": f"Bearer {boss}",
            "in development mode": f"Participant {hall.ann.me}:{hall.ann.joined['secret']}",
        }
        options = []
        if who in credentials:
            seeds.write(tmp_path)
            options = ["--header", f"Authorization: {credentials[who]}"]
            for name in ENDING:
                options += ["--exclude-operation-id", name]
        pinging = asyncio.create_task(hall.ping())
        await conforms(server, tmp_path, *options)
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        if who in credentials:
            assert await unreached(server, tmp_path) - {*ENDING, *APART} <= NOT_OF[who]
        async with http.get(server.url + "/healthz") as answer:
            assert answer.status == 200
    assert "ERROR" not in server.log.read_text()
