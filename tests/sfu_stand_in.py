"""A stand-in for the server in tests of the Python client: the protocol over aiortc's RTCPeerConnection.

It decodes and encodes to forward, keeps everything in memory, and does on command what a real server
does only in trouble: drop a WebSocket, forget everything, refuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from sfu_client import _aiortc, datagram

PING_INTERVAL_S = 5.0


def _connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))


async def _connected(pc: RTCPeerConnection) -> None:
    """aiortc starts no media negotiated while it connects."""
    changed = asyncio.Event()
    pc.on("connectionstatechange", changed.set)
    while pc.connectionState == "connecting":
        await changed.wait()
        changed.clear()


async def _close(member: Member, pc: RTCPeerConnection) -> None:
    """Closed while it gathers or connects, a connection leaves sockets behind."""
    async with member.gathering:
        pass
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await _connected(pc)
    await pc.close()


@dataclass(eq=False)
class Member:
    id: str
    name: str
    secret: str
    wants: dict[str, Any]
    socket: web.WebSocketResponse
    publish: RTCPeerConnection | None = None
    subscribe: RTCPeerConnection | None = None
    channels: dict[str, Any] = field(default_factory=dict)
    publications: dict[str, dict[str, Any]] = field(default_factory=dict)
    mids: dict[str, str] = field(default_factory=dict)
    tracks: dict[str, Any] = field(default_factory=dict)
    sends: dict[str, Any] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    gathering: asyncio.Lock = field(default_factory=asyncio.Lock)

    def public(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "identity": self.id,
            "state": "connected",
            "joined_at_ms": 1,
            "grants": {"publish": True, "subscribe": True, "data": True, "chat": True},
            "publications": list(self.publications.values()),
        }


class StandIn:
    """`refuse` maps a request's type to the error code it gets; `requests` records what came."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.refuse: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.port = 0
        self._requested = asyncio.Event()
        self._ids = itertools.count(1)
        self._relay = MediaRelay()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._offering = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/signal", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Everything goes: as when the process ends. `start` brings up an empty server on the same port."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        for member in list(self.members.values()):
            await self._remove(member, "shutdown")
        await asyncio.gather(*self._closing)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def drop_sockets(self) -> None:
        """Every WebSocket breaks; memberships and media stay."""
        for member in self.members.values():
            await member.socket.close(code=1006)

    async def wait_for(self, kind: str, count: int = 1) -> None:
        while sum(item["type"] == kind for item in self.requests) < count:
            await self._requested.wait()
            self._requested.clear()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        member: Member | None = None
        async for frame in socket:
            message = json.loads(frame.data)
            self.requests.append(message)
            self._requested.set()
            if (code := self.refuse.get(message["type"])) is not None:
                await self._reply(socket, message, "error", code=code, message="as told")
                continue
            if message["type"] == "join":
                member = await self._join(socket, message)
            elif member is not None:
                await self._handle(member, message)
        return socket

    async def _join(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> Member | None:
        resume = message.get("resume")
        known = self.members.get(resume["participant"]) if resume else None
        if resume and (known is None or known.secret != resume["secret"]):
            await self._reply(socket, message, "error", code="resume_failed", message="")
            await socket.close()
            return None
        if known is None:
            number = next(self._ids)
            known = Member(
                id=f"PA_{number}",
                name=message["name"],
                secret=f"secret-{number}",
                wants=message.get("wants") or {},
                socket=socket,
            )
            await self._tell_others(known, {"type": "participant_joined", "participant": known.public()})
            self.members[known.id] = known
        known.socket = socket
        others = [item.public() for item in self.members.values() if item is not known]
        await self._reply(
            socket,
            message,
            "joined",
            version=1,
            resumed=bool(resume),
            participant=known.public(),
            participants=others,
            room={"name": message["room"]},
            secret=known.secret,
            chat=[],
            ice_servers=[],
            ping_interval_s=PING_INTERVAL_S,
        )
        self._spawn(self._offer(known))
        return known

    async def _handle(self, member: Member, message: dict[str, Any]) -> None:
        match message["type"]:
            case "offer":
                await self._publish(member, message)
            case "answer":
                assert member.subscribe is not None
                await member.subscribe.setRemoteDescription(
                    RTCSessionDescription(sdp=message["sdp"], type="answer")
                )
                member.answered.set()
                await self._reply(member.socket, message, "ok")
            case "subscribe":
                member.wanted.update(message["publications"])
                await self._reply(member.socket, message, "ok")
                self._spawn(self._offer(member))
            case "unpublish":
                await self._unpublish(member, message["publication"])
                await self._reply(member.socket, message, "ok")
            case "chat":
                chat = {"id": next(self._ids), "from": member.id, "name": member.name}
                chat |= {"text": message["text"], "to": message.get("to"), "sent_at_ms": 1}
                await self._reply(member.socket, message, "ok", message=chat)
                await self._tell_others(member, {"type": "chat", "message": chat})
            case "ping":
                await self._reply(member.socket, message, "pong", t=message.get("t"))
            case "leave":
                await self._reply(member.socket, message, "ok")
                await self._remove(member, "left")
            case _:
                await self._reply(member.socket, message, "ok")

    async def _publish(self, member: Member, message: dict[str, Any]) -> None:
        if member.publish is None:
            member.publish = _connection()
            member.publish.on("datachannel", lambda channel: self._listen(member, channel))
        pc = member.publish
        async with member.gathering:
            await pc.setRemoteDescription(RTCSessionDescription(sdp=message["sdp"], type="offer"))
            await pc.setLocalDescription(await pc.createAnswer())
        media = []
        for item in message["media"]:
            line = next(line for line in pc.getTransceivers() if line.mid == item["mid"])
            if item["mid"] not in member.mids:
                publication = f"TR_{next(self._ids)}"
                member.mids[item["mid"]] = publication
                member.tracks[publication] = line.receiver.track
                member.publications[publication] = {
                    "id": publication,
                    "participant": member.id,
                    "kind": line.kind,
                    "source": item["source"],
                    "name": item.get("name", ""),
                    "muted": False,
                    "codec": "",
                    "simulcast": False,
                    "width": 0,
                    "height": 0,
                }
                added = {"type": "publication_added", "publication": member.publications[publication]}
                await self._tell_others(member, added)
            media.append({"mid": item["mid"], "publication": member.mids[item["mid"]]})
        await self._reply(member.socket, message, "answer", sdp=pc.localDescription.sdp, media=media)
        for other in self.members.values():
            if other is not member:
                self._spawn(self._offer(other))

    async def _unpublish(self, member: Member, publication: str) -> None:
        member.publications.pop(publication, None)
        member.tracks.pop(publication, None)
        mid = next(mid for mid, known in member.mids.items() if known == publication)
        assert member.publish is not None
        line = next(line for line in member.publish.getTransceivers() if line.mid == mid)
        await _aiortc.renew_receiver(line)
        member.mids = {mid: known for mid, known in member.mids.items() if known != publication}
        removed = {"type": "publication_removed", "publication": publication, "participant": member.id}
        await self._tell_others(member, removed)

    async def _offer(self, member: Member) -> None:
        """Offer everything the member is to receive and does not yet."""
        async with self._offering:
            sources = {
                key: (other, track)
                for other in self.members.values()
                if other is not member
                for key, track in other.tracks.items()
                if member.wants.get("subscribe", True) or key in member.wanted
            }
            if not set(sources) - set(member.sends):
                return
            if member.subscribe is None:
                member.subscribe = _connection()
            elif member.sends:
                await _connected(member.subscribe)
            for key, (_, track) in sources.items():
                if key not in member.sends:
                    proxy = self._relay.subscribe(track)
                    member.sends[key] = member.subscribe.addTransceiver(proxy, direction="sendonly")
            async with member.gathering:
                await member.subscribe.setLocalDescription(await member.subscribe.createOffer())
            media = [
                {"mid": member.sends[key].mid, "publication": key, "participant": other.id}
                for key, (other, _) in sources.items()
            ]
            member.answered.clear()
            sdp = member.subscribe.localDescription.sdp
            await member.socket.send_json({"type": "offer", "seq": 1, "sdp": sdp, "media": media})
            await member.answered.wait()

    def _listen(self, member: Member, channel: Any) -> None:
        member.channels[channel.label] = channel

        def on_message(message: bytes) -> None:
            header, payload = datagram.unpack(message)
            to = header.get("to")
            stamped = {"topic": header.get("topic", ""), "from": member.id}
            stamped |= {"text": header.get("text", False), "sent_at_ms": 1}
            for other in self.members.values():
                if other is not member and (to is None or other.id in to) and channel.label in other.channels:
                    other.channels[channel.label].send(datagram.pack(stamped, payload))

        channel.on("message", on_message)

    async def _remove(self, member: Member, reason: str) -> None:
        if self.members.pop(member.id, None) is None:
            return
        await self._tell_others(
            member, {"type": "participant_left", "participant": member.id, "reason": reason}
        )
        await member.socket.close()
        for pc in (member.publish, member.subscribe):
            if pc is not None:
                closing = asyncio.ensure_future(_close(member, pc))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def _tell_others(self, member: Member, message: dict[str, Any]) -> None:
        for other in list(self.members.values()):
            if other is not member and not other.socket.closed:
                with contextlib.suppress(ConnectionError):
                    await other.socket.send_json(message)

    async def _reply(
        self, socket: web.WebSocketResponse, request: dict[str, Any], kind: str, **members: Any
    ) -> None:
        await socket.send_json({"type": kind, "id": request.get("id"), **members})

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
