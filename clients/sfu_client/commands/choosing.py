"""Waiting for what a command wants to receive."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from av import VideoFrame

from sfu_client import events
from sfu_client.model import Participant, Publication
from sfu_client.room import Room
from sfu_client.tracks import RemoteTrack

logger = logging.getLogger(__name__)


def is_from(owner: Participant, wanted: str | None) -> bool:
    """Whether `wanted` (an id, identity or name, None for anybody) means this participant."""
    return wanted in (None, owner.id, owner.identity, owner.name)


async def video_tracks(
    room: Room, participant: str | None, source: str | None
) -> AsyncIterator[RemoteTrack[VideoFrame]]:
    """One fitting video track after another, each when the one before has ended.

    Only that one is subscribed. Ends when the room closes for good.
    """
    unfit: set[str] = set()
    while room.closed is None:
        changes = room.events()
        chosen = _find(room, participant, source, unfit)
        if chosen is None or not room.connected:
            if await anext(changes, None) is None:
                return
            continue
        await room.subscribe([chosen])
        while (track := room.tracks.get(chosen.id)) is None:
            event = await anext(changes, None)
            match event:
                case events.SubscriptionChanged(chosen.id, "failed", reason):
                    logger.warning("%s cannot be received: %s", chosen.source, reason)
                    unfit.add(chosen.id)
            if event is None or _find(room, participant, source, unfit) is not chosen:
                break
        if isinstance(track, RemoteTrack):
            yield track  # type: ignore[misc]  # the publication is a video


def _find(room: Room, participant: str | None, source: str | None, unfit: set[str]) -> Publication | None:
    for owner in room.participants.values():
        for publication in owner.publications.values():
            fits = publication.kind == "video" and source in (None, publication.source)
            if fits and is_from(owner, participant) and publication.id not in unfit:
                return publication
    return None
