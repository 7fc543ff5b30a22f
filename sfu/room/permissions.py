"""What a participant may do. Grants come from its token; in development mode everything is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from sfu.rtp.parameters import Kind

Source = Literal["camera", "microphone", "screen", "screen_audio", "other"]
SOURCES: tuple[Source, ...] = get_args(Source)

_KIND_OF: dict[Source, Kind] = {
    "camera": "video",
    "screen": "video",
    "microphone": "audio",
    "screen_audio": "audio",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The rights of one participant; `publish` is all sources, none, or the sources listed."""

    publish: bool | tuple[Source, ...] = True
    subscribe: bool = True
    data: bool = True
    chat: bool = True

    def may_publish(self, source: Source) -> bool:
        return self.publish if isinstance(self.publish, bool) else source in self.publish


def source_fits(source: Source, kind: Kind) -> bool:
    """Whether a source can be of that kind: a camera is never audio, `other` is either."""
    return _KIND_OF.get(source, kind) == kind
