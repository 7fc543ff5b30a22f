"""Compare two configurations: which changes a running server takes over, and which need a restart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sfu.config import Config
from sfu.loading.keys import keys

_OPENING = ("auth.keys", "auth.jwks_url")


@dataclass(frozen=True, slots=True)
class Changes:
    """`config` is in force now. `taken` are the keys that changed in it, `left` those that need a restart."""

    config: Config
    taken: tuple[str, ...]
    left: tuple[str, ...]


def changes(old: Config, new: Config) -> Changes:
    """What of `new` a server that runs with `old` takes over.

    Whether tokens are asked for is decided at the start: no reload opens a server, nor closes it halfway.
    """
    taken: dict[str, dict[str, Any]] = {}
    left = []
    guarded = bool(old.auth.keys or old.auth.jwks_url)
    stays = guarded == bool(new.auth.keys or new.auth.jwks_url)
    for key in keys():
        section, _, name = key.name.partition(".")
        value = getattr(getattr(new, section), name)
        if value == getattr(getattr(old, section), name):
            continue
        if key.reloads and (stays or key.name not in _OPENING):
            taken.setdefault(section, {})[name] = value
        else:
            left.append(key.name)
    sections = {section: replace(getattr(old, section), **values) for section, values in taken.items()}
    names = tuple(f"{section}.{name}" for section, values in taken.items() for name in values)
    return Changes(replace(old, **sections), names, tuple(left))
