"""A path: one remote address over one of our sockets, able to take a datagram."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol


class Path(Protocol):
    """Hashable by what it leads to; `send` never blocks and tells whether the datagram was taken."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def protocol(self) -> str: ...

    @property
    def key(self) -> Hashable:
        """What datagrams that come over this path are looked up by."""

    def send(self, data: bytes) -> bool: ...

    def __hash__(self) -> int: ...
