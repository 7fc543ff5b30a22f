"""Maps the SSRCs of one transport to encodings. Spec: RFC 8843 section 9.2, RFC 8852."""

from __future__ import annotations

from typing import NamedTuple

from sfu.ids import PublicationKey
from sfu.media.ingress import Publication
from sfu.rtp.packet import RtpPacket


class Route(NamedTuple):
    """What an SSRC is: an encoding of a publication, or its retransmissions."""

    publication: Publication
    rid: str
    rtx: bool


class Identity(NamedTuple):
    """The m-line and encoding of an SSRC. It outlives publications: see `Demux`."""

    mid: bytes
    rid: str
    rtx: bool


_MOST_STRAYS = 256
"""SSRCs without a publication whose identity is kept: some forty simulcast cameras with retransmissions."""


class Demux:
    """Maps the SSRCs of one transport to encodings. Spec: RFC 8843 section 9.2, RFC 8852.

    Senders stop writing MID and RID once a receiver report has acknowledged them, so the identity of an SSRC
    is kept for as long as the transport lives: a publication that is opened again finds its streams.
    """

    def __init__(self) -> None:
        self.publications: dict[PublicationKey, Publication] = {}
        self.routes: dict[int, Route] = {}
        self.identities: dict[int, Identity] = {}
        """Of every SSRC in `routes`, and of those that had a route."""

    def add(self, publication: Publication) -> None:
        """Take in a publication, or its new configuration."""
        self.publications[publication.key] = publication
        for rid, announced in publication.announced():
            self._bind(announced.ssrc, Route(publication, rid, False))
            if announced.rtx_ssrc is not None:
                self._bind(announced.rtx_ssrc, Route(publication, rid, True))

    def remove(self, key: PublicationKey) -> None:
        """Forget a publication. Its streams become unknown, until a publication of the same m-line comes."""
        self.publications.pop(key, None)
        for ssrc in [ssrc for ssrc, route in self.routes.items() if route.publication.key == key]:
            del self.routes[ssrc]

    def resolve(self, rtp: RtpPacket) -> Route | None:
        """Find out by extensions, identity or payload type what a new SSRC is, and remember it."""
        route = self._recognise(rtp)
        if route is not None:
            self._bind(rtp.ssrc, route)
        return route

    def _bind(self, ssrc: int, route: Route) -> None:
        """Route an SSRC. It takes the place of the one that was the same encoding before."""
        for other in [other for other, known in self.routes.items() if known == route and other != ssrc]:
            del self.routes[other]
        self.routes[ssrc] = route
        identities = self.identities
        identity = Identity(route.publication.config.mid.encode(), route.rid, route.rtx)
        for other in [other for other, known in identities.items() if known == identity or other == ssrc]:
            del identities[other]
        identities[ssrc] = identity
        if len(identities) > len(self.routes) + _MOST_STRAYS:
            del identities[next(stray for stray in identities if stray not in self.routes)]

    def _recognise(self, rtp: RtpPacket) -> Route | None:
        known = self.identities.get(rtp.ssrc)
        mids = {
            publication.key: rtp.extensions.get(publication.config.extensions.mid, known and known.mid)
            for publication in self.publications.values()
            if rtp.payload_type in publication.codecs or rtp.payload_type in publication.rtx_codecs
        }
        candidates = [self.publications[key] for key in mids]
        if any(mid is not None for mid in mids.values()):
            candidates = [each for each in candidates if mids[each.key] == each.config.mid.encode()]
        if len(candidates) != 1:
            return None
        publication = candidates[0]
        config = publication.config
        rtx = rtp.payload_type in publication.rtx_codecs
        if not config.rids:
            return Route(publication, "", rtx) if len(config.ssrcs) <= 1 else None
        ids = config.extensions
        value = rtp.extensions.get(ids.repaired_rid if rtx else ids.rid)
        rid = value.decode("ascii", "replace") if value is not None else known.rid if known else ""
        return Route(publication, rid, rtx) if rid in config.rids else None
