"""Which pages may talk to the server: the rule for its names, for origins, and CORS for the HTTP API.

A browser keeps pages apart by the names of their servers, so whoever may choose a name for this one (DNS
rebinding) makes a page of its own the server's. Where nobody needs a token that would open everything: then
every request, to whatever path, must be to a name that no stranger can have chosen.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, MutableMapping
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sfu.config import ServerConfig
from sfu.server.api import repeats
from sfu.server.retrying import RETRY_AFTER

_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_HEADERS = f"Authorization, Content-Type, {repeats.HEADER}"
_EXPOSED = f"{RETRY_AFTER}, {repeats.REPLAYED}"
_PREFLIGHT_S = 600


def host_allowed(config: ServerConfig, request: web.Request, *, guarded: bool) -> bool:
    """Whether the request is to a name of this server.

    With tokens (`guarded`) a name opens nothing; TLS has proven it; behind a trusted proxy it is the proxy's
    affair. A program that names no host is no browser.
    """
    host = request.headers.get("Host")
    if host is None or guarded or request.secure or config.trust_proxy or "*" in config.allowed_origins:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    return _only_ours(name) or any(urlsplit(each).hostname == name for each in config.allowed_origins)


def origin_allowed(config: ServerConfig, request: web.Request) -> bool:
    """Pages of other sites may not use a visitor's network position. Programs send no origin.

    The host to which the request is has been found allowed.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    host = request.host
    if config.trust_proxy:
        host = request.headers.get("X-Forwarded-Host", host)
    allowed = config.allowed_origins
    if "*" in allowed or origin in allowed:
        return True
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    return page.netloc == host


def _only_ours(name: str) -> bool:
    """Whether no stranger can make the name point here: any domain of theirs could (DNS rebinding)."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return "." not in name or name.endswith((".localhost", ".local")) or name == socket.gethostname().lower()


def names(config: Callable[[], ServerConfig], *, guarded: bool) -> Middleware:
    """Refuses requests to a name that is not this server's. Spec: RFC 9110, section 15.5.20 (421).

    `config` is asked for each request: it may change.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not host_allowed(config(), request, guarded=guarded):
            raise web.HTTPMisdirectedRequest(text="not a name of this server: see server.allowed_origins")
        return await handler(request)

    return answer


def middleware(config: Callable[[], ServerConfig]) -> Middleware:
    """CORS for `/api/`: the origins of `server.allowed_origins` may read, and nobody else's pages.

    `config` is asked for each request: it may change.

    Credentials are never sent by browsers of their own accord: every request names its token itself.
    Spec: Fetch, section 3.2.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or not request.path.startswith("/api/"):
            return await handler(request)
        allowed = origin_allowed(config(), request)
        preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if preflight and not allowed:
            raise web.HTTPForbidden(text="this page may not connect: see server.allowed_origins")
        if preflight:
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = _HEADERS
            response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_S)
            _allow(response.headers, origin)
            return response
        try:
            response = await handler(request)
        except web.HTTPException as error:
            if allowed:
                _allow(error.headers, origin)
            raise
        if allowed and not response.prepared:
            _allow(response.headers, origin)
        return response

    return answer


def _allow(headers: MutableMapping[str, str], origin: str) -> None:
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = _EXPOSED
    headers["Vary"] = "Origin"
