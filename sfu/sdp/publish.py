"""Answering a publisher's offer: one media codec for each m-line, everything BUNDLEd.

What cannot be accepted is refused m-line by m-line. An m-line the peer does not send on, or the room
refuses, is accepted as inactive, so that the peer may use it later without losing its place. So is the
BUNDLE-tagged m-line when it shares no codec: Chromium with `max-bundle` cannot move the transport that
the others need off a refused one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sfu.errors import ParseError
from sfu.rtp.parameters import Codec, EncodingSsrcs, ExtensionIds, Kind
from sfu.sdp import media as rtp_media
from sfu.sdp.capabilities import CODECS, EXTENSION_URIS, EXTENSIONS, FEEDBACK, canonical_fmtp, offered_fmtp
from sfu.sdp.media import RtpCodec
from sfu.sdp.model import Attribute, MediaDescription, SessionDescription
from sfu.sdp.negotiate import (
    DISCARD_PORT,
    OTHER_ROLE,
    RTP_PROTOCOLS,
    SCTP_PROTOCOLS,
    DtlsRole,
    LocalParameters,
    OfferedCodec,
    RemoteParameters,
    bundle,
    codec_attributes,
    remote_parameters,
    session_attributes,
    transport_attributes,
)

CODEC_UNSUPPORTED = "codec_unsupported"
BAD_SDP = "bad_sdp"

SCTP_PORT = 5000

Accept = Callable[[str, Kind], str | None]
"""Asked with mid and kind for each m-line that sends; None accepts, an error code makes it inactive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMedia:
    """One m-line the peer sends on.

    `codecs` stand in the answer's order: the first is what the peer sends (`red` before `opus` where it
    prefers redundancy). `fmtp` is the canonical one of the codec that is not `red`. `rids` stand as
    offered; `ssrcs` is empty with RIDs, which are then what tells the encodings apart.
    """

    mid: str
    kind: Kind
    codecs: tuple[Codec, ...]
    extensions: ExtensionIds
    rids: tuple[str, ...]
    ssrcs: tuple[EncodingSsrcs, ...]
    fmtp: str
    nack: bool
    transport_cc: bool
    remb: bool
    """The peer is told by REMB what it may send: it takes that and no transport-wide feedback."""
    fir: bool
    """The peer is asked for keyframes by FIR: it takes that and no PLI."""

    def offered_codecs(self) -> tuple[OfferedCodec, ...]:
        """The codecs as `subscribe.OutgoingMedia` takes them."""
        return tuple(
            OfferedCodec(
                name=codec.name,
                clock_rate=codec.clock_rate,
                channels=CODECS[codec.name].channels,
                fmtp="" if codec.name == "red" else offered_fmtp(codec.name, self.fmtp),
                ingress_payload_type=codec.payload_type,
            )
            for codec in self.codecs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishAnswer:
    """The answer and what it means.

    `rejected` holds (mid, error code) of each m-line that wanted to send and may not, whether refused
    with port 0 or inactive; the mid is empty where the offer gave none. `data_mid` is the accepted
    data-channel m-line's.
    """

    description: SessionDescription
    remote: RemoteParameters
    media: tuple[ReceivedMedia, ...]
    rejected: tuple[tuple[str, str], ...]
    data_mid: str | None


@dataclass(slots=True)
class _Section:
    """The decision about one offered m-line: `attributes` is None where it is refused."""

    offered: MediaDescription
    mid: str
    formats: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] | None = None
    received: ReceivedMedia | None = None
    error: str | None = None


@dataclass(slots=True)
class _Choice:
    """The media codec of an m-line with what accompanies it, in the offer's order."""

    media: RtpCodec
    fmtp: str
    codecs: list[RtpCodec] = field(default_factory=list)
    rtx: RtpCodec | None = None


def answer(
    offer: SessionDescription, local: LocalParameters, *, session_id: int, version: int, accept: Accept
) -> PublishAnswer:
    """Answer a publish offer.

    `session_id` and `version` go into the origin line; `version` must grow with every answer of a
    transport. Raises `ParseError` where the offer as a whole cannot be used: no m-line, a mid used
    twice, no ICE credentials or fingerprint, no usable DTLS role.
    """
    if not offer.media:
        raise ParseError("sdp-no-media")
    mids = [rtp_media.mid(media) for media in offer.media]
    named = [mid for mid in mids if mid]
    if len(set(named)) != len(named):
        raise ParseError("sdp-duplicate-mid")
    group = bundle(offer)
    bundled = set(group or named[:1])
    sections: list[_Section] = []
    data: _Section | None = None
    for media, mid in zip(offer.media, mids, strict=True):
        section = _Section(media, mid)
        sections.append(section)
        if _refused_by_peer(media):
            continue
        if mid not in bundled:
            section.error = BAD_SDP
        elif media.kind == "application":
            _decide_data(section, local, taken=data is not None)
            data = section if section.attributes is not None else data
        else:
            _decide_rtp(section, accept, tagged=mid == (group or named)[0])
    live = {section.mid for section in sections if section.attributes is not None}
    order = [mid for mid in group or named[:1] if mid in live]
    by_mid = {section.mid: section.offered for section in sections if section.mid}
    tagged = [by_mid[mid] for mid in (*order, *group) if mid in by_mid]
    remote = remote_parameters(
        offer,
        (*tagged, *offer.media),
        data.offered if data else None,
        either=OTHER_ROLE[local.dtls_role],
        default="client",
    )
    role = OTHER_ROLE[remote.dtls_role]
    description = SessionDescription(
        session_id=session_id,
        session_version=version,
        attributes=session_attributes(order, allow_mixed=offer.has("extmap-allow-mixed")),
        media=tuple(_write(section, local, role) for section in sections),
    )
    return PublishAnswer(
        description=description,
        remote=remote,
        media=tuple(section.received for section in sections if section.received),
        rejected=tuple((section.mid, section.error) for section in sections if section.error),
        data_mid=data.mid if data else None,
    )


def _refused_by_peer(media: MediaDescription) -> bool:
    """Whether the peer itself has closed the m-line; port 0 with `bundle-only` is open."""
    return media.port == 0 and not media.has("bundle-only")


def _decide_data(section: _Section, local: LocalParameters, *, taken: bool) -> None:
    media = section.offered
    old = media.get("sctpmap")
    channel = old.split(" ")[1:2] if old is not None else list(media.formats)
    if taken or media.protocol not in SCTP_PROTOCOLS or channel != ["webrtc-datachannel"]:
        section.error = BAD_SDP
        return
    section.formats = media.formats if old is None else (str(SCTP_PORT),)
    port = Attribute("sctp-port", str(SCTP_PORT))
    if old is not None:
        port = Attribute("sctpmap", f"{SCTP_PORT} webrtc-datachannel 1024")
    section.attributes = (port, Attribute("max-message-size", str(local.sctp_max_message_size)))


def _decide_rtp(section: _Section, accept: Accept, *, tagged: bool) -> None:
    media, mid = section.offered, section.mid
    kind: Kind
    if media.kind == "audio":
        kind = "audio"
    elif media.kind == "video":
        kind = "video"
    else:
        section.error = BAD_SDP
        return
    sends = rtp_media.sends(media)
    muxes = media.has("rtcp-mux") or media.has("rtcp-mux-only")
    if media.protocol not in RTP_PROTOCOLS or not muxes:
        section.error = BAD_SDP if sends else None
        return
    choice = _choose(media, kind)
    if choice is None:
        section.error = CODEC_UNSUPPORTED if sends else None
        if tagged:
            _keep_inactive(section)
        return
    section.error = accept(mid, kind) if sends else None
    receiving = sends and section.error is None
    extensions = _extensions(media, kind, choice.media.name)
    ids = {name: number for name, (number, _) in extensions.items()}
    rids = rtp_media.send_rids(media, choice.media.payload_type) if "rid" in ids else ()
    codecs = [*choice.codecs, choice.rtx] if choice.rtx else choice.codecs
    section.formats = tuple(str(codec.payload_type) for codec in codecs)
    section.attributes = (
        *_extension_attributes(extensions),
        Attribute("recvonly" if receiving else "inactive"),
        Attribute("rtcp-mux"),
        *((Attribute("rtcp-rsize"),) if media.has("rtcp-rsize") else ()),
        *_codec_lines(choice, kind),
        *_simulcast_attributes(rids),
    )
    if receiving:
        section.received = _received(media, mid, kind, choice, ids, rids)


def _keep_inactive(section: _Section) -> None:
    """Accept the m-line without media, with the peer's own first codec: the grammar wants one."""
    codec = next(iter(rtp_media.codecs(section.offered)), None)
    if codec:
        section.formats = (str(codec.payload_type),)
        section.attributes = (
            Attribute("inactive"),
            Attribute("rtcp-mux"),
            *codec_attributes(codec.payload_type, codec.name, codec.clock_rate, channels=codec.channels),
        )


def _choose(media: MediaDescription, kind: Kind) -> _Choice | None:
    """The peer's first supported codec, with its RTX and, for audio, RED where it carries that codec."""
    offered = rtp_media.codecs(media)
    choice: _Choice | None = None
    for codec in offered:
        known = CODECS.get(codec.name)
        fmtp = canonical_fmtp(codec.name, codec.fmtp)
        if known is None or known.kind != kind or known.name == "red" or fmtp is None:
            continue
        if (codec.clock_rate, codec.channels) == (known.clock_rate, known.channels):
            choice = _Choice(codec, fmtp)
            break
    if choice is None:
        return None
    carried = {str(choice.media.payload_type)}
    for codec in offered:
        if codec == choice.media or (
            kind == "audio" and codec.name == "red" and set(codec.fmtp.split("/")) == carried
        ):
            choice.codecs.append(codec)
        elif kind == "video" and choice.rtx is None and codec.apt() == choice.media.payload_type:
            choice.rtx = codec
    return choice


def _codec_lines(choice: _Choice, kind: Kind) -> tuple[Attribute, ...]:
    lines: list[Attribute] = []
    for codec in choice.codecs:
        known = CODECS[codec.name]
        lines += codec_attributes(
            codec.payload_type,
            known.label,
            known.clock_rate,
            channels=known.channels,
            fmtp=choice.fmtp if codec == choice.media else codec.fmtp,
            feedback=[name for name in FEEDBACK[kind] if name in codec.feedback],
        )
    if choice.rtx:
        apt = f"apt={choice.media.payload_type}"
        lines += codec_attributes(choice.rtx.payload_type, "rtx", choice.media.clock_rate, fmtp=apt)
    return tuple(lines)


def _extensions(media: MediaDescription, kind: Kind, codec: str) -> dict[str, tuple[int, str]]:
    """Ids and directions, as offered, of the extensions that the server takes and the peer would send.

    The dependency descriptor is for AV1 alone: libwebrtc, where it may send one, leaves picture ids and
    temporal layers out of VP8's own descriptor, and subscribers without the extension would miss them.
    """
    offered = rtp_media.extensions(media)
    found = {
        name: offered[EXTENSION_URIS[name]]
        for name in EXTENSIONS[kind]
        if EXTENSION_URIS[name] in offered and (name != "dependency_descriptor" or codec == "av1")
    }
    return {
        name: (number, way) for name, (number, way) in found.items() if way in {"", "sendrecv", "sendonly"}
    }


def _extension_attributes(extensions: dict[str, tuple[int, str]]) -> tuple[Attribute, ...]:
    return tuple(
        Attribute("extmap", f"{number}{'/recvonly' if way == 'sendonly' else ''} {EXTENSION_URIS[name]}")
        for name, (number, way) in extensions.items()
    )


def _simulcast_attributes(rids: tuple[str, ...]) -> tuple[Attribute, ...]:
    """Written on inactive m-lines too: a browser never takes back the encodings that an answer left out."""
    if not rids:
        return ()
    return (
        *(Attribute("rid", f"{rid} recv") for rid in rids),
        Attribute("simulcast", "recv " + ";".join(rids)),
    )


def _received(
    media: MediaDescription, mid: str, kind: Kind, choice: _Choice, ids: dict[str, int], rids: tuple[str, ...]
) -> ReceivedMedia:
    transport_cc = "transport-cc" in choice.media.feedback and "transport_cc" in ids
    return ReceivedMedia(
        mid=mid,
        kind=kind,
        codecs=tuple(
            Codec(
                name=codec.name,
                payload_type=codec.payload_type,
                clock_rate=codec.clock_rate,
                rtx_payload_type=choice.rtx.payload_type if choice.rtx else None,
            )
            for codec in choice.codecs
        ),
        extensions=ExtensionIds(**ids),
        rids=rids,
        ssrcs=() if rids else rtp_media.ssrcs(media),
        fmtp=choice.fmtp,
        nack="nack" in choice.media.feedback,
        transport_cc=transport_cc,
        remb="goog-remb" in choice.media.feedback and not transport_cc,
        fir="ccm fir" in choice.media.feedback and "nack pli" not in choice.media.feedback,
    )


def _write(section: _Section, local: LocalParameters, role: DtlsRole) -> MediaDescription:
    offered = section.offered
    attributes = section.attributes
    mid = (Attribute("mid", section.mid),) if section.mid else ()
    if attributes is None:
        # aiortc reads transport and codecs of refused m-lines too.
        maps = (Attribute("rtpmap", value) for value in offered.all("rtpmap"))
        attributes = (Attribute("inactive"), Attribute("rtcp-mux"), *maps)
    return MediaDescription(
        kind=offered.kind,
        port=0 if section.attributes is None else DISCARD_PORT,
        protocol=offered.protocol,
        formats=section.formats or offered.formats,
        attributes=(*mid, *transport_attributes(local, role), *attributes),
    )
