"""The kinds of rooms: what each role may do by default, as configuration tables."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.forms import one_of
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


def _right(value: str) -> str:
    return "" if value in RIGHT_WORDS else f"one of {', '.join(sorted(RIGHT_WORDS))}"


_LOBBY = "whether who does not moderate waits to be let in"
_ENTRY = "role of who brings none: owner, presenter, participant, observer or device"


@dataclass(frozen=True, kw_only=True)
class MeetingTemplate:
    """Rooms of the template `meeting`, people as equals: each role's rights.

    A right is one of `join`, `publish` (or `publish:camera`, `publish:microphone`, `publish:screen`,
    `publish:screen_audio`, `publish:other`), `subscribe`, `data`, `chat`, `moderate`, `record`,
    `see_hidden` and `hidden`.
    """

    owner: tuple[str, ...] = option(_OWNER, "rights of owners", form=_right)
    presenter: tuple[str, ...] = option(_ALL, "rights of presenters", form=_right)
    participant: tuple[str, ...] = option(_ALL, "rights of participants", form=_right)
    observer: tuple[str, ...] = option(_WATCH, "rights of observers", form=_right)
    device: tuple[str, ...] = option(_DEVICE, "rights of devices", form=_right)
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY, form=one_of(*ROLE_NAMES))


@dataclass(frozen=True, kw_only=True)
class ClassroomTemplate:
    """Rooms of the template `classroom`: the teacher owns, students take part."""

    owner: tuple[str, ...] = option(_OWNER, "rights of teachers", form=_right)
    presenter: tuple[str, ...] = option(_ALL, "rights of presenters", form=_right)
    participant: tuple[str, ...] = option(_STUDENT, "rights of students", form=_right)
    observer: tuple[str, ...] = option(_UNSEEN, "rights of observers", form=_right)
    device: tuple[str, ...] = option(_DEVICE, "rights of devices", form=_right)
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY, form=one_of(*ROLE_NAMES))


@dataclass(frozen=True, kw_only=True)
class WebinarTemplate:
    """Rooms of the template `webinar`: few speak, many watch and write."""

    owner: tuple[str, ...] = option(_OWNER, "rights of hosts", form=_right)
    presenter: tuple[str, ...] = option(_ALL, "rights of speakers", form=_right)
    participant: tuple[str, ...] = option((*_WATCH, "chat"), "rights of the audience", form=_right)
    observer: tuple[str, ...] = option(_UNSEEN, "rights of observers", form=_right)
    device: tuple[str, ...] = option(_DEVICE, "rights of devices", form=_right)
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY, form=one_of(*ROLE_NAMES))


@dataclass(frozen=True, kw_only=True)
class ConsultationTemplate:
    """Rooms of the template `consultation`: one is let in after another."""

    owner: tuple[str, ...] = option(_OWNER, "rights of who consults", form=_right)
    presenter: tuple[str, ...] = option(_ALL, "rights of colleagues", form=_right)
    participant: tuple[str, ...] = option(_ALL, "rights of visitors", form=_right)
    observer: tuple[str, ...] = option(_WATCH, "rights of observers", form=_right)
    device: tuple[str, ...] = option(_DEVICE, "rights of devices", form=_right)
    lobby: bool = option(True, _LOBBY)
    entry: str = option("participant", _ENTRY, form=one_of(*ROLE_NAMES))


@dataclass(frozen=True, kw_only=True)
class MonitoringTemplate:
    """Rooms of the template `monitoring`: devices send, people watch."""

    owner: tuple[str, ...] = option(_OWNER, "rights of who runs the room", form=_right)
    presenter: tuple[str, ...] = option(_ALL, "rights of operators who speak", form=_right)
    participant: tuple[str, ...] = option((*_WATCH, "data", "chat"), "rights of operators", form=_right)
    observer: tuple[str, ...] = option(_UNSEEN, "rights of observers", form=_right)
    device: tuple[str, ...] = option(_DEVICE, "rights of devices", form=_right)
    lobby: bool = option(False, _LOBBY)
    entry: str = option("participant", _ENTRY, form=one_of(*ROLE_NAMES))
