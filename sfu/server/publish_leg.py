"""A participant's publish transport: the client offers, what it sends becomes publications."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sfu.errors import ParseError
from sfu.ids import ParticipantId, PublicationId
from sfu.room import commands
from sfu.room.effects import Effect, PublicationOpened
from sfu.room.permissions import Source
from sfu.rtp.parameters import Kind
from sfu.sdp import media as rtp_media
from sfu.sdp import model, publish
from sfu.sdp.model import SessionDescription
from sfu.sdp.negotiate import OTHER_ROLE, RemoteParameters
from sfu.sdp.publish import PublishAnswer, ReceivedMedia
from sfu.server.requests import Offer, OfferedMedia, bad_offer
from sfu.server.wire import Json

if TYPE_CHECKING:
    from sfu.server.media import Media, RoomObserver
    from sfu.transport.peer import PeerTransport

Apply = Callable[[commands.Command], list[Effect]]
Refusal = Callable[[Source, Kind, int], str | None]
"""Why the room refuses one more publication: source, kind, and how many are about to be added beside it."""


@dataclass(slots=True)
class _Line:
    """An m-line that sends, and its publication."""

    publication: PublicationId
    source: Source
    received: ReceivedMedia
    wanted: tuple[str, ...] | None = None
    """The rids that are of use, None while nothing was said of them: all are sent then."""


class PublishLeg:
    """Negotiation of one publish transport, which is made by the first offer; `send` takes a message for
    the client."""

    def __init__(
        self,
        participant: ParticipantId,
        media: Media,
        observer: RoomObserver,
        send: Callable[[Json], None],
        apply: Apply,
        refusal: Refusal,
    ) -> None:
        self.transport: PeerTransport | None = None
        self._participant = participant
        self._media = media
        self._observer = observer
        self._send = send
        self._apply = apply
        self._refusal = refusal
        self._remote: RemoteParameters | None = None
        self._session_id = media.rng.getrandbits(62)
        self._version = 0
        self._lines: dict[str, _Line] = {}

    def negotiate(self, request: Offer) -> Json:
        """Take an offer and return `answer`. Raises `RequestError` `bad_sdp`; nothing has changed then."""
        try:
            return self._negotiate(request.description, request)
        except ParseError as error:
            raise bad_offer(error) from None

    def close(self) -> None:
        """End the transport; its publications are the room's to remove."""
        if self.transport is not None:
            self._media.close_transport(self.transport)
        self.transport = None
        self._remote = None
        self._lines.clear()

    def attach(self) -> None:
        """The client has a session (again): what it may have missed is said again."""
        for line in self._lines.values():
            self._say_layers(line)

    def want_layers(self, publication: PublicationId, rids: tuple[str, ...]) -> None:
        """Tell the client which encodings of the publication somebody has use for."""
        for line in self._lines.values():
            if line.publication == publication:
                line.wanted = rids
                self._say_layers(line)

    def forget(self, publication: PublicationId) -> None:
        """The publication has ended; its m-line may be offered for another."""
        for mid, line in list(self._lines.items()):
            if line.publication == publication:
                del self._lines[mid]

    def lost(self) -> None:
        """The transport died: its publications end, and the next offer makes a new one."""
        for line in list(self._lines.values()):
            self._apply(commands.Unpublish(self._participant, line.publication))
        self.close()

    def stats(self) -> Json | None:
        return {"transport": "publish", **asdict(self.transport.stats())} if self.transport else None

    # --- one offer -----------------------------------------------------------------------------

    def _negotiate(self, offer: SessionDescription, request: Offer) -> Json:
        fresh = self._media.open_transport(self._observer) if self.transport is None else None
        transport = self.transport or fresh
        assert transport is not None
        try:
            answer = self._answer(offer, request, transport)
            if self._remote is not None and not answer.remote.continues(self._remote):
                # Another peer connection: DTLS starts anew, and so does everything on top of it.
                self.lost()
                return self._negotiate(offer, request)
            if self._remote is not None and self._remote.ice_ufrag != answer.remote.ice_ufrag:
                transport.restart_ice()
                answer = self._answer(offer, request, transport)
        except ParseError:
            if fresh is not None:
                self._media.close_transport(fresh)
            raise
        self.transport = transport
        self._connect(transport, answer.remote)
        accepted = self._publish(transport, answer, request)
        refused = [{"mid": mid, "error": code} for mid, code in answer.rejected]
        return {"type": "answer", "sdp": model.format(answer.description), "media": accepted + refused}

    def _answer(self, offer: SessionDescription, request: Offer, transport: PeerTransport) -> PublishAnswer:
        staying = {
            rtp_media.mid(media)
            for media in offer.media
            if rtp_media.sends(media) and self._continues(rtp_media.mid(media), request)
        }
        added = -(len(self._lines) - len(staying))

        def accept(mid: str, kind: Kind) -> str | None:
            nonlocal added
            wanted = request.media.get(mid)
            if wanted is None:
                return "bad_request"
            if mid in staying:
                return None
            code = self._refusal(wanted.source, kind, added)
            added += code is None
            return code

        self._version += 1
        return publish.answer(
            offer,
            self._media.local_parameters(transport),
            session_id=self._session_id,
            version=self._version,
            accept=accept,
        )

    def _continues(self, mid: str, request: Offer) -> bool:
        line, wanted = self._lines.get(mid), request.media.get(mid)
        return line is not None and wanted is not None and line.source == wanted.source

    def _connect(self, transport: PeerTransport, remote: RemoteParameters) -> None:
        sctp = None if remote.sctp_port is None else (remote.sctp_port, remote.max_message_size)
        if self._remote is None:
            transport.start(
                remote.ice_ufrag, remote.ice_pwd, remote.fingerprints, sctp, OTHER_ROLE[remote.dtls_role]
            )
        else:
            if self._remote.ice_ufrag != remote.ice_ufrag:
                transport.update_remote(remote.ice_ufrag, remote.ice_pwd)
            if sctp is not None:
                transport.open_data(sctp)
        self._remote = remote

    def _publish(self, transport: PeerTransport, answer: PublishAnswer, request: Offer) -> list[Json]:
        """Make the publications what the answer says; the accepted ones as `answer.media` lists them."""
        received = {media.mid: media for media in answer.media}
        for mid, line in list(self._lines.items()):
            media = received.get(mid)
            if media is None or not self._continues(mid, request) or not _same_codecs(line.received, media):
                self._apply(commands.Unpublish(self._participant, line.publication))
        accepted: list[Json] = []
        for mid, media in received.items():
            known = self._lines.get(mid)
            if known is not None:
                known.received = media
                self._media.renegotiate(known.publication, media)
            line = known or self._add(transport, media, request.media[mid])
            self._lines[mid] = line
            accepted.append({"mid": mid, "publication": line.publication})
        return accepted

    def _add(self, transport: PeerTransport, received: ReceivedMedia, wanted: OfferedMedia) -> _Line:
        done = self._apply(
            commands.Publish(
                participant=self._participant,
                kind=received.kind,
                source=wanted.source,
                name=wanted.name,
                muted=wanted.muted,
                codec=next(codec.name for codec in received.codecs if codec.name != "red"),
                simulcast=len(received.rids) > 1,
            )
        )
        publication = next(e.publication.id for e in done if isinstance(e, PublicationOpened))
        self._media.publish(publication, self._participant, transport.key, received, wanted.source)
        if wanted.muted:
            self._media.set_muted(publication, True)
        return _Line(publication, wanted.source, received)

    def _say_layers(self, line: _Line) -> None:
        wanted = line.wanted
        if wanted is not None:
            encodings: list[Json] = [{"rid": rid, "active": rid in wanted} for rid in line.received.rids]
            if not encodings:
                encodings = [{"active": bool(wanted)}]
            self._send({"type": "layers", "publication": line.publication, "encodings": encodings})


def _same_codecs(before: ReceivedMedia, after: ReceivedMedia) -> bool:
    """Whether subscribers' payload type maps still hold."""
    return before.kind == after.kind and before.offered_codecs() == after.offered_codecs()
