"""Identifiers. Public ids are prefixed random text; the media plane uses small integers."""

from __future__ import annotations

import random
from typing import NewType

RoomName = NewType("RoomName", str)
ParticipantId = NewType("ParticipantId", str)
"""`PA_` and 12 characters: one membership of a room."""
PublicationId = NewType("PublicationId", str)
"""`TR_` and 12 characters: one accepted media source."""

TransportKey = NewType("TransportKey", int)
"""A transport's handle inside the media plane, unique while the process lives."""
PublicationKey = NewType("PublicationKey", int)
"""A publication's handle inside the media plane."""
SubscriptionKey = NewType("SubscriptionKey", int)
"""A subscription's handle inside the media plane."""

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz"


def random_text(rng: random.Random, length: int) -> str:
    """`length` characters without look-alikes; pass `random.SystemRandom()` where it must be unguessable."""
    return "".join(rng.choices(_ALPHABET, k=length))


def participant_id(rng: random.Random) -> ParticipantId:
    return ParticipantId("PA_" + random_text(rng, 12))


def publication_id(rng: random.Random) -> PublicationId:
    return PublicationId("TR_" + random_text(rng, 12))
