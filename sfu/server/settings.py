"""The configuration as the room core wants it."""

from __future__ import annotations

from sfu.config import Config
from sfu.room.model import Limits, StateLimits
from sfu.room.permissions import ROLES, Role, Template, parse_words
from sfu.templates import TEMPLATES


def limits(config: Config) -> Limits:
    """Rooms' limits."""
    room = config.room
    return Limits(
        grace_us=round(room.grace_s * 1_000_000),
        empty_us=round(room.empty_s * 1_000_000),
        max_rooms=room.max_rooms,
        max_rooms_of_host=config.limits.rooms_per_address,
        max_participants=room.max_participants,
        max_publications=room.max_publications,
        chat_history=room.chat_history,
        state=StateLimits(
            keys=config.limits.state_keys,
            value_bytes=config.limits.state_value_bytes,
            total_bytes=config.limits.state_bytes,
        ),
    )


def templates(config: Config) -> dict[str, Template]:
    """The kinds of rooms by name; the configuration has been checked."""
    made: dict[str, Template] = {}
    for name in TEMPLATES:
        table = getattr(config, name)
        entry: Role = next(role for role in ROLES if role == table.entry)
        rights = {role: parse_words(getattr(table, role)) for role in ROLES}
        made[name] = Template(name=name, roles=rights, lobby=table.lobby, entry=entry)
    return made
