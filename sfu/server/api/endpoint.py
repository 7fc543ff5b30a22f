"""One way to declare a door of the HTTP API, and to open it: who may, what goes in, what comes out."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from sfu.errors import RequestError
from sfu.ids import RoomName
from sfu.room import names
from sfu.server import costs
from sfu.server import validation as v
from sfu.server.api.callers import Caller, Callers
from sfu.server.api.repeats import HEADER, Repeats
from sfu.server.api.schemas import ID, ROOM, Schema
from sfu.server.costs import Cost
from sfu.server.fairness import Account, Turns
from sfu.server.quotas import ROW_BYTES, bytes_of
from sfu.server.retrying import RETRY_AFTER
from sfu.server.wire import Json, dumps

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
MAX_BODY_BYTES = 65_536
AT_ONCE = 10
"""Elements of a list that are encoded before others have their turn."""
BODY_S = 30.0
"""How long a body may come to nothing, as one does whose chunks have gone wrong on the way."""

Need = Literal["nothing", "server", "room", "inside", "follow", "chat", "moderate", "admin"]
"""`server`: any token, or any participant's secret. `room`: a token for it, or a participant's secret;
`moderate`: this right there besides. `inside`: to be in the room at this moment, or to moderate it; `follow`:
besides with a right to subscribe, chat or moderate, `chat`: with that right. `admin`: an administrator's
token."""

FORMATS = FormatChecker(formats=())
FORMATS.checks("printable")(
    lambda value: (
        not isinstance(value, str)
        or (value.isprintable() and value == value.strip() and (not value or names.visible(value)))
    )
)

STATUS: Mapping[str, int] = {
    "bad_request": 400,
    "bad_token": 401,
    "token_expired": 401,
    "token_revoked": 401,
    "wrong_room": 403,
    "removed": 403,
    "not_allowed": 403,
    "refused": 403,
    "origin_not_allowed": 403,
    "host_not_allowed": 421,
    "not_found": 404,
    "method_not_allowed": 405,
    "bad_offset": 409,
    "bad_state": 409,
    "room_full": 409,
    "too_many_rooms": 409,
    "too_large": 413,
    "key_reused": 422,
    "locked_out": 429,
    "rate_limited": 429,
    "internal": 500,
    "keys_unavailable": 503,
    "overloaded": 503,
    "storage_failed": 503,
    "quota_exceeded": 507,
}
"""Of each code. What is not listed is a client's fault."""

_FRAMEWORK = {400: "bad_request", 403: "origin_not_allowed", 404: "not_found", 405: "method_not_allowed",
              413: "too_large", 421: "host_not_allowed", 429: "rate_limited", 503: "overloaded"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is allowed and well-formed. `room` is empty where the path names none."""

    request: web.Request
    caller: Caller
    account: Account
    """Who pays for it."""
    room: RoomName
    query: Mapping[str, Any]
    body: Json

    def cursor(self) -> tuple[int, str | None] | None:
        """Where `before_ms` and `before` say that the page before has ended. Raises `RequestError`."""
        if "before_ms" in self.query:
            return self.query["before_ms"], self.query.get("before")
        if "before" in self.query:
            raise v.bad("before comes with before_ms")
        return None

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]


Answer = Json | web.StreamResponse


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`path` is below `PREFIX`; `{room}` in it is the room that the caller needs its right in.

    `answer` is the schema of a JSON answer; with `media_type` the answer is of that type instead, of any with
    `*/*`. `body` is the schema of a JSON body, `raw_body` a body of bytes that the endpoint reads itself.
    What is answered, told and read from the database is paid besides the `cost`.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    summary: str
    needs: Need
    cost: Cost
    do: Callable[[Call], Awaitable[Answer]]
    answer: Schema | None = None
    media_type: str = "application/json"
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    raw_body: bool = False
    status: int = 200
    errors: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Schema]:
        """The schema of each part of the path that is a name."""
        return {name: ROOM if name == "room" else ID for name in re.findall(r"{(\w+)}", self.path)}

    @property
    def repeatable(self) -> bool:
        """Whether it takes a key that makes a repeated request do nothing more."""
        return self.method == "POST"

    @property
    def costs(self) -> bool:
        """Whether it leaves rows, if only in the audit log. Bytes of files have places of their own."""
        return self.method != "GET" and not self.raw_body

    @cached_property
    def body_check(self) -> Draft202012Validator:
        return Draft202012Validator(self.body or {}, format_checker=FORMATS)


def route(endpoint: Endpoint, callers: Callers, repeats: Repeats) -> web.RouteDef:
    """The endpoint as aiohttp serves it. `repeats` are shared by all endpoints."""

    async def do(call: Call) -> Answer:
        if not endpoint.repeatable or HEADER not in call.request.headers:
            return await endpoint.do(call)

        async def plainly() -> Json:
            result = await endpoint.do(call)
            assert not isinstance(result, web.StreamResponse)
            return result

        return await repeats.once(call.request, call.caller, call.body, endpoint.status, plainly)

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            caller, account = await callers.find(
                request, endpoint.needs, endpoint.cost, request.match_info.get("room")
            )
            for name, schema in endpoint.parts.items():
                part = request.match_info[name]
                if not 0 < len(part) <= schema["maxLength"] or not part.isprintable():
                    raise RequestError("not_found", f"no such {name}")
            room = RoomName(request.match_info.get("room", ""))
            query = _query(endpoint, request)
            body = await _body(endpoint, request)
            await callers.turns.take(account, endpoint.cost.each_us * costs.listed(body))
            if endpoint.costs:
                callers.store(caller, room, ROW_BYTES + bytes_of(body))
            result = await do(Call(request, caller, account, room, query, body))
        except RequestError as error:
            return refusal(error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("%s %s failed", endpoint.method, endpoint.path)
            return refusal(RequestError("internal", "an error of the server"))
        if isinstance(result, web.StreamResponse):
            return result
        text = await _encoded(result, callers.turns, account)
        return web.Response(text=text, status=endpoint.status, content_type="application/json")

    return web.route(endpoint.method, PREFIX + endpoint.path, answer)


async def _encoded(result: Json, turns: Turns, account: Account) -> str:
    """The answer as JSON. Long lists are encoded piece by piece, and others have their turn meanwhile."""
    members: list[str] = []
    for name, value in result.items():
        if not isinstance(value, list) or len(value) <= AT_ONCE:
            members.append(f"{dumps(name)}:{dumps(value)}")
            await turns.take(account, costs.SAID_US * len(members[-1]))
            continue
        parts: list[str] = []
        for start in range(0, len(value), AT_ONCE):
            parts.append(dumps(value[start : start + AT_ONCE])[1:-1])
            await turns.take(account, costs.SAID_US * len(parts[-1]))
        members.append(f"{dumps(name)}:[{','.join(parts)}]")
    return f"{{{','.join(members)}}}"


def refusal(error: RequestError, status: int | None = None) -> web.Response:
    """The answer to a request that is refused; `status` where it is another than the code's."""
    status = status or STATUS.get(error.code, 400)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if "retry_after_ms" in error.details:
        headers[RETRY_AFTER] = str(max(1, math.ceil(error.details["retry_after_ms"] / 1000)))
    body = {"error": {"code": error.code, "message": error.message}}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def json_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What the framework refuses below `/api/` is refused in the same form."""
    if not request.path.startswith("/api/"):
        return await handler(request)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _FRAMEWORK.get(error.status, "bad_request" if error.status < 500 else "internal")
        answer = refusal(RequestError(code, error.text or error.reason), error.status)
        for name in ("Allow", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary"):
            if name in error.headers:
                answer.headers[name] = error.headers[name]
        return answer


def _query(endpoint: Endpoint, request: web.Request) -> Json:
    found: Json = {}
    for name, given in request.query.items():
        schema = endpoint.query.get(name)
        if schema is None:
            raise v.bad(f"there is no parameter {name[:40]}")
        if name in found:
            raise v.bad(f"{name} comes twice")
        found[name] = _from_text(name, given, schema)
    for name, schema in endpoint.query.items():
        if "default" in schema:
            found.setdefault(name, schema["default"])
    return found


def _from_text(name: str, given: str, schema: Schema) -> Any:
    value: Any = given
    if schema.get("type") == "integer":
        if not re.fullmatch(r"[0-9]{1,16}", given):
            raise v.bad(f"{name} must be a whole number")
        value = int(given)
    elif schema.get("type") == "boolean":
        if given not in {"true", "false"}:
            raise v.bad(f"{name} must be true or false")
        value = given == "true"
    _check(Draft202012Validator(schema, format_checker=FORMATS), value, name)
    return value


async def _body(endpoint: Endpoint, request: web.Request) -> Json:
    if endpoint.body is None:
        return {}
    data = await read(request, MAX_BODY_BYTES)
    try:
        given = v.parse_object(data.decode())
    except UnicodeDecodeError:
        raise v.bad("not UTF-8") from None
    _check(endpoint.body_check, given, "")
    if not json.dumps(given, ensure_ascii=False).isascii():
        _no_surrogates(data)
    return given


def _no_surrogates(data: bytes) -> None:
    """Half of a surrogate pair is JSON, but no text that could be stored or sent."""
    try:
        json.dumps(json.loads(data), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise v.bad("a text has a lone surrogate") from None


def _check(validator: Draft202012Validator, value: Any, name: str) -> None:
    try:
        validator.validate(value)
    except ValidationError as error:
        where = ".".join([name, *map(str, error.absolute_path)]).strip(".")
        raise v.bad(f"{where}: {error.message}"[:200]) from None


async def read(request: web.Request, most: int) -> bytes:
    """The body, which may come without a length.

    Raises `RequestError`: `too_large`; `bad_request` where it is not encoded as it says, or stops coming.
    """
    body = bytearray()
    try:
        while not request.content.at_eof():
            async with asyncio.timeout(BODY_S):
                body += await request.content.readany()
            if len(body) > most:
                raise RequestError("too_large", f"at most {most} bytes")
    except (web.RequestPayloadError, HttpProcessingError):
        raise v.bad("the body is not encoded as its headers say") from None
    except TimeoutError:
        raise v.bad(f"nothing more of the body came for {BODY_S:g} s") from None
    return bytes(body)
