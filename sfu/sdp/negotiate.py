"""What both directions of negotiation share: transport attributes, BUNDLE, codec lines.

The server is ICE-lite on one port, so its candidates are known and complete in the first
description. It takes either DTLS role: the peer's choice, that of the server where the peer has none.
Spec: RFC 8829, RFC 8842, RFC 8843.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sfu.errors import ParseError
from sfu.sdp.model import Attribute, MediaDescription, SessionDescription, decimal

RTP_PROTOCOL = "UDP/TLS/RTP/SAVPF"
RTP_PROTOCOLS = frozenset(
    f"{transport}RTP/{profile}"
    for transport in ("UDP/TLS/", "TCP/DTLS/", "")
    for profile in ("SAVPF", "SAVP", "AVPF", "AVP")
)
"""Of offers; whatever they say, it is DTLS-SRTP. Spec: RFC 8829 section 5.1.2."""
SCTP_PROTOCOL = "UDP/DTLS/SCTP"
SCTP_PROTOCOLS = frozenset((SCTP_PROTOCOL, "TCP/DTLS/SCTP", "DTLS/SCTP"))
"""Of offers; the last is that of drafts before RFC 8841."""
DISCARD_PORT = 9
"""The port of a live m-line whose addresses are in its candidates. Spec: RFC 8840 section 4.1.1."""

DEFAULT_MAX_MESSAGE_SIZE = 65_536
"""Bytes, where the peer does not say. Spec: RFC 8841 section 6.1."""

DtlsRole = Literal["client", "server"]
OTHER_ROLE: Mapping[DtlsRole, DtlsRole] = {"client": "server", "server": "client"}
_SETUP: Mapping[DtlsRole, str] = {"client": "active", "server": "passive"}
"""`a=setup` of a side that has that role. Spec: RFC 8842 section 5."""
_ROLE: Mapping[str, DtlsRole] = {setup: role for role, setup in _SETUP.items()}
EITHER_ROLE = "actpass"
"""`a=setup` of an offer that leaves the roles to the answer."""

# Some devices use the alphabet of base64url, which the grammar of RFC 8839 does not have.
_UFRAG = re.compile(r"[0-9A-Za-z+/_-]{4,256}")
_PASSWORD = re.compile(r"[0-9A-Za-z+/_-]{22,256}")
_FINGERPRINT = re.compile(r"([0-9A-Za-z-]{3,16}) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){15,63})")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalParameters:
    """The server's side of one transport.

    `fingerprint` is `sha-256 AA:BB...`; `candidates` are the texts after `a=candidate:`;
    `sctp_max_message_size` is in bytes. `dtls_role` is the one the transport has, or takes where the peer
    leaves the choice: it stays over renegotiations (RFC 8842 section 5.5).
    """

    ice_ufrag: str
    ice_pwd: str
    fingerprint: str
    candidates: tuple[str, ...]
    sctp_max_message_size: int
    dtls_role: DtlsRole = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteParameters:
    """The peer's side of one transport.

    `fingerprints` are (algorithm, `AA:BB...`); `dtls_role` is the peer's; `sctp_port` is None without a data
    channel; `max_message_size` is in bytes, 0 means without limit (RFC 8841 section 6.1).
    """

    ice_ufrag: str
    ice_pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    dtls_role: DtlsRole
    sctp_port: int | None
    max_message_size: int

    def continues(self, before: RemoteParameters) -> bool:
        """Whether it is the DTLS association of `before`. Spec: RFC 8842 section 3.1."""
        return (self.fingerprints, self.dtls_role) == (before.fingerprints, before.dtls_role)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedCodec:
    """One codec a publication arrives with, as subscribers are offered it.

    `fmtp` is canonical (see `capabilities.canonical_fmtp`); `ingress_payload_type` is the publisher's.
    """

    name: str
    clock_rate: int
    channels: int
    fmtp: str
    ingress_payload_type: int


def remote_parameters(
    description: SessionDescription,
    sections: Iterable[MediaDescription],
    data: MediaDescription | None,
    *,
    either: DtlsRole | None,
    default: DtlsRole,
) -> RemoteParameters:
    """The transport parameters of the first of `sections` that carries ICE credentials, else the session's.

    `either` is the peer's DTLS role where it leaves the choice, None where it may not; `default` the one
    where it says nothing. Raises `ParseError` where credentials or a fingerprint are missing or malformed,
    and where the peer names no role that it may have.
    """
    section = next((media for media in sections if media.has("ice-ufrag")), None)
    ufrag = _first("ice-ufrag", section, description)
    password = _first("ice-pwd", section, description)
    if not _UFRAG.fullmatch(ufrag) or not _PASSWORD.fullmatch(password):
        raise ParseError("sdp-ice-credentials")
    setup = _first("setup", section, description) or _SETUP[default]
    role = either if setup == EITHER_ROLE else _ROLE.get(setup)
    if role is None:
        raise ParseError("sdp-setup")
    fingerprints = tuple(_fingerprints(section)) if section else ()
    fingerprints = fingerprints or tuple(_fingerprints(description))
    if not fingerprints:
        raise ParseError("sdp-fingerprint")
    port = sctp_port(data) if data else None
    size = decimal((data.get("max-message-size") if data else None) or "", 2**53)
    return RemoteParameters(
        ice_ufrag=ufrag,
        ice_pwd=password,
        fingerprints=fingerprints,
        dtls_role=role,
        sctp_port=port,
        max_message_size=DEFAULT_MAX_MESSAGE_SIZE if size is None else size,
    )


def sctp_port(data: MediaDescription) -> int | None:
    """The peer's SCTP port, None where it names none. Older drafts name it in the m-line's format."""
    mapped = data.get("sctpmap") or ""
    return decimal(data.get("sctp-port") or mapped.split(" ")[0], 65535)


def bundle(description: SessionDescription) -> tuple[str, ...]:
    """The mids of the first BUNDLE group, each once, empty where there is none. Spec: RFC 8843 section 7."""
    for value in description.all("group"):
        semantics, *mids = value.split(" ")
        if semantics == "BUNDLE":
            return tuple(dict.fromkeys(mids))
    return ()


def session_attributes(mids: Sequence[str], *, allow_mixed: bool) -> tuple[Attribute, ...]:
    """The session-level attributes of every description the server writes. `mids` are the live m-lines'."""
    found = [Attribute("ice-lite")]
    if mids:
        found.append(Attribute("group", " ".join(("BUNDLE", *mids))))
    if allow_mixed:
        found.append(Attribute("extmap-allow-mixed"))
    found.append(Attribute("msid-semantic", " WMS *"))
    return tuple(found)


def transport_attributes(local: LocalParameters, role: DtlsRole | None) -> tuple[Attribute, ...]:
    """ICE and DTLS attributes of one m-line, for a server that has `role`, or leaves it to the peer (None).

    Candidates stand in every m-line, though the BUNDLE-tagged one were enough: some peers (aiortc) read
    those of the last.
    """
    return (
        Attribute("ice-ufrag", local.ice_ufrag),
        Attribute("ice-pwd", local.ice_pwd),
        Attribute("fingerprint", local.fingerprint),
        Attribute("setup", EITHER_ROLE if role is None else _SETUP[role]),
        *(Attribute("candidate", candidate) for candidate in local.candidates),
        Attribute("end-of-candidates"),
    )


def codec_attributes(
    payload_type: int,
    label: str,
    clock_rate: int,
    *,
    channels: int = 1,
    fmtp: str = "",
    feedback: Iterable[str] = (),
) -> tuple[Attribute, ...]:
    """`a=rtpmap`, `a=rtcp-fb` and `a=fmtp` of one payload type."""
    encoding = f"{label}/{clock_rate}" + (f"/{channels}" if channels > 1 else "")
    found = [Attribute("rtpmap", f"{payload_type} {encoding}")]
    found += [Attribute("rtcp-fb", f"{payload_type} {kind}") for kind in feedback]
    if fmtp:
        found.append(Attribute("fmtp", f"{payload_type} {fmtp}"))
    return tuple(found)


def _first(name: str, section: MediaDescription | None, description: SessionDescription) -> str:
    value = section.get(name) if section else None
    return value if value is not None else description.get(name) or ""


def _fingerprints(holder: SessionDescription | MediaDescription) -> Iterator[tuple[str, str]]:
    for value in holder.all("fingerprint"):
        match = _FINGERPRINT.fullmatch(value)
        if match:
            yield match[1].lower(), match[2].upper()
