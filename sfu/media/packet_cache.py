"""The last packets of one encoding, kept to answer NACKs and to catch up with a keyframe's late beginning."""

from __future__ import annotations

from typing import Generic, TypeVar

P = TypeVar("P")


class PacketCache(Generic[P]):
    """Holds the packets of the last `capacity` unwrapped sequence numbers, whatever order they come in.

    One cache serves every subscriber: it holds what arrived, and each subscriber's numbers are mapped back.
    """

    __slots__ = ("_mask", "_numbers", "_packets")

    def __init__(self, capacity: int) -> None:
        """`capacity` is rounded up to a power of two. Raises `ValueError` below 1."""
        if capacity < 1:
            raise ValueError("a cache holds at least one packet")
        size = 1 << (capacity - 1).bit_length()
        self._mask = size - 1
        self._numbers = [-1] * size
        self._packets: list[P | None] = [None] * size

    def put(self, ext_seq: int, packet: P) -> None:
        """Remember a packet, unless its place is taken by a newer one."""
        slot = ext_seq & self._mask
        if ext_seq >= self._numbers[slot]:
            self._numbers[slot] = ext_seq
            self._packets[slot] = packet

    def get(self, ext_seq: int) -> P | None:
        """The packet with that number, None where it never came or is too old."""
        slot = ext_seq & self._mask
        return self._packets[slot] if self._numbers[slot] == ext_seq else None
