"""Raises an alarm where a camera's picture changes: to webhooks, the audit log and the room's chat.

SFU_EXTENSIONS__MODULES=motion_alarm PYTHONPATH=examples/extensions sfu serve
"""

from __future__ import annotations

import numpy as np

from sfu.extensions import Frame, Hooks

CHANGED = 25
"""Of 255, by how much a point must change to count."""
SHARE = 0.02
"""Of all points that must change."""


class Motion:
    """Looks at pictures of cameras, each against the one before."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._last: dict[str, np.ndarray] = {}
        self._moving: set[str] = set()

    async def look(self, frame: Frame) -> None:
        grey = frame.image[::4, ::4].mean(axis=2)
        last = self._last.get(frame.publication)
        self._last[frame.publication] = grey
        if last is None or last.shape != grey.shape:
            return
        share = float((np.abs(grey - last) > CHANGED).mean())
        if share < SHARE:
            self._moving.discard(frame.publication)
        elif frame.publication not in self._moving:
            self._moving.add(frame.publication)
            self._hooks.alarm(frame.room, {"participant": frame.participant, "motion": round(share, 3)})
            await self._hooks.say(frame.room, f"Something moves ({share:.0%} of the picture)", name="Motion")


def extend(hooks: Hooks) -> None:
    hooks.on_frame(Motion(hooks).look, fps=4)
