"""Answering a publisher's offer: every codec that both sides know, everything BUNDLEd.

What cannot be accepted is refused m-line by m-line. An m-line the peer does not send on, or the room
refuses, is accepted as inactive, so that the peer may use it later without losing its place. So is the
BUNDLE-tagged m-line when it shares no codec: Chromium with `max-bundle` cannot move the transport that
the others need off a refused one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfu.errors import ParseError
from sfu.rtp.parameters import Codec, EncodingSsrcs, ExtensionIds, Kind
from sfu.sdp import media as rtp_media
from sfu.sdp.capabilities import (
    CODECS,
    EXTENSION_URIS,
    EXTENSIONS,
    FEEDBACK,
    canonical_fmtp,
    is_baseline,
    offered_fmtp,
)
from sfu.sdp.media import RtpCodec
from sfu.sdp.model import Attribute, MediaDescription, SessionDescription
from sfu.sdp.negotiate import (
    DISCARD_PORT,
    OTHER_ROLE,
    RTP_PROTOCOLS,
    SCTP_PROTOCOLS,
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

    `codecs` stand in the answer's order, which is the peer's preference: it begins with the first (`red`
    before `opus` where it prefers redundancy) and may take another at any time. `fmtps` are their canonical
    ones, that of `red` is empty. `rids` stand as offered; `ssrcs` is empty with RIDs, which are then what
    tells the encodings apart.
    """

    mid: str
    kind: Kind
    codecs: tuple[Codec, ...]
    extensions: ExtensionIds
    rids: tuple[str, ...]
    ssrcs: tuple[EncodingSsrcs, ...]
    fmtps: tuple[str, ...]
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
                fmtp=offered_fmtp(codec.name, fmtp),
                ingress_payload_type=codec.payload_type,
            )
            for codec, fmtp in zip(self.codecs, self.fmtps, strict=True)
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


@dataclass(frozen=True, slots=True)
class _Format:
    """A codec that is accepted. `fmtp` is canonical, empty of `red`."""

    codec: RtpCodec
    fmtp: str
    rtx: RtpCodec | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    """The codecs of an m-line in the offer's order; `media` is the first that is not `red`."""

    media: RtpCodec
    formats: tuple[_Format, ...]


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
    transport = transport_attributes(local, OTHER_ROLE[remote.dtls_role])
    description = SessionDescription(
        session_id=session_id,
        session_version=version,
        attributes=session_attributes(order, allow_mixed=offer.has("extmap-allow-mixed")),
        media=tuple(_write(section, transport) for section in sections),
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
    repairs = [each.rtx for each in choice.formats if each.rtx]
    section.formats = tuple(
        str(codec.payload_type) for codec in (*(each.codec for each in choice.formats), *repairs)
    )
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
    """The peer's codecs that are known, each with its RTX, and for audio RED where it carries the codec."""
    offered = rtp_media.codecs(media)
    known: list[_Format] = []
    for codec in offered:
        fmtp = _forwardable(codec, kind)
        if fmtp is not None and _is_wanted(codec.name, fmtp, known):
            rtx = next((each for each in offered if each.apt() == codec.payload_type), None)
            known.append(_Format(codec, fmtp, rtx if kind == "video" else None))
    if not known:
        return None
    carried = {str(known[0].codec.payload_type)}
    redundant = [
        _Format(codec, "")
        for codec in offered
        if kind == "audio" and codec.name == "red" and set(codec.fmtp.split("/")) == carried
    ]
    formats = sorted((*known, *redundant), key=lambda each: offered.index(each.codec))
    return _Choice(known[0].codec, tuple(formats))


def _forwardable(codec: RtpCodec, kind: Kind) -> str | None:
    """The codec's canonical `fmtp`, None where it cannot be forwarded by itself."""
    known = CODECS.get(codec.name)
    if known is None or known.kind != kind or known.name == "red":
        return None
    if (codec.clock_rate, codec.channels) != (known.clock_rate, known.channels):
        return None
    return canonical_fmtp(codec.name, codec.fmtp)


def _is_wanted(name: str, fmtp: str, known: list[_Format]) -> bool:
    """Whether it is to be accepted beside those before it: the first of each codec.

    All of them are offered to every subscriber, so profiles are not piled up. Of H264 there is also the
    first of the baseline, which every decoder has, where the peer prefers another profile.
    """
    before = [each.fmtp for each in known if each.codec.name == name]
    return not before or (name == "h264" and is_baseline(fmtp) and not any(map(is_baseline, before)))


def _codec_lines(choice: _Choice, kind: Kind) -> tuple[Attribute, ...]:
    lines: list[Attribute] = []
    for each in choice.formats:
        codec, known = each.codec, CODECS[each.codec.name]
        lines += codec_attributes(
            codec.payload_type,
            known.label,
            known.clock_rate,
            channels=known.channels,
            fmtp=codec.fmtp if known.name == "red" else each.fmtp,
            feedback=[name for name in FEEDBACK[kind] if name in codec.feedback],
        )
        if each.rtx:
            apt = f"apt={codec.payload_type}"
            lines += codec_attributes(each.rtx.payload_type, "rtx", codec.clock_rate, fmtp=apt)
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
                name=each.codec.name,
                payload_type=each.codec.payload_type,
                clock_rate=each.codec.clock_rate,
                rtx_payload_type=each.rtx.payload_type if each.rtx else None,
            )
            for each in choice.formats
        ),
        extensions=ExtensionIds(**ids),
        rids=rids,
        ssrcs=() if rids else rtp_media.ssrcs(media),
        fmtps=tuple(each.fmtp for each in choice.formats),
        nack="nack" in choice.media.feedback,
        transport_cc=transport_cc,
        remb="goog-remb" in choice.media.feedback and not transport_cc,
        fir="ccm fir" in choice.media.feedback and "nack pli" not in choice.media.feedback,
    )


def _write(section: _Section, transport: tuple[Attribute, ...]) -> MediaDescription:
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
        attributes=(*mid, *transport, *attributes),
    )
