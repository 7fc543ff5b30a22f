"""Reading fields of single bits, most significant first."""

from __future__ import annotations

from sfu.errors import ParseError


class BitReader:
    """Reads a byte string bit by bit; reading past its end raises `ParseError` with the given reason."""

    __slots__ = ("_left", "_reason", "_value")

    def __init__(self, data: bytes | memoryview, reason: str) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)
        self._reason = reason

    def read(self, bits: int) -> int:
        """The next `bits` bits as an unsigned number; 0 for no bits."""
        left = self._left - bits
        if left < 0:
            raise ParseError(self._reason)
        self._left = left
        return self._value >> left & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.read(1) == 1

    def read_exp_golomb(self) -> int:
        """ue(v) of H.264 (section 9.1), uvlc() of AV1 (section 4.10.3); more than 32 bits are refused."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise ParseError(self._reason)
        return (1 << zeros) - 1 + self.read(zeros)

    def read_signed_exp_golomb(self) -> int:
        """se(v) of H.264, section 9.1.1."""
        code = self.read_exp_golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def read_non_symmetric(self, values: int) -> int:
        """ns(n) of AV1, section 4.10.7: a number below `values`, which is at least 1."""
        width = values.bit_length()
        shorter = (1 << width) - values
        value = self.read(width - 1)
        if value < shorter:
            return value
        return (value << 1) - shorter + self.read(1)
