"""What the server counts of one participant's media."""

from __future__ import annotations

from dataclasses import asdict

from sfu.room.model import Participant
from sfu.server.media import Media
from sfu.server.member import Member
from sfu.server.wire import Json


def of(member: Member, participant: Participant | None, media: Media, *, addresses: bool) -> Json:
    """Its publications, subscriptions and transports; docs/protocol.md has them as `stats`.

    `addresses` is for administrators and for the participant itself: where it is, is nobody else's affair.
    """
    publications = {
        publication: [asdict(encoding) for encoding in media.publication_stats(publication)]
        for publication in (participant.publications if participant else ())
    }
    transports = [each for each in (member.publish.stats(), member.subscribe.stats()) if each]
    if not addresses:
        transports = [
            {name: value for name, value in each.items() if name != "remote_address"} for each in transports
        ]
    return {
        "publications": publications,
        "subscriptions": member.subscribe.subscription_stats(),
        "transports": transports,
        "data": member.data.stats(),
    }
