"""Odd requests of strangers: none is answered by a 5xx, none leaves a traceback in the log."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import pytest
from signalling import Clients, clients, local_config

from sfu import log
from sfu.config import LimitsConfig

PATHS = (
    "/static/%00.css", "/static/" + "a" * 300 + ".css", "/static/" + "a/" * 2000 + "x.css",
    "/static/%ff%fe.css", "/static/%ed%a0%80.css", "/static/ui/app.js/x.css", "/static/..%2f..%2fx.css",
    "/r/%00", "/r/%ff", "//", "*", "http://[::1", "http://a:99999/", "/%", "/healthz?a=%ff",
    "/api/v1/rooms/%00", "/api/v1/rooms/a/files/%00", "/api/v1/rooms/a/files/%00/thumbnail",
    "/api/v1/openapi.json?x=%00", "/api/v1/" + "a" * 7000,
)  # fmt: skip
HEADERS = (
    "Range: bytes=99999999-", "Range: bytes=5-1", "Range: bytes=0-" + "9" * 400,
    "If-Modified-Since: Thu, 01 Jan 0000 00:00:00 GMT", "If-Modified-Since: Fri, 31 Feb 2020 23:59:59 GMT",
    "If-Modified-Since: Thu, 01 Jan 2020 00:00:00 +9999", "If-Range: Fri, 31 Dec 99999 23:59:59 GMT",
    "If-None-Match: W/x", "If-Match: *", "Content-Type: ;;;=", 'Cookie: a="\\\\\\400', "Expect: foo",
    "Host: [", "Host: a:b:c", "Host: \xff", "Content-Length: 99999999999999999999", "Content-Encoding: gzip",
    "Transfer-Encoding: chunked", "Origin: http://[", "Origin: http://a:x", "Origin: \xff\xfe",
    "Upgrade: h2c", "Sec-WebSocket-Protocol: a,b", "Sec-WebSocket-Key: x",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x",
)  # fmt: skip
FRAMES = (
    b"\x81\x05hello", b"\xf1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0",
    b"\xc1\x85\0\0\0\0\xff\xff\xff\xff\xff", b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\x81\x82\0\0\0\0\xff\xff", b"\x88\x81\0\0\0\0\x01", b"\x88\x82\0\0\0\0\x27\x0f", b"\x82\x82\0\0\0\0ab",
)  # fmt: skip
GARBAGE = (
    b"\x16\x03\x01" + b"a" * 300, b"GET\r\n\r\n", b"\0" * 1000, b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n\r\n",
    b"POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Encoding: deflate\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /api/v1/tokens HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
)  # fmt: skip
WEBSOCKET = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)  # fmt: skip


async def sent(those: Clients, data: bytes, then: bytes = b"") -> bytes:
    """What comes back for bytes, and for more of them after the first answer."""
    port = urlsplit(those.server.http_url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(5):
            writer.write(data)
            answer = await reader.read(1000)
            if then:
                writer.write(then)
            if not then or b" 101 " in answer[:20]:
                writer.write_eof()
            await reader.read()
            return answer
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.close()


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    host = () if any(each.startswith("Host:") for each in headers) else ("Host: 127.0.0.1",)
    lines = (f"{method} {path} HTTP/1.1", *host, *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


async def test_strange_requests_are_refused_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    config = local_config(limits=LimitsConfig(api_per_s=1e6, api_burst=1_000_000))
    async with clients(config) as those:
        asked = [(request(path, "Connection: close"), b"") for path in PATHS]
        for header in HEADERS:
            asked.append((request("/static/ui/app.js", header, "Connection: close"), b""))
            asked.append((request("/api/v1/rooms/a/files", header, "Connection: close", method="POST"), b""))
            asked.append((request("/signal", header, *WEBSOCKET), b""))
        asked += [(each, b"") for each in GARBAGE]
        asked += [
            (request("/signal", *WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate"), frame)
            for frame in FRAMES
        ]
        for data, then in asked:
            answer = await sent(those, data, then)
            assert not answer.startswith(b"HTTP/1.1 5"), (data[:200], answer)
    left = [each for each in caplog.records if log._not_a_peers(each) and each.exc_info]
    assert [each.getMessage() for each in left] == []
