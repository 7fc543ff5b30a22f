from __future__ import annotations

import socket

import pytest

from sfu.server.listen import listen


def close(sockets: list[socket.socket]) -> None:
    for opened in sockets:
        opened.close()


def test_every_interface_has_one_port() -> None:
    sockets = listen("", 0)
    ports = {opened.getsockname()[1] for opened in sockets}
    families = [opened.family for opened in sockets]
    close(sockets)
    assert len(ports) == 1
    assert 0 not in ports
    assert families[0] == socket.AF_INET
    assert len(set(families)) == len(families)


def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    first = listen("127.0.0.1", 0)
    port = first[0].getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", port)
    with pytest.raises(OSError, match="in use"):
        listen("", port)
    close(first)
    close(listen("127.0.0.1", port))


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        listen("192.0.2.1", 0)


def test_a_school_that_comes_at_once_waits_to_be_accepted() -> None:
    (opened,) = listen("127.0.0.1", 0)
    address = opened.getsockname()
    # Nobody accepts: one that the system has no place for would try again until this time is over.
    coming = [socket.create_connection(address, timeout=10) for _ in range(300)]
    close([*coming, opened])
