"""Tokens for others, made by an administrator: so that only one program has to know the API secret."""

from __future__ import annotations

import secrets
from functools import partial

from sfu import clock
from sfu.errors import RequestError
from sfu.ids import RoomName
from sfu.server import costs, tokens
from sfu.server.api import schemas as s
from sfu.server.api.acting import durable, note
from sfu.server.api.endpoint import Call, Endpoint
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.wire import Json

MAX_TTL_S = 366 * 86_400


def endpoints(conference: Conference) -> list[Endpoint]:
    return [
        Endpoint(
            method="POST",
            path="/tokens",
            summary="Make a token for one room; `jti` is the id by which it can be revoked",
            needs="admin",
            cost=Cost(us=500),
            do=partial(_mint, conference),
            status=201,
            body=s.closed(
                {"room": s.ROOM, "identity": s.IDENTITY},
                {
                    "name": s.NAME,
                    "role": s.ROLE,
                    "template": s.TEMPLATE,
                    "grants": s.GRANTS,
                    "ttl_s": s.integer(1, MAX_TTL_S),
                },
            ),
            answer=s.answer(token={"type": "string"}, jti={"type": "string"}, expires_at_ms=s.TIME_MS),
            errors=("bad_state",),
        ),
        Endpoint(
            method="DELETE",
            path="/tokens/{jti}",
            summary="Revoke a token: it opens nothing any more, and who is in a room with it is removed",
            needs="admin",
            cost=costs.KEPT,
            do=partial(_revoke, conference),
            answer=s.answer(),
            errors=("overloaded", "storage_failed"),
        ),
    ]


async def _mint(conference: Conference, call: Call) -> Json:
    auth = conference.access.auth
    if not auth.keys:
        raise RequestError("bad_state", "this server has no API key of its own to sign with")
    key, _, secret = auth.keys[0].partition(":")
    body, jti = call.body, secrets.token_hex(8)
    now_s = clock.wall_ms() // 1000
    ttl_s = body.get("ttl_s", 3600)
    token = tokens.mint(
        key,
        secret,
        identity=body["identity"],
        room=body["room"],
        now_s=now_s,
        ttl_s=ttl_s,
        name=body.get("name", ""),
        role=body.get("role"),
        template=body.get("template"),
        jti=jti,
        **body.get("grants", {}),
    )
    note(conference, call, RoomName(body["room"]), "make_token", subject=body["identity"], jti=jti)
    return {"token": token, "jti": jti, "expires_at_ms": (now_s + ttl_s) * 1000}


async def _revoke(conference: Conference, call: Call) -> Json:
    jti = call.part("jti")
    if " " in jti:
        raise RequestError("not_found", "no token has such an id")
    await durable(conference.revoke(jti))
    note(conference, call, RoomName(""), "revoke_token", jti=jti)
    return {}
