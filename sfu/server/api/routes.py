"""All endpoints together: served, and documented."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

from aiohttp import web

from sfu.config import Config
from sfu.server import costs
from sfu.server.api import messages, participants, records, rooms, telemetry, tokens
from sfu.server.api.callers import Callers
from sfu.server.api.document import document
from sfu.server.api.endpoint import Call, Endpoint, route
from sfu.server.api.files import Files
from sfu.server.api.repeats import Repeats
from sfu.server.api.schemas import ANYTHING
from sfu.server.conference import Conference
from sfu.server.unchanging import Unchanging
from sfu.store.store import Store


def endpoints(config: Config, conference: Conference, store: Store, files: Files) -> list[Endpoint]:
    """Everything below `/api/v1`."""
    declared = [
        *rooms.endpoints(conference),
        *participants.endpoints(conference),
        *messages.endpoints(conference, config.limits.chat_characters),
        *files.endpoints(),
        *records.endpoints(conference),
        *telemetry.endpoints(conference, store),
        *tokens.endpoints(conference),
    ]

    async def describe(call: Call) -> web.Response:
        return described().answer(call.request)

    declared.append(
        Endpoint(
            method="GET",
            path="/openapi.json",
            summary="This document",
            needs="nothing",
            cost=costs.SMALL,
            do=describe,
            answer=ANYTHING,
        )
    )
    # What is declared is all there is, so the document is made by the first who asks for it.
    described = cache(lambda: Unchanging(json.dumps(document(declared)).encode(), "application/json"))
    return declared


def routes(
    config: Config,
    conference: Conference,
    store: Store,
    files: Files,
    address: Callable[[web.Request], str],
) -> list[web.RouteDef]:
    """They as aiohttp serves them; `address` tells where a request comes from."""
    callers = Callers(conference, config.limits, address)
    repeats = Repeats()
    return [route(each, callers, repeats) for each in endpoints(config, conference, store, files)]
