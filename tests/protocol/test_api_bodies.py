"""Bodies that are not what their headers say: the sender is told, and nothing is logged as our bug."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from server_process import running
from signalling import Signal, clients

from sfu.server.api import endpoint

GZIP = (b"Content-Encoding: gzip\r\nContent-Length: 3\r\n", b"xxx")
CHUNKS = b"Transfer-Encoding: chunked\r\n"


def credential(ann: Signal) -> bytes:
    return f"Participant {ann.me}:{ann.joined['secret']}".encode()


@contextlib.asynccontextmanager
async def posted(port: int, ann: Signal, headers: bytes, body: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which a request with these bytes was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/v1/rooms/r/broadcast HTTP/1.1\r\nHost: x\r\n")
    writer.write(b"Authorization: " + credential(ann) + b"\r\n" + headers + b"\r\n" + body)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def code(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """The status and the code of the answer."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
    return head.split()[1], body["error"]["code"]


async def test_bad_bodies_are_the_senders_fault(tmp_path: Path) -> None:
    async with running(tmp_path, "server.https_port=-1") as server, aiohttp.ClientSession() as http:
        ann = Signal(await http.ws_connect(server.url + "/signal"))
        await ann.join()
        async with posted(server.port, ann, *GZIP) as reader:
            assert await code(reader) == (b"400", "bad_request")
        for headers, body in (
            (CHUNKS, b"ZZZ\r\n{}\r\n0\r\n\r\n"),
            (b"Content-Length: -1\r\n", b""),
            (b"no header at all\r\n", b""),
        ):
            async with posted(server.port, ann, headers, body) as reader, asyncio.timeout(10):
                assert (await reader.readuntil(b"\r\n")).split()[1] == b"400"
        async with posted(server.port, ann, b"Content-Length: 50\r\n", b"{"):
            pass
        async with http.get(server.url + "/healthz") as answer:
            assert answer.status == 200
    assert "ERROR" not in server.log.read_text()


async def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_S", 0.1)
    async with clients() as those:
        ann = await those.join()
        port = int(those.server.http_url.rpartition(":")[2])
        for headers in (b"Content-Length: 50\r\n", CHUNKS):
            async with posted(port, ann, headers, b"1\r\n{\r\n") as reader:
                assert await code(reader) == (b"400", "bad_request")
