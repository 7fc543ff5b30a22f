"""The web app's files, with the headers a page with a camera needs."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from aiohttp import web

from sfu.server.door import FileResponse

TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".png": "image/png",
}
"""Fixed, because the system's table is not: a module with the wrong type does not run."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; "
        "media-src 'self' blob:; style-src 'self'; script-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def folder() -> Path:
    """Where the web app lies: the installed package's, else the checkout's. Raises `FileNotFoundError`."""
    try:
        index = importlib.resources.files("sfu.web").joinpath("index.html")
        if index.is_file():
            return Path(str(index)).parent
    except ModuleNotFoundError:
        pass
    checkout = Path(__file__).parents[2] / "static"
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError("the web app is not installed")


class Pages:
    """Serves the page for `/` and `/r/<room>`, the API's reference, and the files below `/static/`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._page),
            web.get("/r/{room}", self._page),
            web.get("/api/v1/docs", self._reference),
            web.get("/static/{path:.+}", self._file),
        ]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return self._serve(self._root / "index.html")

    async def _reference(self, request: web.Request) -> web.StreamResponse:
        return self._serve(self._root / "reference" / "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        try:
            path = (self._root / request.match_info["path"]).resolve()
            there = path.is_relative_to(self._root) and path.is_file()
        except (OSError, ValueError):
            # A name that no file can have: too long, or with a NUL in it.
            there = False
        if not there:
            raise web.HTTPNotFound
        return self._serve(path)

    def _serve(self, path: Path) -> web.StreamResponse:
        if path.suffix not in TYPES:
            raise web.HTTPNotFound
        # aiohttp adds the ETag and answers 304; no-cache makes browsers ask, so that a page never mixes
        # modules of two versions.
        response = FileResponse(path, headers={"Cache-Control": "no-cache"})
        response.content_type = TYPES[path.suffix]
        return response


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
