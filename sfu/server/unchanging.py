"""An answer that never changes while the server runs: encoded and compressed once, and told by its ETag."""

from __future__ import annotations

import gzip
import hashlib

from aiohttp import web

LEAST_BYTES = 1024
"""Less is not worth the header that says it is compressed."""


class Unchanging:
    """Spec: RFC 9110, sections 8.8.3 (ETag), 12.5.3 (Accept-Encoding) and 13.1.2 (If-None-Match)."""

    def __init__(self, body: bytes, media_type: str) -> None:
        digest = hashlib.sha256(body).hexdigest()[:32]
        self._media_type = media_type
        self._plain = body, f'"{digest}"'
        compressed = gzip.compress(body, mtime=0) if len(body) >= LEAST_BYTES else None
        # Two forms of one answer are told apart by their tags.
        self._compressed = (compressed, f'"{digest}-gzip"') if compressed is not None else None

    def answer(self, request: web.Request) -> web.Response:
        """The whole of it, or 304 for who has it."""
        body, tag = self._plain
        headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if self._compressed is not None and _takes_gzip(request.headers.get("Accept-Encoding", "")):
            body, tag = self._compressed
            headers["Content-Encoding"] = "gzip"
        headers["ETag"] = tag
        if any(each.value in {"*", tag.strip('"')} for each in request.if_none_match or ()):
            headers.pop("Content-Encoding", None)
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers={**headers, "Content-Type": self._media_type})


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.split(","):
        name, _, weight = each.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
