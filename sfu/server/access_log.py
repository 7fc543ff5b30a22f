"""The access log: one line for each HTTP request, where `log.access` asks for it."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from sfu.log import ACCESS, peer_address

log = logging.getLogger(ACCESS)


class AccessLogger(AbstractAccessLogger):
    """Tells address, method, path, status, bytes and milliseconds; no query, header or body.

    A path is told as it came, percent-encoded: it can add no line and no colour to the log.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        log.info(
            "%s %s %s %d %d bytes %d ms",
            peer_address(request.remote or "-"), request.method, request.rel_url.raw_path, response.status,
            response.body_length, round(time * 1000),
        )  # fmt: skip

    @property
    def enabled(self) -> bool:
        return log.isEnabledFor(logging.INFO)
