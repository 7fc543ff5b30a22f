"""Merging and pacing of keyframe requests.

A keyframe costs a publisher several times a normal frame, for every viewer. Whoever needs one only says so
here: the wishes of all subscribers for one encoding become one request.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfu.ids import PublicationKey

EncodingKey = tuple[PublicationKey, str]
"""A publication and the rid of one of its encodings."""

_MAX_BACKOFF = 8


@dataclass(slots=True)
class _Encoding:
    wished: bool = False
    requested_us: int | None = None
    unanswered: int = 0
    """Requests since the last keyframe."""


class KeyframeThrottle:
    """At most one request in `interval_us` for each encoding.

    A wish within the interval is served at its end. While a wish is not satisfied its request is repeated,
    after 1, 2, 4 and then every 8 intervals: the request or the keyframe may have been lost, but a publisher
    that cannot answer is not hammered.
    """

    def __init__(self, interval_us: int) -> None:
        self._interval_us = interval_us
        self._encodings: dict[EncodingKey, _Encoding] = {}

    def want(self, publication: PublicationKey, rid: str) -> None:
        """Somebody needs a keyframe of this encoding; served by the next `due` that may."""
        self._encodings.setdefault((publication, rid), _Encoding()).wished = True

    def seen(self, publication: PublicationKey, rid: str) -> None:
        """A keyframe of this encoding arrived: its wishes are satisfied."""
        encoding = self._encodings.get((publication, rid))
        if encoding is not None:
            encoding.wished = False
            encoding.unanswered = 0

    def forget(self, publication: PublicationKey, rid: str | None = None) -> None:
        """The encoding (None: every one of the publication) has ended; its wishes go with it."""
        for key in [key for key in self._encodings if key[0] == publication and rid in (None, key[1])]:
            del self._encodings[key]

    def wishes(self) -> list[EncodingKey]:
        """Encodings with a wish not yet satisfied."""
        return [key for key, encoding in self._encodings.items() if encoding.wished]

    def due(self, now_us: int) -> list[EncodingKey]:
        """Encodings to request a keyframe of now. The caller does so; each counts as requested."""
        requests: list[EncodingKey] = []
        idle: list[EncodingKey] = []
        for key, encoding in self._encodings.items():
            if encoding.requested_us is not None and now_us - encoding.requested_us < self._wait_us(encoding):
                continue
            if encoding.wished:
                requests.append(key)
                encoding.requested_us = now_us
                encoding.unanswered += 1
            else:
                idle.append(key)
        for key in idle:
            del self._encodings[key]
        return requests

    def _wait_us(self, encoding: _Encoding) -> int:
        return self._interval_us * min(1 << max(0, encoding.unanswered - 1), _MAX_BACKOFF)
