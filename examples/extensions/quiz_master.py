"""Asks questions as polls: `!quiz` in the chat opens the next one.

SFU_EXTENSIONS__MODULES=quiz_master PYTHONPATH=examples/extensions sfu serve
"""

from __future__ import annotations

from sfu.extensions import Event, Hooks

QUESTIONS = (
    ("Which planet is the largest?", ["Mars", "Jupiter", "Saturn"]),
    ("What is 7 x 8?", ["54", "56", "64"]),
    ("Who wrote Hamlet?", ["Shakespeare", "Goethe", "Cervantes"]),
)


class QuizMaster:
    """One quiz for each room, from the first question on."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._asked: dict[str, int] = {}

    async def heard(self, event: Event) -> None:
        said = event.data["message"]["text"].strip()
        if said == "!quiz":
            number = self._asked.get(event.room, 0)
            self._asked[event.room] = number + 1
            question, options = QUESTIONS[number % len(QUESTIONS)]
            poll = {"type": "open_poll", "question": question, "options": options}
            self._hooks.act(event.room, poll, name="Quiz master")
            await self._hooks.say(event.room, f"Question {number + 1} is open.", name="Quiz master")

    async def ended(self, event: Event) -> None:
        self._asked.pop(event.room, None)


def extend(hooks: Hooks) -> None:
    master = QuizMaster(hooks)
    hooks.on_event(master.heard, "message")
    hooks.on_event(master.ended, "room_ended")
