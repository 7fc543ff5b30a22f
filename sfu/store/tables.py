"""Every table. Times are Unix milliseconds; a person is known by `identity`, a token's `sub`.

A change here needs a revision in `migrations/versions`: a test holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()

_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A primary key that counts by itself: SQLite does so for INTEGER alone."""

users = Table(
    "users",
    metadata,
    Column("identity", String(128), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False, index=True),
)

rooms = Table(
    "rooms",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False, index=True),
    # At least the highest `rev` among messages that are gone, so that no id is given twice.
    Column("chat_head", BigInteger, nullable=False),
    # What a later room of that name begins with; null where that is forgotten.
    Column("template", String(64)),
    Column("locked", Boolean),
    Column("lobby", Boolean),
    Column("silenced", Boolean),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("joined_ms", BigInteger, nullable=False, index=True),
    # Null while it lasts, and where the server died before it could tell.
    Column("left_ms", BigInteger),
    Column("reason", String(32)),
    # Whether it was unseen by those who may not see hidden people.
    Column("hidden", Boolean, nullable=False, server_default=false()),
    # Whether it has said that it records, and has not taken that back.
    Column("recording", Boolean, nullable=False, server_default=false()),
    Index("ix_sessions_room_joined", "room", "joined_ms"),
)

messages = Table(
    "messages",
    metadata,
    Column("room", String(128), nullable=False),
    Column("id", BigInteger, nullable=False),
    # Number of the last change, from the counter that gives ids: what a client has missed is `rev > seen`.
    Column("rev", BigInteger, nullable=False),
    Column("sender", String(64), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("recipient", String(64)),
    Column("to_identity", String(128), index=True),
    Column("text", Text, nullable=False),
    Column("mentions", JSON, nullable=False),
    Column("file", String(64)),
    Column("sent_ms", BigInteger, nullable=False, index=True),
    Column("edited_ms", BigInteger),
    Column("deleted", Boolean, nullable=False),
    PrimaryKeyConstraint("room", "id"),
    Index("ix_messages_room_rev", "room", "rev"),
    Index("ix_messages_room_file", "room", "file"),
)

reactions = Table(
    "reactions",
    metadata,
    Column("room", String(128), nullable=False),
    Column("message", BigInteger, nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("emoji", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "message", "emoji", "identity"),
)

read_positions = Table(
    "read_positions",
    metadata,
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("message", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "identity"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("room", String(128), nullable=False, index=True),
    Column("identity", String(128), nullable=False, index=True),
    Column("name", String(256), nullable=False),
    Column("type", String(128), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    # Pixels; null where it is no picture.
    Column("width", Integer),
    Column("height", Integer),
    Column("created_ms", BigInteger, nullable=False, index=True),
)

questions = Table(
    "questions",
    metadata,
    Column("room", String(128), nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("text", Text, nullable=False),
    Column("asked_ms", BigInteger, nullable=False, index=True),
    Column("answered_ms", BigInteger),
    # Who asked, as a participant of then.
    Column("sender", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    PrimaryKeyConstraint("room", "id"),
)

# A vote is a row of its own: each costs the same, however many there are.
question_votes = Table(
    "question_votes",
    metadata,
    Column("room", String(128), nullable=False),
    Column("question", BigInteger, nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "question", "identity"),
)

polls = Table(
    "polls",
    metadata,
    Column("room", String(128), nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("question", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("opened_ms", BigInteger, nullable=False, index=True),
    Column("closed_ms", BigInteger),
    Column("multiple", Boolean, nullable=False),
    PrimaryKeyConstraint("room", "id"),
)

ballots = Table(
    "ballots",
    metadata,
    Column("room", String(128), nullable=False),
    Column("poll", BigInteger, nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    # Indices of the poll's options.
    Column("choices", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "poll", "identity"),
)

strokes = Table(
    "strokes",
    metadata,
    Column("room", String(128), nullable=False),
    Column("id", String(64), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("color", String(16), nullable=False),
    Column("width", Integer, nullable=False),
    # x, y, x, y and so on, in ten-thousandths of the board.
    Column("points", JSON, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "id"),
)

turns = Table(
    "turns",
    metadata,
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    # How often it was called on.
    Column("count", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "identity"),
)

# Of open rooms, and of those that were open when a server ended: see `standing`.
hands = Table(
    "hands",
    metadata,
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    # Its place in the order of raising.
    Column("number", BigInteger, nullable=False),
    Column("raised_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "identity"),
)

breakouts = Table(
    "breakouts",
    metadata,
    Column("room", String(128), nullable=False),
    Column("id", Integer, nullable=False),
    Column("name", String(128), nullable=False),
    Column("opened_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "id"),
)

breakout_places = Table(
    "breakout_places",
    metadata,
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("breakout", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "identity"),
)

# What a moderator has set; null is no limit.
thresholds = Table(
    "thresholds",
    metadata,
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("series", String(64), nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("at_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("room", "identity", "series"),
)

telemetry = Table(
    "telemetry",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("series", String(64), nullable=False),
    Column("unit", String(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("value", Float, nullable=False),
    # What comes twice is stored once: a device sends again what it does not know to have arrived.
    Index("ix_telemetry_series", "room", "identity", "series", "at_ms", unique=True),
    Index("ix_telemetry_room", "room", "at_ms"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("action", String(64), nullable=False),
    Column("detail", JSON, nullable=False),
)

# Null where nobody knows when the token expires by itself.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("jti", String(128), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, index=True),
)

removals = Table(
    "removals",
    metadata,
    Column("room", String(128), nullable=False),
    Column("identity", String(128), nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
    Column("hidden", Boolean, nullable=False, server_default=false()),
    PrimaryKeyConstraint("room", "identity"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("url", String(2048), nullable=False),
    Column("event", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# What is known of the database itself: see `properties`.
properties = Table(
    "properties",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
)
