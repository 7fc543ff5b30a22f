"""Compressed bytes of strangers: what they grow to is bounded before it is there."""

from __future__ import annotations

import asyncio
import resource
import sys
import zlib
from urllib.parse import urlsplit

import aiohttp
import pytest
from guarded import guarded, token
from signalling import clients

from sfu.config import LimitsConfig

GROWN = 100_000_000
MOST_BYTES = 40_000_000
"""What the process may grow by meanwhile: buffers, and what is refused already."""


def small(wbits: int) -> bytes:
    """`GROWN` blanks, compressed without ever being there."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = b" " * 1_000_000
    return b"".join(deflate.compress(block) for _ in range(GROWN // len(block))) + deflate.flush()


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def frame(payload: bytes) -> bytes:
    """One masked text frame that says it is deflated. Spec: RFC 7692 section 7.2.1."""
    return b"\xc1\xff" + len(payload).to_bytes(8, "big") + bytes(4) + payload


async def test_a_message_that_grows_ends_its_connection_only() -> None:
    data = small(-15)
    assert len(data) < LimitsConfig().message_bytes
    async with clients() as those:
        other = await those.join()
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(those.server.http_url).port)
        writer.write(
            b"GET /signal HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        before = peak_bytes()
        writer.write(frame(data))
        try:
            answer = await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            # It did not even read the rest.
            answer = b""
        # 1009: the message is too big.
        assert not answer or (1009).to_bytes(2, "big") in answer
        assert peak_bytes() - before < MOST_BYTES
        writer.close()
        assert (await other.request("chat", text="hello"))["type"] == "ok"


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15)])
async def test_a_body_that_grows_is_refused(encoding: str, wbits: int) -> None:
    data = small(wbits)
    async with clients(guarded()) as those:
        await those.join(token=token(role="owner"))
        url = f"{those.server.http_url}/api/v1/rooms/r/messages"
        headers = {"Authorization": f"Bearer {token(role='owner')}", "Content-Encoding": encoding}
        before = peak_bytes()
        try:
            async with those.http.post(url, data=data, headers=headers) as answer:
                assert answer.status == 413
        except aiohttp.ClientConnectionError:
            # The answer came before the body was sent.
            pass
        assert peak_bytes() - before < MOST_BYTES
        async with those.http.get(those.server.http_url + "/healthz") as answer:
            assert answer.status == 200
