"""Offers to a subscriber: the state of its m-lines over many renegotiations.

An m-line is of one publication. When that ends it is closed, and its place is taken by another m-line with
a mid of its own (RFC 8829 section 5.2.2), as late as the number of m-lines allows: Pion, webrtcbin and aiortc
never tell their application that an m-line carries somebody else now, and aiortc mistakes places taken again.
The first m-line is always audio with Opus, inactive where there is no audio yet, and never closed: it carries
the BUNDLE transport, Chromium fails as a whole when it must refuse that one, and Opus is what every endpoint
has (RFC 7874 section 3). Only a plain state object; ids, SSRCs and ICE parameters are given to it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from sfu.errors import ParseError, RequestError
from sfu.rtp.parameters import ExtensionIds, Kind
from sfu.sdp import media as rtp_media
from sfu.sdp.capabilities import (
    CODECS,
    EXTENSION_URIS,
    EXTENSIONS,
    SUBSCRIBE_EXTENSION_IDS,
    SUBSCRIBE_FEEDBACK,
    canonical_fmtp,
)
from sfu.sdp.model import MAX_MEDIA, Attribute, MediaDescription, SessionDescription, format, parse
from sfu.sdp.negotiate import (
    DISCARD_PORT,
    RTP_PROTOCOL,
    LocalParameters,
    OfferedCodec,
    RemoteParameters,
    bundle,
    codec_attributes,
    remote_parameters,
    session_attributes,
    transport_attributes,
)
from sfu.sdp.payload_types import NumberedCodec, PayloadTypes

FRESH_MEDIA = 32
"""M-lines from which on the places of closed ones are taken again; until then a new one goes to the end."""

_ANCHOR_CODEC = OfferedCodec(
    name="opus",
    clock_rate=CODECS["opus"].clock_rate,
    channels=CODECS["opus"].channels,
    fmtp=canonical_fmtp("opus", "") or "",
    ingress_payload_type=0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMedia:
    """One publication as it shall be sent to this subscriber.

    `key` is the caller's name for it. `stream_id` and `track_id` become `a=msid` and must be tokens.
    `codecs` stand in the publisher's order; `rtx_ssrc` is None where nothing is retransmitted.
    """

    key: Hashable
    kind: Kind
    stream_id: str
    track_id: str
    codecs: tuple[OfferedCodec, ...]
    ssrc: int
    rtx_ssrc: int | None
    cname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An offer to send. `media` holds (mid, key) of each m-line that carries media.

    `left_out` are keys that got no m-line: the subscriber refused them before, or the server has no payload
    type for any of their codecs. `later` are those for which the next offer has a place.
    """

    sdp: str
    media: tuple[tuple[str, Hashable], ...]
    left_out: tuple[Hashable, ...]
    later: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMedia:
    """One m-line the subscriber agreed to receive.

    `payload_types` maps the publisher's payload types to this leg's, `rtx_payload_types` this leg's
    media ones to its RTX ones; both hold only what the answer kept.
    """

    key: Hashable
    mid: str
    payload_types: dict[int, int]
    rtx_payload_types: dict[int, int]
    extensions: ExtensionIds


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeAnswer:
    """What an answer means. `remote` is None where every m-line was refused: there is no transport then.

    `rejected` are the keys the subscriber cannot take; `inactive` those it does not want now.
    """

    remote: RemoteParameters | None
    media: tuple[SentMedia, ...]
    rejected: tuple[Hashable, ...]
    inactive: tuple[Hashable, ...]


@dataclass(slots=True)
class _Line:
    """One m-line. `outgoing` is None after its media has ended; it is `closed` then, or when the subscriber
    refused it. Of the first it is None before it has media, too (`untouched`).

    `codecs` are those of `numbered` that have payload types.
    """

    mid: str
    kind: Kind
    codecs: tuple[NumberedCodec, ...]
    outgoing: OutgoingMedia | None
    closed: bool = False
    untouched: bool = False
    numbered: tuple[OfferedCodec, ...] = ()

    def payload_types(self) -> set[int]:
        numbers = {codec.payload_type for codec in self.codecs}
        return numbers | {
            codec.rtx_payload_type for codec in self.codecs if codec.rtx_payload_type is not None
        }


@dataclass(slots=True)
class SubscribeSession:
    """The offers of one subscribe transport. `session_id` is the origin line's, below 2**63."""

    session_id: int
    most_lines: int = MAX_MEDIA
    """Those that are closed count."""
    _version: int = 0
    _next_mid: int = 0
    _awaiting_answer: bool = False
    _lines: list[_Line] = field(default_factory=list)
    _payload_types: PayloadTypes = field(default_factory=PayloadTypes)
    _refused: set[Hashable] = field(default_factory=set)

    def plan(self, outgoing: Sequence[OutgoingMedia], local: LocalParameters) -> Offer:
        """The next offer, carrying exactly `outgoing`. With nothing ever to send there is none to make.

        Media keeps its m-line while its key is planned, and the place of one that ends with this offer is not
        taken before the next. A refused key is left out until a plan has been
        without it. New ICE credentials in `local` make the offer an ICE restart.
        """
        wanted = {media.key: media for media in outgoing}
        self._refused &= wanted.keys()
        placed: set[Hashable] = set()
        places = [index for index, line in enumerate(self._lines) if line.closed]
        for line in self._lines:
            if line.outgoing is not None:
                line.outgoing = wanted.get(line.outgoing.key)
            if line.outgoing is not None and self._number(line, line.outgoing):
                placed.add(line.outgoing.key)
        for line in self._lines[1:]:
            line.closed |= line.outgoing is None
        if not self._lines:
            self._lines.append(self._anchor())
        left_out: list[Hashable] = []
        later: list[Hashable] = []
        for media in wanted.values():
            if media.key in placed:
                continue
            fresh = None if media.key in self._refused else self._new_line(media)
            if fresh is None:
                left_out.append(media.key)
            elif not self._place(fresh, places):
                later.append(media.key)
        self._version += 1
        self._awaiting_answer = True
        return Offer(
            sdp=format(self._describe(local)),
            media=tuple((line.mid, line.outgoing.key) for line in self._lines if line.outgoing),
            left_out=tuple(left_out),
            later=tuple(later),
        )

    def apply_answer(self, sdp: str) -> SubscribeAnswer:
        """Take the answer to the last plan.

        Codecs, RTX, feedback or extensions may be missing or reordered, m-lines inactive or refused.
        Raises `ParseError` where the answer does not parse, does not match the offer's m-lines, or takes
        no DTLS role; the offer then still waits. Raises `RequestError` `bad_state`
        where no offer waits.
        """
        if not self._awaiting_answer:
            raise RequestError("bad_state", "no offer is waiting for an answer")
        answer = parse(sdp)
        if len(answer.media) != len(self._lines):
            raise ParseError("sdp-answer-media")
        pairs = list(zip(self._lines, answer.media, strict=True))
        for line, media in pairs:
            if media.kind != line.kind or (media.port and rtp_media.mid(media) != line.mid):
                raise ParseError("sdp-answer-media")
        remote = self._remote(answer)
        sent: list[SentMedia] = []
        rejected: list[Hashable] = []
        inactive: list[Hashable] = []
        mixed = answer.has("extmap-allow-mixed")
        for line, media in pairs:
            outgoing, line.closed = line.outgoing, line.closed or media.port == 0
            if outgoing is None:
                continue
            agreed = None if line.closed else _agreed(line, outgoing, media, mixed=mixed)
            if line.closed or agreed is None:
                rejected.append(outgoing.key)
                line.outgoing = None
            elif rtp_media.direction(media) not in {"recvonly", "sendrecv"}:
                inactive.append(outgoing.key)
            else:
                sent.append(agreed)
        self._refused.update(rejected)
        self._awaiting_answer = False
        return SubscribeAnswer(
            remote=remote, media=tuple(sent), rejected=tuple(rejected), inactive=tuple(inactive)
        )

    def _remote(self, answer: SessionDescription) -> RemoteParameters | None:
        live = [media for media in answer.media if media.port]
        if not live:
            return None
        by_mid = {rtp_media.mid(media): media for media in live}
        tagged = [by_mid[mid] for mid in bundle(answer) if mid in by_mid]
        return remote_parameters(answer, (*tagged, *live), None, either=None, default="server")

    def _anchor(self) -> _Line:
        """The inactive first m-line; the first audio takes it."""
        self._next_mid += 1
        codecs = self._payload_types.assign("audio", (_ANCHOR_CODEC,), ())
        return _Line(mid="0", kind="audio", codecs=codecs, outgoing=None, untouched=True)

    def _number(self, line: _Line, media: OutgoingMedia) -> bool:
        """Give the line the payload types of `media`; whether any codec got one."""
        if line.codecs and line.numbered == media.codecs and len(line.codecs) == len(media.codecs):
            return True
        in_use = {number for other in self._lines if not other.closed for number in other.payload_types()}
        codecs = self._payload_types.assign(media.kind, media.codecs, in_use)
        if not codecs:
            line.outgoing = None
            return False
        line.codecs, line.numbered = codecs, media.codecs
        return True

    def _new_line(self, media: OutgoingMedia) -> _Line | None:
        """An m-line that is not placed yet, None where there is no payload type for it."""
        line = _Line(mid=str(self._next_mid), kind=media.kind, codecs=(), outgoing=media)
        return line if self._number(line, media) else None

    def _place(self, line: _Line, places: list[int]) -> bool:
        """Put new media on the first m-line, where that is fit, else on one of its own; at one of `places`,
        which closed ones have left, where there are many m-lines.
        """
        anchor = self._lines[0]
        if anchor.untouched and not anchor.closed and line.kind == anchor.kind:
            anchor.codecs, anchor.numbered = line.codecs, line.numbered
            anchor.outgoing, anchor.untouched = line.outgoing, False
            return True
        if places and len(self._lines) >= min(FRESH_MEDIA, self.most_lines):
            self._lines[places.pop(0)] = line
        elif len(self._lines) < self.most_lines:
            self._lines.append(line)
        else:
            return False
        self._next_mid += 1
        return True

    def _describe(self, local: LocalParameters) -> SessionDescription:
        mids = [line.mid for line in self._lines if not line.closed]
        return SessionDescription(
            session_id=self.session_id,
            session_version=self._version,
            attributes=session_attributes(mids, allow_mixed=True),
            media=tuple(_write(line, local) for line in self._lines),
        )


def _agreed(
    line: _Line, outgoing: OutgoingMedia, media: MediaDescription, *, mixed: bool
) -> SentMedia | None:
    """What the answered m-line lets through, None where the publisher's first codec is not among it."""
    kept = {codec.payload_type: codec for codec in rtp_media.codecs(media)}
    payload_types: dict[int, int] = {}
    rtx_payload_types: dict[int, int] = {}
    for numbered in line.codecs:
        answered = kept.get(numbered.payload_type)
        if answered is None or answered.name != numbered.codec.name:
            continue
        payload_types[numbered.codec.ingress_payload_type] = numbered.payload_type
        rtx = kept.get(numbered.rtx_payload_type) if numbered.rtx_payload_type is not None else None
        if rtx and rtx.apt() == numbered.payload_type and outgoing.rtx_ssrc is not None:
            rtx_payload_types[numbered.payload_type] = rtx.payload_type
    first = next(each.codec for each in line.codecs if each.codec.name != "red")
    if first.ingress_payload_type not in payload_types:
        return None
    return SentMedia(
        key=outgoing.key,
        mid=line.mid,
        payload_types=payload_types,
        rtx_payload_types=rtx_payload_types,
        extensions=_agreed_extensions(
            line.kind,
            media,
            mixed=mixed,
            reported=any("transport-cc" in kept[number].feedback for number in payload_types.values()),
        ),
    )


def _agreed_extensions(kind: Kind, media: MediaDescription, *, mixed: bool, reported: bool) -> ExtensionIds:
    """`reported`: the subscriber sends transport-wide feedback. Who takes the extension alone does not."""
    answered = rtp_media.extensions(media)
    ids = {
        name: extension_id
        for name, extension_id in _offered_extensions(kind)
        if answered.get(EXTENSION_URIS[name], (0, ""))[0] == extension_id
    }
    if not mixed:
        # A structure outgrows the one-byte form, which the subscriber cannot switch from.
        ids.pop("dependency_descriptor", None)
    if not reported:
        ids.pop("transport_cc", None)
    return ExtensionIds(**ids)


def _offered_extensions(kind: Kind) -> list[tuple[str, int]]:
    return [(name, number) for name, number in SUBSCRIBE_EXTENSION_IDS.items() if name in EXTENSIONS[kind]]


def _write(line: _Line, local: LocalParameters) -> MediaDescription:
    # aiortc reads transport and codecs of closed m-lines too.
    attributes = [Attribute("mid", line.mid), *transport_attributes(local, None)]
    codecs = line.codecs[:1] if line.closed else line.codecs
    if not line.closed:
        attributes += [
            Attribute("extmap", f"{number} {EXTENSION_URIS[name]}")
            for name, number in _offered_extensions(line.kind)
        ]
    outgoing = line.outgoing
    attributes.append(Attribute("sendonly" if outgoing else "inactive"))
    attributes += [Attribute("rtcp-mux"), Attribute("rtcp-rsize")]
    if outgoing:
        attributes.append(Attribute("msid", f"{outgoing.stream_id} {outgoing.track_id}"))
    for numbered in codecs:
        attributes += _codec_lines(numbered, line.kind)
    if outgoing:
        repaired = any(numbered.rtx_payload_type is not None for numbered in line.codecs)
        attributes += _ssrc_attributes(outgoing, outgoing.rtx_ssrc if repaired else None)
    return MediaDescription(
        kind=line.kind,
        port=0 if line.closed else DISCARD_PORT,
        protocol=RTP_PROTOCOL,
        formats=_formats(codecs),
        attributes=tuple(attributes),
    )


def _formats(codecs: tuple[NumberedCodec, ...]) -> tuple[str, ...]:
    media = [codec.payload_type for codec in codecs]
    rtx = [codec.rtx_payload_type for codec in codecs if codec.rtx_payload_type is not None]
    return tuple(str(number) for number in (*media, *rtx))


def _codec_lines(numbered: NumberedCodec, kind: Kind) -> tuple[Attribute, ...]:
    codec = numbered.codec
    lines = codec_attributes(
        numbered.payload_type,
        CODECS[codec.name].label,
        codec.clock_rate,
        channels=codec.channels,
        fmtp=numbered.fmtp,
        feedback=SUBSCRIBE_FEEDBACK[kind] if codec.name != "red" else (),
    )
    if numbered.rtx_payload_type is None:
        return lines
    apt = f"apt={numbered.payload_type}"
    return (*lines, *codec_attributes(numbered.rtx_payload_type, "rtx", codec.clock_rate, fmtp=apt))


def _ssrc_attributes(outgoing: OutgoingMedia, rtx_ssrc: int | None) -> list[Attribute]:
    """Receivers without MID demultiplexing route by these. Spec: RFC 5576, RFC 8830 section 2 (msid)."""
    ssrcs = [outgoing.ssrc] if rtx_ssrc is None else [outgoing.ssrc, rtx_ssrc]
    lines = [Attribute("ssrc-group", f"FID {ssrcs[0]} {ssrcs[1]}")] if len(ssrcs) == 2 else []
    for ssrc in ssrcs:
        lines.append(Attribute("ssrc", f"{ssrc} cname:{outgoing.cname}"))
        lines.append(Attribute("ssrc", f"{ssrc} msid:{outgoing.stream_id} {outgoing.track_id}"))
    return lines
