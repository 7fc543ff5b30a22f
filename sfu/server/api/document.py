"""The OpenAPI document, made from the declarations of the endpoints. Spec: OpenAPI 3.1.0."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sfu
from sfu.server.api.endpoint import PREFIX, STATUS, Endpoint
from sfu.server.api.repeats import HEADER, KEY_SCHEMA
from sfu.server.api.schemas import ERROR
from sfu.server.retrying import RETRY_AFTER, TURNED_AWAY
from sfu.server.wire import Json

_ALWAYS = ("rate_limited", "internal", "host_not_allowed")
_OF_NEED: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "server": (
        "bad_token",
        "token_expired",
        "token_revoked",
        "removed",
        "keys_unavailable",
        "locked_out",
        "not_allowed",
    ),
}
_GUARDED = (
    "bad_token",
    "token_expired",
    "token_revoked",
    "removed",
    "keys_unavailable",
    "locked_out",
    "wrong_room",
    "not_allowed",
    "not_found",
)
_WHO = {
    "nothing": "Anybody.",
    "server": "Any token, or a participant's secret: then it is about its room.",
    "room": "A token for the room, or a participant's secret.",
    "inside": "A participant's secret, or a token for the room with the right `moderate`.",
    "follow": "A participant's secret, with a right to subscribe or to chat, or a token with `moderate`.",
    "chat": "A participant's secret, with the right `chat`.",
    "moderate": "A token for the room, or a participant's secret, with the right `moderate`.",
    "admin": "An administrator's token (`sfu token --admin`).",
}


def document(endpoints: Iterable[Endpoint]) -> Json:
    """All of it."""
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pysfu",
            "version": sfu.__version__,
            "description": "Rooms, the people in them and what they leave behind. Errors have stable codes.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "participant": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Participant ID:SECRET`, the participant's own as `joined` told them",
                },
            },
            "schemas": {"Error": ERROR},
        },
    }


def errors_of(endpoint: Endpoint) -> list[str]:
    """Every code that the endpoint may refuse with."""
    codes = {*_ALWAYS, *_OF_NEED.get(endpoint.needs, _GUARDED), *endpoint.errors}
    if endpoint.query or endpoint.body or endpoint.raw_body:
        codes.add("bad_request")
    if endpoint.body or endpoint.raw_body:
        codes.add("too_large")
    if endpoint.parts:
        codes.add("not_found")
    if endpoint.repeatable:
        codes |= {"bad_request", "key_reused"}
    if endpoint.costs:
        codes.add("quota_exceeded")
    return sorted(codes)


def _operation(endpoint: Endpoint) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in endpoint.parts.items()
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in endpoint.query.items()
    ]
    if endpoint.repeatable:
        parameters.append({"name": HEADER, "in": "header", "required": False, "schema": KEY_SCHEMA})
    operation: Json = {
        "operationId": _name(endpoint),
        "tags": [_tag(endpoint.path)],
        "summary": endpoint.summary,
        "description": _WHO[endpoint.needs],
        "parameters": parameters,
        "responses": _responses(endpoint),
        "security": [] if endpoint.needs == "nothing" else [{"token": []}],
    }
    if endpoint.needs in {"server", "room", "inside", "follow", "chat", "moderate"}:
        operation["security"].append({"participant": []})
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": endpoint.body}},
        }
    if endpoint.raw_body:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
    return operation


def _responses(endpoint: Endpoint) -> Json:
    done: Json = {"description": "Done."}
    schema: Any = endpoint.answer if endpoint.answer is not None else {}
    done["content"] = {endpoint.media_type: {"schema": schema}}
    responses: Json = {str(endpoint.status): done}
    by_status: dict[int, list[str]] = {}
    for code in errors_of(endpoint):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        if status in TURNED_AWAY:
            seconds = {"schema": {"type": "integer"}, "description": "Seconds after which to try again."}
            responses[str(status)]["headers"] = {RETRY_AFTER: seconds}
    return responses


def _tag(path: str) -> str:
    words = [word for word in path.split("/") if word and "{" not in word]
    return words[1] if words[0] == "rooms" and len(words) > 1 else words[0]


def _name(endpoint: Endpoint) -> str:
    words = [word.strip("{}").replace(".", "_") for word in endpoint.path.split("/") if word]
    return "_".join([endpoint.method.lower(), *words])
