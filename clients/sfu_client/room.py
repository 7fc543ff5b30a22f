"""A room as a Python program sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import Any, Literal, cast, overload

from aiortc import MediaStreamTrack
from av import AudioFrame, VideoFrame

from sfu_client import events
from sfu_client.adaptation import SentEncoding
from sfu_client.chat import ChatMemory
from sfu_client.connection import AutoSubscribe, Connection, Options
from sfu_client.data import LiveData
from sfu_client.errors import ClientError, ClosedError
from sfu_client.events import Event, EventStream
from sfu_client.files import Files
from sfu_client.model import ChatMessage, Kind, Participant, Publication, Source
from sfu_client.publish import DEFAULT_VIDEO_BPS, LocalPublication
from sfu_client.quality import SubscriptionQuality
from sfu_client.roster import Roster
from sfu_client.signalling import Message, signal_url
from sfu_client.state import SharedState
from sfu_client.telemetry import Alarm, Sample, Series, Telemetry
from sfu_client.tracks import AnyTrack, RemoteTrack

logger = logging.getLogger(__name__)


class Room:
    """A membership of a room, made by `Room.connect`.

    It returns by itself after any loss: within the server's grace period as the same participant with
    media untouched, later as a new one, with this client's tracks published again and everybody's
    subscribed again. Only a refusal for good ends it: then `closed` is set and `events` end.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._local: list[LocalPublication] = []
        self._connection = Connection(options, self._local, self)
        self._roster = Roster()
        self._me = Participant(id="", name=options.name)
        self._tracks: dict[str, AnyTrack] = {}
        self._readers: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen = False
        self._chat = ChatMemory()
        self.data = LiveData(self._connection)
        """Messages to the others that are not stored."""
        self.state = SharedState(self._connection.request)
        """The room's shared state."""
        self._recording: set[str] = set()
        self.files = Files(options.room, self._connection, self.chat)
        """Uploads and downloads; `files.send` shows one in the chat."""
        self.telemetry = Telemetry(self._connection.request)

    # --- coming and going

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        url: str,
        room: str,
        *,
        name: str = "Python",
        token: str | None = None,
        insecure: bool = False,
        relay: bool = False,
        auto_subscribe: AutoSubscribe = True,
        role: str | None = None,
        keep_trying: bool = False,
    ) -> AsyncIterator[Room]:
        """Join `room` on the server at `url` (http, https, ws or wss) and leave it at the end.

        `token`: access token, not needed by a server in development mode. `insecure` accepts a
        self-signed certificate. `relay` sends media through the server's TURN servers only.
        `auto_subscribe`: True receives (and decodes) everything, False nothing until `subscribe`, a
        function decides for each publication, also after reconnections. `role`: `participant`, `observer`
        or `device`, for a server in development mode; elsewhere the token says it. `keep_trying` goes on
        where the server cannot be reached at first.

        Raises `UnavailableError` when the server cannot be reached, `RefusedError` when it refuses.
        """
        room_ = cls(
            Options(
                url=signal_url(url),
                room=room,
                name=name,
                token=token,
                insecure=insecure,
                relay=relay,
                auto_subscribe=auto_subscribe,
                role=role,
            )
        )
        try:
            await room_._connection.open(keep_trying=keep_trying)
            yield room_
        finally:
            await room_.close()

    async def close(self) -> None:
        """Leave, and free everything. The users' tracks stay as they are."""
        await self._connection.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_closed(self) -> ClosedError:
        """Wait until the room is closed for good, and say why."""
        async for _ in self.events():
            pass
        assert self._connection.closed is not None
        return self._connection.closed

    # --- who and what is here

    @property
    def name(self) -> str:
        """The room's name."""
        return self._options.room

    @property
    def me(self) -> Participant:
        """This client; its id changes with a reconnection that was no resumption."""
        return self._me

    @property
    def participants(self) -> dict[str, Participant]:
        """The others, by id, with their publications."""
        return dict(self._roster.participants)

    @property
    def publications(self) -> list[Publication]:
        """Everything the others publish."""
        return [item for other in self.participants.values() for item in other.publications.values()]

    @property
    def tracks(self) -> dict[str, AnyTrack]:
        """What is being received, by publication id."""
        return dict(self._tracks)

    @property
    def chat_history(self) -> list[ChatMessage]:
        """The recent chat, oldest first."""
        return self._chat.messages()

    @property
    def connected(self) -> bool:
        """Whether signalling is up right now."""
        return self._connection.online

    @property
    def closed(self) -> ClosedError | None:
        """Why the room is closed for good, None while it is not."""
        return self._connection.closed

    def events(self) -> EventStream:
        """Events from now on, to be read by `async for`; each call makes an independent reader."""
        reader = EventStream()
        if self.closed is not None:
            reader.end()
        else:
            self._readers.add(reader)
        return reader

    @property
    def recording(self) -> frozenset[str]:
        """The ids of who records, as they have said."""
        return frozenset(self._recording)

    # --- receiving

    @overload
    async def wait_for_track(
        self, *, kind: Literal["video"], source: str | None = ..., participant: str | None = ...
    ) -> RemoteTrack[VideoFrame]: ...

    @overload
    async def wait_for_track(
        self, *, kind: Literal["audio"], source: str | None = ..., participant: str | None = ...
    ) -> RemoteTrack[AudioFrame]: ...

    @overload
    async def wait_for_track(
        self, *, kind: None = None, source: str | None = ..., participant: str | None = ...
    ) -> AnyTrack: ...

    async def wait_for_track(
        self, *, kind: Kind | None = None, source: str | None = None, participant: str | None = None
    ) -> AnyTrack:
        """The first subscribed track that fits; waits for one. `participant` is an id, identity or name.

        Raises `ClosedError` when the room closes.
        """

        changes = self.events()
        while True:
            for track in self._tracks.values():
                owner = track.participant
                if (
                    not track.ended
                    and kind in (None, track.kind)
                    and source in (None, track.source)
                    and participant in (None, owner.id, owner.identity, owner.name)
                ):
                    return track
            self._connection.raise_if_closed()
            await anext(changes, None)

    async def subscribe(
        self,
        publications: Iterable[Publication],
        *,
        priority: int | None = None,
        width: int | None = None,
        height: int | None = None,
        paused: bool | None = None,
    ) -> None:
        """Receive these publications, or adjust how.

        `priority` 0-255 weighs them where bandwidth is short, `width` and `height` are the picture size
        wished (pixels, 0 any), `paused` stops packets but keeps the subscription.
        """
        wishes = {"priority": priority, "width": width, "height": height, "paused": paused}
        ids = [item.id for item in publications]
        await self._connection.request(
            "subscribe",
            publications=ids,
            **{key: value for key, value in wishes.items() if value is not None},
        )

    async def unsubscribe(self, publications: Iterable[Publication]) -> None:
        """Stop receiving these publications."""
        await self._connection.request("unsubscribe", publications=[item.id for item in publications])

    # --- sending

    async def publish(
        self,
        track: MediaStreamTrack,
        *,
        source: Source | None = None,
        name: str = "",
        codec: Literal["vp8", "h264", "opus"] | None = None,
        bitrate_bps: int = DEFAULT_VIDEO_BPS,
        simulcast: bool = False,
    ) -> LocalPublication:
        """Publish `track`; it is encoded once, however many watch.

        `source` is `camera` or `microphone` by default. `codec` of video is `vp8` (default) or `h264`;
        `bitrate_bps` is the most it may take. `simulcast` adds an encoding of half the width and height (and
        a quarter of the bit rate) for viewers with less room or bandwidth. The track is read by this room
        alone and published again after every reconnection; ending it (`track.stop()`) unpublishes it.

        Raises `RefusedError` when the server refuses, `ClosedError` when the room closes.
        """
        if codec not in (None, *(("vp8", "h264") if track.kind == "video" else ("opus",))):
            raise ValueError(f"{track.kind} cannot be encoded as {codec}")
        if simulcast and track.kind != "video":
            raise ValueError("simulcast is for video")
        self._connection.raise_if_closed()
        chosen = source or ("camera" if track.kind == "video" else "microphone")
        publication = LocalPublication(track, chosen, name, codec, bitrate_bps, simulcast)
        self._local.append(publication)
        publication.on_ended = lambda: self._spawn(self.unpublish(publication))
        track.on("ended", publication.on_ended)
        publication.on_refused = lambda error: self._emit(events.PublishFailed(name or chosen, error.code))
        self._connection.publications_changed()
        try:
            await asyncio.shield(publication.accepted)
        except BaseException:
            await self.unpublish(publication)
            raise
        return publication

    async def unpublish(self, publication: LocalPublication) -> None:
        """Take a track back; others see it go at once. The track itself is not stopped."""
        if publication not in self._local:
            return
        self._local.remove(publication)
        publication.forget_end()
        if publication.id and self.connected:
            with contextlib.suppress(ClientError):
                await self._connection.request("unpublish", publication=publication.id)
        self._connection.publications_changed()

    async def mute(self, publication: LocalPublication, muted: bool = True) -> None:
        """Stop sending a track, or go on; others see its state."""
        publication.muted = muted
        if publication.id:
            await self._connection.request("mute", publication=publication.id, muted=muted)

    async def set_recording(self, on: bool) -> None:
        """Say to everybody that this client records, or does no more; needs the right `record`.

        It ends with the membership and with the right. Raises `RefusedError`, `UnavailableError`.
        """
        await self._connection.request("set_recording", on=on)

    async def chat(self, text: str, to: str | None = None, *, file: str | None = None) -> ChatMessage:
        """Say something to everybody, or to one: a participant's id, or an identity that is or was here.

        `file` is the id of an upload of one's own. Raises `RefusedError`, `UnavailableError`.
        """
        members = {name: value for name, value in (("to", to), ("file", file)) if value is not None}
        return self._changed(await self._connection.request("chat", text=text, **members))

    async def edit_chat(self, message: int, text: str) -> ChatMessage:
        """Give a message of one's own another text. Raises `RefusedError`, `UnavailableError`."""
        return self._changed(await self._connection.request("chat_edit", message=message, text=text))

    async def delete_chat(self, message: int) -> ChatMessage:
        """Take back a message: its place stays, empty. Raises `RefusedError`, `UnavailableError`."""
        return self._changed(await self._connection.request("chat_delete", message=message))

    async def react(self, message: int, emoji: str, on: bool = True) -> ChatMessage:
        """Choose an emoji for a message, or take it back. Raises `RefusedError`, `UnavailableError`."""
        return self._changed(
            await self._connection.request("chat_react", message=message, emoji=emoji, on=on)
        )

    async def older_chat(self, before: int, limit: int = 100) -> list[ChatMessage]:
        """At most `limit` (1-100) messages before the id `before`, oldest first; none at the beginning."""
        reply = await self._connection.request("chat_history", before=before, limit=limit)
        return [ChatMessage.parse(item) for item in reply["messages"]]

    async def search_chat(self, text: str, limit: int = 100) -> list[ChatMessage]:
        """At most `limit` (1-100) messages that contain `text`, newest first."""
        reply = await self._connection.request("chat_search", text=text, limit=limit)
        return [ChatMessage.parse(item) for item in reply["messages"]]

    async def send(
        self, data: Any, *, topic: str = "", to: Sequence[str] | None = None, reliable: bool = True
    ) -> None:
        """The same as `data.send`."""
        await self.data.send(data, topic=topic, to=to, reliable=reliable)

    async def stats(self) -> list[SubscriptionQuality]:
        """What arrives of each subscription as the server sees it, and why not more.

        Raises `RefusedError`, `UnavailableError`.
        """
        found = []
        for publication_id, message in (await self.server_stats())["subscriptions"].items():
            known = self._roster.find(publication_id)
            if known is not None:
                participant, publication = known
                found.append(SubscriptionQuality.parse(publication, participant, message))
        return found

    def sent(self, publication: LocalPublication) -> list[SentEncoding]:
        """What is sent of each encoding of one's own publication, and whether the network limits it.

        Empty for sound, for what is encoded already, and while there is no connection.
        """
        return self._connection.sent(publication)

    async def server_stats(self) -> Message:
        """All that the server counts of this participant: its `stats` message (docs/protocol.md)."""
        return await self._connection.request("stats")

    # --- what the connection reports

    @property
    def chat_seen(self) -> int | None:
        """Asked by the connection."""
        return self._chat.seen

    def on_joined(self, joined: Message, resumed: bool) -> None:
        """Called by the connection."""
        self._me = Participant.parse(joined["participant"])
        self._recording = set((joined.get("room") or {}).get("recording") or ())
        # One's own message whose answer was lost is no news.
        missed = [event for event in self._chat.joined(joined) if event.message.sender_id != self._me.id]
        if self._seen:
            self._emit(events.Connected(resumed))
        if self._seen:
            self._spawn(self.telemetry.back(resumed=resumed))
        self._seen = True
        if (more := self.data.joined(joined, resumed=resumed)) is not None:
            self._spawn(more)
        others = self._roster.replace(list(joined.get("participants") or ()))
        for change in (*others, *missed, *self.state.joined(joined)):
            self._emit(change)

    def on_offline(self, reason: str) -> None:
        """Called by the connection."""
        self._emit(events.Disconnected(reason))

    def on_dropped(self) -> None:
        """Called by the connection."""
        for publication_id in list(self._tracks):
            self.on_track_gone(publication_id)

    def on_closed(self, reason: ClosedError) -> None:
        """Called by the connection."""
        for publication in self._local:
            publication.forget_end()
        self.data.closed(reason)
        self._emit(events.Closed(reason.code, reason.message))
        for reader in list(self._readers):
            reader.end()

    def on_message(self, message: Message) -> None:
        """Called by the connection."""
        try:
            for change in self._interpret(message):
                self._emit(change)
        except (KeyError, TypeError, ValueError):
            logger.warning("the server sent a %s that does not parse", message["type"])

    def on_track(self, publication_id: str, track: Any) -> None:
        """Called by the connection."""
        found = self._roster.find(publication_id)
        if found is None:
            return
        participant, publication = found
        remote = cast(AnyTrack, RemoteTrack(publication, participant, track))
        self._tracks[publication_id] = remote
        self._emit(events.TrackSubscribed(remote, publication, participant))

    def on_track_gone(self, publication_id: str) -> None:
        """Called by the connection."""
        track = self._tracks.pop(publication_id, None)
        if track is not None:
            track.end()
            self._emit(events.TrackEnded(track))

    def on_data(self, label: str, message: bytes) -> None:
        """Called by the connection."""
        try:
            event = self.data.received(label, message)
            if event is not None:
                self._emit(event)
        except (ValueError, TypeError):
            logger.debug("a data message does not parse")

    def _interpret(self, message: Message) -> Sequence[Event]:
        roster = self._roster
        match message["type"]:
            case "participant_joined":
                return roster.join(message["participant"])
            case "participant_updated":
                return self._participant_updated(message["participant"])
            case "participant_left":
                return roster.leave(str(message["participant"]), str(message.get("reason") or "left"))
            case "publication_added" | "publication_updated":
                return roster.publish(message["publication"])
            case "publication_removed":
                return roster.unpublish(str(message["publication"]))
            case "recording":
                return self._recording_changed(str(message["participant"]), bool(message["on"]))
            case "telemetry_series":
                fields = Series.__dataclass_fields__
                declared = [
                    Series(**{name: value for name, value in each.items() if name in fields})
                    for each in message["series"]
                ]
                return [events.SeriesDeclared(str(message["participant"]), tuple(declared))]
            case "telemetry":
                samples = tuple(Sample(str(s), int(t), float(v)) for s, t, v in message["samples"])
                return [events.SamplesReceived(str(message["participant"]), samples)]
            case "alarm":
                return [events.AlarmChanged(Alarm.parse(message["alarm"]))]
            case "subscription":
                reason = str(message.get("reason") or "")
                return [
                    events.SubscriptionChanged(str(message["publication"]), str(message["state"]), reason)
                ]
            case "speakers":
                levels = ((str(item["participant"]), float(item["level"])) for item in message["speakers"])
                return [events.SpeakersChanged(tuple(levels))]
            case "chat" | "chat_updated":
                event = self._chat.take(ChatMessage.parse(message["message"]))
                return [] if event is None else [event]
            case "data_cut_off":
                return [self.data.cut_off(message)]
            case "state_patch":
                return [self.state.patched(message)]
        return []

    def _participant_updated(self, participant: Message) -> Sequence[Event]:
        if str(participant["id"]) != self._me.id:
            return self._roster.update(participant)
        self._me.update(participant)
        return [events.ParticipantUpdated(self._me)]

    def _recording_changed(self, participant: str, on: bool) -> Sequence[Event]:
        (self._recording.add if on else self._recording.discard)(participant)
        return [events.RecordingChanged(participant, on)]

    def _changed(self, reply: Message) -> ChatMessage:
        message = ChatMessage.parse(reply["message"])
        self._chat.take(message)
        return message

    def _emit(self, event: Event) -> None:
        decide = self._options.auto_subscribe
        if isinstance(event, events.PublicationAdded) and callable(decide) and decide(event.publication):
            self._spawn(self._subscribe_quietly(event.publication))
        for reader in list(self._readers):
            reader.put(event)

    async def _subscribe_quietly(self, publication: Publication) -> None:
        with contextlib.suppress(ClientError):
            await self.subscribe([publication])

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
