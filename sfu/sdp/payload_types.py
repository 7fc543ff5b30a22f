"""Payload types of one subscribe transport: the same codec and parameters always get the same number.

Under BUNDLE one payload type means one codec on every m-line (RFC 8843 section 9.1), so the numbers
belong to the transport.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sfu.rtp.parameters import Kind
from sfu.sdp.capabilities import CODECS
from sfu.sdp.negotiate import OfferedCodec

_DYNAMIC = (*range(96, 128), *range(35, 64))
"""Dynamic payload types that do not read as RTCP under rtcp-mux. Spec: RFC 5761 section 4."""

_Identity = tuple[str, int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedCodec:
    """An offered codec with this transport's payload types; `fmtp` is as written in the offer."""

    codec: OfferedCodec
    payload_type: int
    rtx_payload_type: int | None
    fmtp: str


class PayloadTypes:
    """Numbers for codecs, taken once and kept while any m-line lists them."""

    def __init__(self) -> None:
        self._numbers: dict[_Identity, tuple[int, int | None]] = {}

    def assign(
        self, kind: Kind, codecs: Iterable[OfferedCodec], in_use: Iterable[int]
    ) -> tuple[NumberedCodec, ...]:
        """Number the codecs of one m-line, in their order.

        `in_use` are the payload types that m-lines list now: the others may be taken from codecs long
        gone when the numbers run out. Codecs the server does not know, `red` without a codec to carry,
        and codecs for which no number is left are not in the result.
        """
        known = [codec for codec in codecs if _is_known(kind, codec)]
        used = set(in_use)
        numbered: dict[int, NumberedCodec] = {}
        carried = ""
        # RED names the payload type of what it carries, so it is numbered last.
        for index in sorted(range(len(known)), key=lambda index: known[index].name == "red"):
            codec = known[index]
            fmtp = f"{carried}/{carried}" if codec.name == "red" else codec.fmtp
            if codec.name == "red" and not carried:
                continue
            numbers = self._numbers_for((codec.name, codec.clock_rate, codec.channels, fmtp), used)
            if numbers is None:
                continue
            payload_type, rtx = numbers
            used |= {payload_type} if rtx is None else {payload_type, rtx}
            carried = carried or str(payload_type)
            numbered[index] = NumberedCodec(
                codec=codec, payload_type=payload_type, rtx_payload_type=rtx, fmtp=fmtp
            )
        return tuple(numbered[index] for index in sorted(numbered))

    def _numbers_for(self, identity: _Identity, used: set[int]) -> tuple[int, int | None] | None:
        if identity in self._numbers:
            return self._numbers[identity]
        wanted = 2 if CODECS[identity[0]].kind == "video" else 1
        taken = {number for numbers in self._numbers.values() for number in numbers}
        if sum(number not in taken for number in _DYNAMIC) < wanted:
            self._numbers = {
                known: numbers for known, numbers in self._numbers.items() if not used.isdisjoint(numbers)
            }
            taken = {number for numbers in self._numbers.values() for number in numbers}
        free = [number for number in _DYNAMIC if number not in taken]
        if len(free) < wanted:
            return None
        numbers = (free[0], free[1] if wanted == 2 else None)
        self._numbers[identity] = numbers
        return numbers


def _is_known(kind: Kind, codec: OfferedCodec) -> bool:
    return codec.name in CODECS and CODECS[codec.name].kind == kind
