"""A server that asks for tokens, tokens for it, and who calls its HTTP API, for tests."""

from __future__ import annotations

import time
from typing import Any

from signalling import Clients, Signal, local_config

from sfu.config import AuthConfig
from sfu.server import tokens

SECRET = "s" * 32


def token(identity: str = "ann", **changes: Any) -> str:
    given: dict[str, Any] = {"identity": identity, "room": "r", "ttl_s": 60, "now_s": int(time.time())}
    return tokens.mint("k", SECRET, **(given | changes))


def guarded(**auth: Any) -> Any:
    return local_config(auth=AuthConfig(keys=(f"k:{SECRET}",), **auth))


def error(message: dict[str, Any]) -> str:
    assert message["type"] == "error", message
    return str(message["code"])


async def refused(those: Clients, **members: Any) -> str:
    return error(await (await those.open()).join(**members))


async def member(those: Clients, identity: str, **changes: Any) -> Signal:
    return await those.join(name=identity, token=token(identity, **changes))


async def call(
    those: Clients, method: str, path: str, who: Signal | str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a request below `/api/v1`, by a participant or as the bearer of a token."""
    credential = f"Bearer {who}" if isinstance(who, str) else f"Participant {who.me}:{who.joined['secret']}"
    url = f"{those.server.http_url}/api/v1{path}"
    async with those.http.request(method, url, json=body, headers={"Authorization": credential}) as answer:
        return answer.status, await answer.json()
