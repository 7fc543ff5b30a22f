"""Each control of the page is used by a test in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = [*sorted((ROOT / "static").rglob("*.js")), ROOT / "static" / "index.html"]
TESTS = [
    ROOT / "tests" / "browser.py",
    *(ROOT / "tests" / "e2e").glob("*.py"),
    *(ROOT / "tests" / "interop").glob("*.py"),
]

EXCEPTIONS: dict[str, str] = {}
"""What no test clicks, and why that is right."""

_PRESSED = "button|input|select|textarea|summary|a"
_ELEMENT = re.compile(r"\bel\(\s*'(\w+)',\s*\{")
_ID = re.compile(r"""\btestid: (?:'([^']+)'|`([^`]+)`)|data-testid="([^"]+)\"""")
_ACTION = re.compile(r"value: '[^']*', $")
# Functions of the page that make one control: `tool('lock', ...)`.
_MADE = re.compile(
    r"\b(?:button|entry|tool|field|one|made)\(\s*(?:'([a-z0-9-]+)'|`([^`]+)`)"
    r"|#button\('([a-z0-9-]+)'|#toggle\('\w+', '([a-z0-9-]+)'"
)
_PLACES = {
    "device-${kind}": ["device-camera", "device-microphone", "device-speaker"],
    "data-section-${section.name}": [],
    "${testid}-deny": [f"{source}-deny" for source in ("mic", "camera", "screen")],
    "${testid}-allow": [f"{source}-allow" for source in ("mic", "camera", "screen")],
}
"""What stands for the templates among the ids."""


def controls_of(text: str) -> tuple[set[str], list[str]]:
    """Ids of what can be pressed or filled in, and ids of which it is not clear whether they are such."""
    found: set[str] = set()
    unclear: list[str] = []

    def add(name: str) -> None:
        found.update(_PLACES[name] if "$" in name else [name])

    for match in _ID.finditer(text):
        name = next(filter(None, match.groups()))
        before = text[: match.start()]
        element = max((each.start() for each in _ELEMENT.finditer(before)), default=-1)
        maker = max(before.rfind("iconButton("), -1 if not _ACTION.search(before) else 0)
        if element >= 0 and element > before.rfind("iconButton(") and not _ACTION.search(before):
            made = _ELEMENT.match(text, element)
            assert made
            if re.fullmatch(_PRESSED, made[1]):
                add(name)
        elif maker >= 0 or before.endswith("<button "):
            add(name)
        else:
            unclear.append(name)
    for match in _MADE.finditer(text):
        add(next(filter(None, match.groups())))
    return found, unclear


def all_controls() -> set[str]:
    return set().union(*(controls_of(path.read_text())[0] for path in SOURCES))


def mentioned() -> str:
    return "\n".join(path.read_text() for path in TESTS)


def is_mentioned(name: str, tests: str) -> bool:
    return re.search(rf"""["'=]{re.escape(name)}["'\]]""", tests) is not None


def test_the_controls_are_found() -> None:
    controls = all_controls()
    for one_of_each_kind in (
        "leave", "toggle-board", "lock", "poll-close", "board-eraser", "question-answer", "remove",
        "dialog-ok", "chat-input", "device-speaker", "data-topic", "mic-deny", "home", "prejoin-mic",
        "poll-new-open", "gauges",
    ):  # fmt: skip
        assert one_of_each_kind in controls
    for none in (
        "tile",
        "people-list",
        "chat-message",
        "chat-progress",
        "data-section-state",
        "gauge-value",
        "dialog",
    ):
        assert none not in controls
    assert [controls_of(path.read_text())[1] for path in SOURCES] == [[] for _ in SOURCES]


@pytest.mark.parametrize("name", sorted(all_controls() - EXCEPTIONS.keys()))
def test_a_browser_test_uses(name: str) -> None:
    assert is_mentioned(name, mentioned()), f"no test in tests/e2e or tests/interop uses {name!r}"


def test_exceptions_are_controls_that_no_test_uses() -> None:
    tests = mentioned()
    assert EXCEPTIONS.keys() - all_controls() == set()
    assert [name for name in EXCEPTIONS if is_mentioned(name, tests)] == []
