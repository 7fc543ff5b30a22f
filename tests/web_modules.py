"""The web app's modules in a page of a real browser, without a server."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route

STATIC = Path(__file__).parents[1] / "static"
ORIGIN = "http://localhost:9"


async def serve(route: Route) -> None:
    """The app's files, and an empty page for everything else."""
    path = route.request.url.removeprefix(ORIGIN + "/static/")
    if not (STATIC / path).is_file():
        await route.fulfill(body="<!doctype html><title>test</title>", content_type="text/html")
        return
    kind = "text/javascript" if path.endswith(".js") else mimetypes.guess_type(path)[0]
    await route.fulfill(body=(STATIC / path).read_bytes(), content_type=kind)


async def run(page: Page, module: str, body: str, argument: Any = None) -> Any:
    """Evaluate `body` with `m` being the imported module and `a` the argument."""
    script = f"async (a) => {{ const m = await import('/static/{module}'); {body} }}"
    return await page.evaluate(script, argument)
