"""The web app's files as they lie there: what a browser would only find out while somebody calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "static"
MODULES = sorted(STATIC.rglob("*.js"))
MAX_LINES = 500

_IMPORT = re.compile(r"""(?:from|import)\s*\(?['"](\.[^'"]+)['"]""")
_KEY = re.compile(r"^  '([^']+)':", re.MULTILINE)
_USED_KEY = re.compile(r"""\bt\(\s*'([^'$]+)'""")


def texts(language: str) -> str:
    return "".join((STATIC / "texts" / f"{language}{part}.js").read_text() for part in ("", "-room"))


def keys(language: str) -> list[str]:
    return _KEY.findall(texts(language))


def test_there_are_modules() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(STATIC)))
def test_module_is_small_and_imports_what_exists(module: Path) -> None:
    text = module.read_text()
    assert text.count("\n") <= MAX_LINES
    for target in _IMPORT.findall(text):
        assert (module.parent / target).is_file(), target


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(STATIC)))
def test_what_people_write_never_becomes_markup(module: Path) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser"
    )
    assert re.findall(forbidden, module.read_text()) == []


@pytest.mark.parametrize("module", sorted((STATIC / "sdk").glob("*.js")), ids=lambda path: path.name)
def test_sdk_knows_no_dom_and_no_ui(module: Path) -> None:
    assert re.findall(r"\bdocument\.|\.\./ui/|\.\./texts/", module.read_text()) == []


def test_page_preloads_every_module_and_has_nothing_inline() -> None:
    page = (STATIC / "index.html").read_text()
    named = set(re.findall(r'(?:href|src)="/static/([^"]+\.js)"', page))
    modules = {str(module.relative_to(STATIC)) for module in MODULES}
    assert named == {path for path in modules if not path.startswith("reference/")}
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page) == []
    for path in re.findall(r'"/static/([^"]+)"', page):
        assert (STATIC / path).is_file(), path


def test_languages_have_the_same_texts() -> None:
    english, chinese = keys("en"), keys("zh")
    assert len(english) == len(set(english))
    assert english == chinese


def test_places_in_texts_are_the_same_in_every_language() -> None:
    def places(language: str) -> dict[str, set[str]]:
        found = re.findall(r"^  '([^']+)':\s*'([^\n]*)',$", texts(language), re.M)
        return {key: set(re.findall(r"\{(\w+)\}", text)) for key, text in found}

    english, chinese = places("en"), places("zh")
    assert {key for key in english.keys() & chinese.keys() if english[key] != chinese[key]} == set()


def test_every_text_used_exists() -> None:
    used = {key for module in MODULES for key in _USED_KEY.findall(module.read_text())}
    assert len(used) > 60
    assert used - set(keys("en")) == set()


def test_every_code_of_the_protocol_has_a_text() -> None:
    errors = (STATIC / "sdk" / "errors.js").read_text()
    codes = set(re.findall(r"'([a-z]+(?:_[a-z]+)*)'", errors))
    protocol = (STATIC.parent / "docs" / "protocol.md").read_text()
    section = protocol.split("## Codes")[1].split("## ")[0]
    documented = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", section)) - {
        "joined",
        "reconnect",
        "retry_after_ms",
    }
    assert documented <= codes
    assert documented <= {key.removeprefix("error.") for key in keys("en")}
