"""The kinds of rooms: what each role may do by default, as configuration tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from sfu.options import option

ROLE_NAMES = ("owner", "presenter", "participant", "observer", "device")
RIGHT_WORDS = frozenset({
    "join", "publish", "publish:camera", "publish:microphone", "publish:screen", "publish:screen_audio",
    "publish:other", "subscribe", "data", "chat", "moderate", "record", "see_hidden", "hidden",
})  # fmt: skip
TEMPLATES = ("meeting", "classroom", "webinar", "consultation", "monitoring")

_ALL = ("join", "publish", "subscribe", "data", "chat")
_OWNER = (*_ALL, "moderate", "record", "see_hidden")
_STUDENT = ("join", "publish:camera", "publish:microphone", "subscribe", "data", "chat")
_DEVICE = ("join", "publish", "data")
_WATCH = ("join", "subscribe")
_UNSEEN = (*_WATCH, "hidden")

_LOBBY = "whether who does not moderate waits to be let in"
_ENTRY = "role of who brings none: owner, presenter, participant, observer or device"


@dataclass(frozen=True, kw_only=True)
class MeetingTemplate:
    """Rooms of the template `meeting`, people as equals: each role's rights.

    A right is one of `join`, `publish` (or `publish:camera`, `publish:microphone`, `publish:screen`,
    `publish:screen_audio`, `publish:other`), `subscribe`, `data`, `chat`, `moderate`, `record`,
    `see_hidden` and `hidden`.
    """

    owner: tuple[str, ...] = option(_OWNER, "rights of owners")
    presenter: tuple[str, ...] = option(_ALL, "rights of presenters")
    participant: tuple[str, ...] = option(_ALL, "rights of participants")
    observer: tuple[str, ...] = option(_WATCH, "rights of observers")
    device: tuple[str, ...] = option(_DEVICE, "rights of devices")
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY)


@dataclass(frozen=True, kw_only=True)
class ClassroomTemplate:
    """Rooms of the template `classroom`: the teacher owns, students take part."""

    owner: tuple[str, ...] = option(_OWNER, "rights of teachers")
    presenter: tuple[str, ...] = option(_ALL, "rights of presenters")
    participant: tuple[str, ...] = option(_STUDENT, "rights of students")
    observer: tuple[str, ...] = option(_UNSEEN, "rights of observers")
    device: tuple[str, ...] = option(_DEVICE, "rights of devices")
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY)


@dataclass(frozen=True, kw_only=True)
class WebinarTemplate:
    """Rooms of the template `webinar`: few speak, many watch and write."""

    owner: tuple[str, ...] = option(_OWNER, "rights of hosts")
    presenter: tuple[str, ...] = option(_ALL, "rights of speakers")
    participant: tuple[str, ...] = option((*_WATCH, "chat"), "rights of the audience")
    observer: tuple[str, ...] = option(_UNSEEN, "rights of observers")
    device: tuple[str, ...] = option(_DEVICE, "rights of devices")
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY)


@dataclass(frozen=True, kw_only=True)
class ConsultationTemplate:
    """Rooms of the template `consultation`: one is let in after another."""

    owner: tuple[str, ...] = option(_OWNER, "rights of who consults")
    presenter: tuple[str, ...] = option(_ALL, "rights of colleagues")
    participant: tuple[str, ...] = option(_ALL, "rights of visitors")
    observer: tuple[str, ...] = option(_WATCH, "rights of observers")
    device: tuple[str, ...] = option(_DEVICE, "rights of devices")
    lobby: bool = option(True, _LOBBY)
    entry: str = option("participant", _ENTRY)


@dataclass(frozen=True, kw_only=True)
class MonitoringTemplate:
    """Rooms of the template `monitoring`: devices send, people watch."""

    owner: tuple[str, ...] = option(_OWNER, "rights of who runs the room")
    presenter: tuple[str, ...] = option(_ALL, "rights of operators who speak")
    participant: tuple[str, ...] = option((*_WATCH, "data", "chat"), "rights of operators")
    observer: tuple[str, ...] = option(_UNSEEN, "rights of observers")
    device: tuple[str, ...] = option(_DEVICE, "rights of devices")
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY)


def faults(name: str, template: object) -> Iterator[str]:
    """What is wrong with one of the tables above, which is called `name`."""
    for each in fields(template):  # type: ignore[arg-type]
        if each.name in ROLE_NAMES:
            for word in sorted(set(getattr(template, each.name)) - RIGHT_WORDS):
                yield f"{name}.{each.name}: {word} is no right"
    if getattr(template, "entry", "") not in ROLE_NAMES:
        yield f"{name}.entry: one of {', '.join(ROLE_NAMES)}"
