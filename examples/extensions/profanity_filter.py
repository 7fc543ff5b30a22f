"""Masks bad words in the chat, and refuses messages that shout.

SFU_EXTENSIONS__MODULES=profanity_filter PYTHONPATH=examples/extensions sfu serve
"""

from __future__ import annotations

import re

from sfu.extensions import Hooks, Message, Refused

BAD = re.compile(r"\b(darn|heck|blast)\b", re.IGNORECASE)


async def clean(message: Message) -> str:
    """The text with bad words masked."""
    if len(message.text) > 10 and message.text.isupper():
        raise Refused("Please do not shout.")
    return BAD.sub(lambda found: found.group()[0] + "*" * (len(found.group()) - 1), message.text)


def extend(hooks: Hooks) -> None:
    hooks.on_message(clean)
