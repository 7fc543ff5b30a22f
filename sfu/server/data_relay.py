"""Data channels: who gets which message, and what happens where somebody does not keep up.

A receiver's lossy messages are dropped, oldest first. Reliable ones wait: a receiver that has too many is
behind, its senders are told to stop until it has caught up, and if it stays behind it is cut off, so that
nobody waits for it for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room import visibility
from sfu.room.registry import Rooms
from sfu.server import data
from sfu.server.data import DataLimits, DataMessage
from sfu.server.outbox import Outbox
from sfu.server.wire import Json

if TYPE_CHECKING:
    from sfu.server.member import Member

log = logging.getLogger(__name__)

OnRelayed = Callable[[str, ParticipantId, DataMessage], None]

CHECK_S = 0.25
"""How often receivers that are behind are looked at: fine against the seconds they are given."""


class DataEnd:
    """One participant's end: what it may send, what it wants, what waits for it."""

    def __init__(self, limits: LimitsConfig) -> None:
        self.limits = DataLimits(limits, clock.now_us())
        self.outbox = Outbox()
        self.topics: frozenset[str] | None = None
        """What it wants, None for everything."""
        self.cut_off: set[str] = set()
        """Topics that it did not keep up with."""
        self.waits_for: set[ParticipantId] = set()
        """Receivers for whose sake it was told to stop."""
        self.received = 0

    def wants(self, topic: str) -> bool:
        return topic not in self.cut_off and (self.topics is None or topic in self.topics)

    def stats(self) -> Json:
        """Messages: taken from it, refused, given to its channels, dropped because it did not keep up."""
        return {
            "received": self.received,
            "refused": self.limits.refused,
            "sent": self.outbox.sent,
            "dropped": self.outbox.dropped,
            "waiting_bytes": self.outbox.waiting_bytes("reliable") + self.outbox.waiting_bytes("lossy"),
        }


class DataRelay:
    """Of the whole server. `members` is the conference's own table."""

    def __init__(self, limits: LimitsConfig, rooms: Rooms, members: Mapping[ParticipantId, Member]) -> None:
        self._limits = limits
        self._slow_us = round(limits.data_slow_s * 1_000_000)
        self._rooms = rooms
        self._members = members
        self._stopped: dict[ParticipantId, set[ParticipantId]] = {}
        """By receiver that is behind: the senders that wait for it."""
        self._timer: asyncio.TimerHandle | None = None
        self.on_relayed: OnRelayed = lambda room, participant, message: None

    def receive(self, member: Member, label: str, packed: bytes) -> None:
        """Pass a data-channel message on to whom it is for, or tell its sender why not."""
        now_us = clock.now_us()
        topic = ""
        try:
            message = data.unpack(packed)
            topic = message.topic
            member.data.limits.check(len(packed), allowed=member.grants.may_send_data, now_us=now_us)
            receivers, unknown = self._receivers(member, message)
            if label == "reliable" and not all(each.data.outbox.takes(len(packed)) for each in receivers):
                raise RequestError("slow_receiver", "a receiver does not keep up")
        except RequestError as error:
            if count := member.data.limits.refuse(now_us):
                member.say_data(label, {"error": error.code, "topic": topic, "refused": count})
            return
        member.data.received += 1
        self.on_relayed(member.room, member.id, message)
        stamped = data.stamped(message, member.id, clock.wall_ms())
        for receiver in receivers:
            receiver.put_data(label, topic, stamped, now_us)
            if label == "reliable" and receiver.data.outbox.behind_since_us is not None:
                self._stop(member, receiver)
        for receiver in unknown:
            # Nobody is stopped for one of whom it may not know: what is too much is lost.
            if label == "reliable" and not receiver.data.outbox.takes(len(packed)):
                self._cut_off(receiver)
            if receiver.data.wants(topic):
                receiver.put_data(label, topic, stamped, now_us)

    def ready(self, member: Member, label: str) -> None:
        """A channel has opened, or takes more."""
        if label not in data.LABELS:
            return
        member.pump_data(label)
        self._go_on(member)
        if label == "reliable" and member.data.waits_for:
            member.say_data(label, {"flow": "stop"})

    def want(self, member: Member, topics: frozenset[str] | None) -> None:
        """The participant wants these topics from now on (None: all), also those it was cut off from."""
        member.data.topics = topics
        member.data.cut_off.clear()

    def terms(self, member: Member) -> Json:
        """What it may send, and what it gets: `joined.data`."""
        topics = member.data.topics
        return {
            "message_bytes": self._limits.data_bytes,
            "bytes_per_s": self._limits.data_bytes_per_s,
            "messages_per_s": self._limits.data_messages_per_s,
            "topics": None if topics is None else sorted(topics),
            "cut_off": sorted(member.data.cut_off),
        }

    def left(self, member: Member) -> None:
        """The membership has ended: nobody waits for it any more, and it for nobody."""
        for receiver in member.data.waits_for:
            self._stopped[receiver].discard(member.id)
        member.data.waits_for.clear()
        self._release(member.id)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _receivers(self, member: Member, message: DataMessage) -> tuple[list[Member], list[Member]]:
        """Those of whom the sender may know, and those of whom it may not."""
        room = self._rooms.room_of(member.id)
        if room is None:
            return [], []
        sender = room.participants[member.id]
        known: list[Member] = []
        unknown: list[Member] = []
        for other in room.participants.values():
            if (
                other.id != member.id
                and message.is_for(other.id, other.role)
                and room.together(member.id, other.id)
                and self._members[other.id].data.wants(message.topic)
            ):
                seen = visibility.sees(sender.grants, other)
                (known if seen else unknown).append(self._members[other.id])
        return known, unknown

    # --- back-pressure -------------------------------------------------------------------------

    def _stop(self, sender: Member, receiver: Member) -> None:
        if receiver.id in sender.data.waits_for:
            return
        if not sender.data.waits_for:
            sender.say_data("reliable", {"flow": "stop"})
        sender.data.waits_for.add(receiver.id)
        self._stopped.setdefault(receiver.id, set()).add(sender.id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _go_on(self, receiver: Member) -> None:
        """Who waits for a receiver that has caught up may send again."""
        if receiver.data.outbox.behind_since_us is None:
            self._release(receiver.id)

    def _release(self, receiver: ParticipantId) -> None:
        for sender_id in self._stopped.pop(receiver, set()):
            sender = self._members[sender_id]
            sender.data.waits_for.discard(receiver)
            if not sender.data.waits_for:
                sender.say_data("reliable", {"flow": "go"})

    def _check(self) -> None:
        """Cut off who has been behind for too long."""
        self._timer = None
        now_us = clock.now_us()
        for receiver in [self._members[each] for each in self._stopped]:
            # A transport that was lost since takes nothing, and nobody is there to wait for.
            receiver.pump_data("reliable")
            since_us = receiver.data.outbox.behind_since_us
            if since_us is not None and now_us - since_us >= self._slow_us:
                self._cut_off(receiver)
            self._go_on(receiver)
        if self._stopped:
            self._timer = asyncio.get_running_loop().call_later(CHECK_S, self._check)

    def _cut_off(self, receiver: Member) -> None:
        topic, lost = receiver.data.outbox.cut_off()
        if topic is None or len(receiver.data.cut_off) >= data.MAX_TOPICS:
            receiver.data.topics = frozenset()
            receiver.data.cut_off.clear()
            topic = None
        else:
            receiver.data.cut_off.add(topic)
        log.info("cut off from data: too slow", extra=receiver.context())
        receiver.send({"type": "data_cut_off", "topic": topic, "lost": lost})
