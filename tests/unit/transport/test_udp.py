"""Socket buffers, as far as the system gives them."""

from __future__ import annotations

import logging
import socket
import sys

import pytest

from sfu.transport import udp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux cuts wishes in silence")
MEGABYTE = 1 << 20


class Limited:
    """A socket of a process that may, or may not, exceed the system's limit."""

    def __init__(self, limit: int, *, privileged: bool) -> None:
        self.limit, self.privileged = limit, privileged
        self.sizes: dict[int, int] = {}

    def setsockopt(self, level: int, option: int, size: int) -> None:
        plain = {forced: plain for plain, forced in udp._FORCED.items()}.get(option)
        if plain is None:
            self.sizes[option] = min(size, self.limit)
        elif self.privileged:
            self.sizes[plain] = size
        else:
            raise PermissionError

    def getsockopt(self, level: int, option: int) -> int:
        return 2 * self.sizes[option]


@pytest.mark.parametrize(
    ("limit", "privileged", "sent", "told"),
    [(4 * MEGABYTE, False, 4 * MEGABYTE, 0), (212_992, True, 4 * MEGABYTE, 0), (212_992, False, 212_992, 2)],
)
def test_a_buffer_beyond_the_limit_is_forced_or_missed(
    limit: int, privileged: bool, sent: int, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    sock = Limited(limit, privileged=privileged)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        udp.set_buffer(sock, option, 4 * MEGABYTE)  # type: ignore[arg-type]
    assert udp.buffer_bytes(sock, socket.SO_SNDBUF) == sent  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        udp.tell_shortfall(sock, 4 * MEGABYTE, 4 * MEGABYTE)  # type: ignore[arg-type]
    assert len(caplog.messages) == told
    if told:
        assert "sysctl -w net.core.rmem_max=4194304" in caplog.messages[0]
        assert "sysctl -w net.core.wmem_max=4194304" in caplog.messages[1]


def test_a_real_socket_has_what_may_be_had() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        udp.set_buffer(sock, socket.SO_SNDBUF, 65_536)
        assert udp.buffer_bytes(sock, socket.SO_SNDBUF) == 65_536
        udp.set_buffer(sock, socket.SO_SNDBUF, 1 << 24)
        assert udp.buffer_bytes(sock, socket.SO_SNDBUF) > 65_536
