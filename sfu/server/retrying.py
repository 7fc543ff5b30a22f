"""When who was turned away may come again. Spec: RFC 9110 section 10.2.3, RFC 6585 section 4."""

from __future__ import annotations

from aiohttp import web

RETRY_AFTER = "Retry-After"
USUAL_S = 2
"""Where nobody knows when there is place again: about what a restart or a burst takes."""
TURNED_AWAY = frozenset({429, 503})


async def say_when(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer that turns somebody away a time; a signal `on_response_prepare`."""
    if response.status in TURNED_AWAY:
        response.headers.setdefault(RETRY_AFTER, str(USUAL_S))
