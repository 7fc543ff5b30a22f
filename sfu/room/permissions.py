"""What a participant may do: its role's defaults in the room's template, with what somebody changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from sfu.rtp.parameters import Kind

Source = Literal["camera", "microphone", "screen", "screen_audio", "other"]
SOURCES: tuple[Source, ...] = get_args(Source)

Role = Literal["owner", "presenter", "participant", "observer", "device"]
ROLES: tuple[Role, ...] = get_args(Role)

Right = Literal["join", "subscribe", "data", "chat", "moderate", "record", "see_hidden", "hidden"]
RIGHTS: tuple[Right, ...] = get_args(Right)

_KIND_OF: dict[Source, Kind] = {
    "camera": "video",
    "screen": "video",
    "microphone": "audio",
    "screen_audio": "audio",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The rights of one participant; `publish` is all sources, none, or the sources listed.

    `hidden` is to be unseen by those without `see_hidden`. Who is hidden sends nothing, whatever else it
    was given: one message would give it away.
    """

    join: bool = True
    publish: bool | tuple[Source, ...] = True
    subscribe: bool = True
    data: bool = True
    chat: bool = True
    moderate: bool = False
    record: bool = False
    see_hidden: bool = False
    hidden: bool = False

    def may_publish(self, source: Source, kind: Kind) -> bool:
        """Whether media of that source may be sent. Sound is a microphone where it is nothing else."""
        heard = source == "other" and kind == "audio"
        return not self.hidden and self._covers(source) and (not heard or self._covers("microphone"))

    def _covers(self, source: Source) -> bool:
        return self.publish if isinstance(self.publish, bool) else source in self.publish

    def within(self, other: Grants) -> Grants:
        """What both allow; hidden is who either hides."""
        shared: dict[str, bool] = {right: getattr(self, right) and getattr(other, right) for right in RIGHTS}
        shared["hidden"] = self.hidden or other.hidden
        sources = tuple(source for source in SOURCES if self._covers(source) and other._covers(source))
        return Grants(publish=sources == SOURCES or sources or False, **shared)

    def without(self, source: Source) -> Grants:
        """The same, but for that source."""
        sources = SOURCES if self.publish is True else self.publish or ()
        return replace(self, publish=tuple(each for each in sources if each != source))

    def with_source(self, source: Source) -> Grants:
        """The same, and that source."""
        sources = SOURCES if self.publish is True else self.publish or ()
        given = tuple(each for each in SOURCES if each == source or each in sources)
        return replace(self, publish=given == SOURCES or given)

    @property
    def may_send_data(self) -> bool:
        return self.data and not self.hidden

    @property
    def may_chat(self) -> bool:
        return self.chat and not self.hidden

    @property
    def follows(self) -> bool:
        """Whether what others say and do is for it: who has none of these rights only sends."""
        return self.subscribe or self.may_chat or self.may_moderate

    @property
    def may_moderate(self) -> bool:
        return self.moderate and not self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantChanges:
    """What differs from the role's defaults; None leaves a right as it is."""

    join: bool | None = None
    publish: bool | tuple[Source, ...] | None = None
    subscribe: bool | None = None
    data: bool | None = None
    chat: bool | None = None
    moderate: bool | None = None
    record: bool | None = None
    see_hidden: bool | None = None
    hidden: bool | None = None

    def applied(self, grants: Grants) -> Grants:
        return replace(grants, **self._given())

    def then(self, later: GrantChanges) -> GrantChanges:
        """Both, one after the other."""
        return replace(self, **later._given())

    def _given(self) -> dict[str, Any]:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


def parse_changes(given: Mapping[str, object]) -> GrantChanges:
    """Rights as JSON has them. Raises `ValueError` naming the right that is unknown or of the wrong form."""
    changes: dict[str, object] = {}
    for name, value in given.items():
        if name == "publish" and isinstance(value, list) and all(source in SOURCES for source in value):
            changes[name] = tuple(source for source in SOURCES if source in value)
        elif (name == "publish" or name in RIGHTS) and isinstance(value, bool):
            changes[name] = value
        else:
            raise ValueError(f"{name} {value!r:.80}")
    return GrantChanges(**changes)  # type: ignore[arg-type]


def parse_words(words: Iterable[str]) -> Grants:
    """Exactly the rights listed: `join`, `publish`, `publish:camera`, `chat` and so on.

    Raises `ValueError` naming the word that is no right.
    """
    everything = False
    sources: list[Source] = []
    rights: dict[Right, bool] = dict.fromkeys(RIGHTS, False)
    for word in words:
        name, _, source = word.partition(":")
        if word == "publish":
            everything = True
        elif name == "publish" and source in SOURCES:
            sources.append(source)
        elif word in RIGHTS:
            rights[word] = True
        else:
            raise ValueError(word)
    return Grants(publish=everything or tuple(sources) or False, **rights)


def source_fits(source: Source, kind: Kind) -> bool:
    """Whether a source can be of that kind: a camera is never audio, `other` is either."""
    return _KIND_OF.get(source, kind) == kind


def counts_as(asked: Source, source: Source, kind: Kind) -> bool:
    """Whether what is asked of a source holds for a publication: its kind decides, not only its name.

    All that is heard is a microphone, and all that is seen but no screen is a camera.
    """
    if asked == "microphone":
        return kind == "audio"
    if asked == "camera":
        return kind == "video" and source != "screen"
    return source == asked


_FULL = Grants(moderate=True, record=True, see_hidden=True)


def _full_roles() -> dict[Role, Grants]:
    return {
        "owner": _FULL,
        "presenter": Grants(),
        "participant": Grants(),
        "observer": Grants(publish=False, data=False, chat=False),
        "device": Grants(subscribe=False, chat=False),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A kind of room: what each role may do there, who waits to be let in, and who enters as what."""

    name: str = "meeting"
    roles: Mapping[Role, Grants] = field(default_factory=_full_roles)
    lobby: bool = False
    entry: Role = "participant"
    """The role of who brings none."""


MEETING = Template()
