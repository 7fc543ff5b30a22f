"""The configuration as text: as TOML that can be loaded again, and as the reference of the documentation."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from typing import Any

from sfu.config import Config
from sfu.loading.keys import keys, section_class

MASK = "***"
"""In place of a secret."""

_PASSWORD = re.compile(r"(?P<start>^[A-Za-z][A-Za-z0-9+.-]*://[^/?#:@]*):[^/?#]*@")
_VALUE = re.compile(r"(?<==)[^&#]+")


def show(config: Config) -> str:
    """The configuration as TOML with comments; secrets are masked, and so are the passwords of URLs."""
    lines: list[str] = []
    section = ""
    for item in keys():
        table, _, name = item.name.partition(".")
        if table != section:
            section = table
            lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
        value = getattr(getattr(config, table), name)
        lines += [f"# {item.meaning}", f"{name} = {_toml_value(_masked(value, secret=item.secret))}"]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Every key as Markdown tables; `docs/config.md` holds exactly this text."""
    lines: list[str] = []
    section = ""
    for item in keys():
        table, _, name = item.name.partition(".")
        if table != section:
            section = table
            intro = inspect.cleandoc(section_class(table).__doc__ or "")
            lines += ["", f"## `[{table}]`", "", intro, "", "| key | default | meaning |", "|---|---|---|"]
        lines.append(f"| `{name}` | `{_toml_value(item.default)}` | {item.meaning} |")
    lines += ["", "## What a reload takes over", "", "| section | keys |", "|---|---|"]
    reloading = [item.name.split(".") for item in keys() if item.reloads]
    for table, items in itertools.groupby(reloading, lambda name: name[0]):
        lines.append(f"| `[{table}]` | {', '.join(f'`{name}`' for _, name in items)} |")
    return "\n".join(lines).strip() + "\n"


def _masked(value: Any, *, secret: bool) -> Any:
    if isinstance(value, tuple):
        return tuple(_masked(each, secret=secret) for each in value)
    if not isinstance(value, str) or not value:
        return value
    return MASK if secret else without_secrets(value)


def without_secrets(url: str) -> str:
    """A URL without its password and the values of its query; another text as it is.

    >>> without_secrets("https://user:pass@example.org/keys?token=abc")
    'https://user:***@example.org/keys?token=***'
    """
    if "://" not in url:
        return url
    path, mark, query = _PASSWORD.sub(rf"\g<start>:{MASK}@", url).partition("?")
    return path + mark + _VALUE.sub(MASK, query)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
