"""How a `join` becomes a command: what the token decides, and what the client may choose."""

from __future__ import annotations

from sfu.errors import RequestError
from sfu.ids import RoomName
from sfu.room import commands, names
from sfu.room.model import SessionKey
from sfu.room.permissions import GrantChanges, Role
from sfu.server.requests import Join
from sfu.server.tokens import Claims

_FREE_ROLES = frozenset({"participant", "observer", "device"})
"""What anybody may call itself where nobody needs a token."""


def command(
    session: SessionKey,
    request: Join,
    claims: Claims | None,
    former: Claims | None = None,
    formerly: Role | None = None,
    *,
    host: str = "",
) -> commands.Join | commands.Resume:
    """The room's command; `claims` is None in development mode. Raises `RequestError` `not_allowed`.

    In development mode `former` is whom a pass names, `formerly` the role that counts of it, and `host` from
    where it comes: one host opens only so many rooms.
    """
    room = RoomName(request.room)
    identity = claims.identity if claims is not None else None
    if request.resume is not None:
        return commands.Resume(
            session=session,
            room=room,
            participant=request.resume.participant,
            secret=request.resume.secret,
            identity=identity,
            chat_after=request.chat_after,
        )
    if claims is None:
        if request.role is not None and request.role not in _FREE_ROLES:
            raise RequestError("not_allowed", "nobody makes itself owner or presenter")
        return commands.Join(
            session=session,
            room=room,
            name=request.name,
            identity=former.identity if former is not None else None,
            role=request.role,
            formerly=formerly,
            template=request.template,
            guarded=False,
            host=host,
            wants=request.wants,
            chat_after=request.chat_after,
        )
    moderates = claims.role == "owner" or claims.grants.moderate is True
    return commands.Join(
        session=session,
        room=room,
        name=names.clean(claims.name) or request.name,
        identity=identity,
        role=claims.role,
        grants=claims.grants or GrantChanges(),
        template=request.template if moderates else None,
        appointed=claims.template,
        wants=request.wants,
        chat_after=request.chat_after,
    )
