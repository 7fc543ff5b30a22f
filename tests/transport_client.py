"""A real aiortc peer connection against a bare `TransportPort`, without any server around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from sfu.config import RtcConfig
from sfu.ids import TransportKey
from sfu.sdp import model, publish
from sfu.sdp.negotiate import OTHER_ROLE, LocalParameters, RemoteParameters
from sfu.transport import stun
from sfu.transport.peer import PeerTransport
from sfu.transport.port import TransportPort
from sfu_client.remote_sdp import adapt


class Observer:
    """Notes everything, as (what, detail)."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.connected = asyncio.Event()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ready: set[str] = set()

    def on_connected(self, transport: PeerTransport) -> None:
        self.connected.set()

    def on_disconnected(self, transport: PeerTransport) -> None:
        self.events.put_nowait(("disconnected", None))

    def on_reconnected(self, transport: PeerTransport) -> None:
        self.events.put_nowait(("reconnected", None))

    def on_closed(self, transport: PeerTransport, reason: str) -> None:
        self.closed.set_result(reason)

    def on_data(self, transport: PeerTransport, label: str, message: bytes) -> None:
        self.messages.put_nowait((label, message))

    def on_data_ready(self, transport: PeerTransport, label: str) -> None:
        self.ready.add(label)


class Packets(list[tuple[TransportKey, bytes, int]]):
    """What the port handed on as SRTP or SRTCP."""

    def take(self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int) -> None:
        assert 0 <= now_us - arrival_us < 1_000_000
        self.append((transport, packet, arrival_us))


@contextlib.asynccontextmanager
async def open_port(
    packets: Packets | None = None, *, threads: int = 1, **settings: Any
) -> AsyncIterator[TransportPort]:
    """A port on loopback with a free number."""
    config = RtcConfig(**({"port": 0, "bind": ("127.0.0.1",)} | settings))
    on_packet = (packets if packets is not None else Packets()).take
    port = await TransportPort.open(config, on_packet, threads=threads)
    try:
        yield port
    finally:
        await port.close()


PEER_PWD = "q" * 24
"""The `ice-pwd` of a peer that the tests make of a bare socket; its ufrag is `peer`."""


def a_check(transport: PeerTransport, *, nominate: bool = True, peer: str = "peer") -> bytes:
    """A connectivity check of the peer whose ufrag is `peer`."""
    attributes = [(stun.USERNAME, f"{transport.ice_ufrag}:{peer}".encode()), (stun.ICE_CONTROLLING, bytes(8))]
    if nominate:
        attributes.append((stun.USE_CANDIDATE, b""))
    return stun.build(stun.BINDING_REQUEST, os.urandom(12), attributes, transport.ice_pwd)


def an_answer(check: bytes, pwd: str = PEER_PWD) -> bytes:
    """The peer's answer to a check of the server's."""
    request = stun.parse(check)
    assert request.message_type == stun.BINDING_REQUEST
    assert request.integrity_is_valid(pwd)
    mapped = [(stun.XOR_MAPPED_ADDRESS, stun.xor_address("127.0.0.1", 9, request.transaction_id))]
    return stun.build(stun.BINDING_SUCCESS, request.transaction_id, mapped, pwd)


async def received(sock: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 2048), 5)


async def prove(
    sock: socket.socket, transport: PeerTransport, *, nominate: bool = True, peer: str = "peer"
) -> stun.StunMessage:
    """Have `sock`, which is connected to the port, prove its address. Returns the answer to its check."""
    sent = a_check(transport, nominate=nominate, peer=peer)
    sock.send(sent)
    while True:
        data = await received(sock)
        if data[0] > 3:
            continue
        message = stun.parse(data)
        if message.message_type == stun.BINDING_REQUEST:
            sock.send(an_answer(data))
        elif message.transaction_id == sent[8:20]:
            break
    own = sock.getsockname()
    async with asyncio.timeout(5):
        while all(path.key != own for path in transport.agent.paths):
            await asyncio.sleep(0.001)
    return message


def new_client() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


async def connect(
    port: TransportPort, observer: Observer, client: RTCPeerConnection, setup: str = "actpass"
) -> tuple[PeerTransport, dict[str, RTCDataChannel]]:
    """Negotiate with data channels and whatever `client` already sends; does not wait for anything.

    `setup` is the DTLS role that the client offers.
    """
    channels = {
        "reliable": client.createDataChannel("reliable"),
        "lossy": client.createDataChannel("lossy", ordered=False, maxRetransmits=0),
    }
    transport = port.create(observer)
    remote = await negotiate(port, transport, client, setup=setup)
    sctp = None if remote.sctp_port is None else (remote.sctp_port, remote.max_message_size)
    transport.start(remote.ice_ufrag, remote.ice_pwd, remote.fingerprints, sctp, OTHER_ROLE[remote.dtls_role])
    return transport, channels


async def negotiate(
    port: TransportPort,
    transport: PeerTransport,
    client: RTCPeerConnection,
    version: int = 1,
    setup: str = "actpass",
) -> RemoteParameters:
    """One offer of the client's and its answer. Returns the client's side."""
    await client.setLocalDescription(await client.createOffer())
    local = LocalParameters(
        ice_ufrag=transport.ice_ufrag,
        ice_pwd=transport.ice_pwd,
        fingerprint=port.local_fingerprint,
        candidates=port.candidates(),
        sctp_max_message_size=65536,
        dtls_role=transport.dtls_role,
    )
    answer = publish.answer(
        model.parse(client.localDescription.sdp.replace("a=setup:actpass", f"a=setup:{setup}")),
        local,
        session_id=1,
        version=version,
        accept=lambda mid, kind: None,
    )
    await client.setRemoteDescription(
        RTCSessionDescription(adapt(model.format(answer.description)), "answer")
    )
    return answer.remote
