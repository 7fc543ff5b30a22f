"""The HTTP API against its own document, by schemathesis: nothing it makes up may break the server."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from server_process import ServerProcess, running
from signalling import Signal

from sfu.server import tokens

KEY, SECRET = "key", "a secret that is long enough for HS256"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 4
"""Of each operation and kind: what runs in some seconds."""


async def conforms(server: ServerProcess, folder: Path, *options: str) -> None:
    """Run schemathesis in a process of its own: it is not of asyncio."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.url}/api/v1/openapi.json",
        *("--checks", CHECKS, "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "1"),
        *("--phases", "coverage,fuzzing", "--suppress-health-check", "all", "--no-color"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()


async def ping(signal: Signal) -> None:
    """Stay in the room meanwhile, and hear what is told there."""
    while True:
        await signal.request("ping")
        await asyncio.sleep(1)


@pytest.mark.parametrize("who", ["owner", "administrator", "nobody", "in development mode"])
async def test_what_schemathesis_makes_up_breaks_nothing(tmp_path: Path, who: str) -> None:
    limits = ("auth.max_failures=1000000", "limits.api_per_s=100000", "limits.api_burst=100000")
    keys = () if who == "in development mode" else (f"auth.keys={KEY}:{SECRET}",)
    now_s = int(time.time())
    token = tokens.mint(KEY, SECRET, identity="ann", room="1", role="owner", now_s=now_s, ttl_s=600, jti="j")
    boss = tokens.mint_admin(KEY, SECRET, identity="root", now_s=now_s, ttl_s=600, jti="k")
    async with running(tmp_path, *keys, *limits) as server, aiohttp.ClientSession() as http:
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        await ann.join("1", token=token)
        credentials = {
            "owner": f"Bearer {token}",
            "administrator": f"Bearer {boss}",
            "in development mode": f"Participant {ann.me}:{ann.joined['secret']}",
        }
        options = ["--header", f"Authorization: {credentials[who]}"] if who in credentials else []
        if who in {"owner", "in development mode"}:
            # Where she is: what is made up reaches further then. What would end that is for the others.
            config = tmp_path / "schemathesis.toml"
            config.write_text(f'[parameters]\nroom = "1"\nparticipant = "{ann.me}"\n')
            for name in ("delete_rooms_room", "delete_rooms_room_participants_participant"):
                options += ["--exclude-operation-id", name]
        pinging = asyncio.create_task(ping(ann))
        await conforms(server, tmp_path, *options)
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        async with http.get(server.url + "/healthz") as answer:
            assert answer.status == 200
