"""Which names can be seen, and which look alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import RequestError
from sfu.room import names
from sfu.server import validation as v
from sfu.server.file_types import safe_name


@pytest.mark.parametrize(
    "name",
    ["\u3164", "\u115f\u1160", "\u2800", "\u200b\u200d", "\u034f", "\u0301\u0301", "\ufe0f", "\uffa0 \u3164"],
)
def test_a_name_of_which_nothing_is_seen_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="nothing that can be seen"):
        v.person({"name": name}, "name", longest=64)
    with pytest.raises(RequestError):
        v.label({"name": name}, "name", shortest=1, longest=64)
    with pytest.raises(RequestError):
        v.texts({"names": [name]}, "names", most=1, longest=64)
    assert safe_name(name).strip("_") == "file"


@pytest.mark.parametrize("name", ["", " ", "  "])
def test_who_gives_no_name_is_a_guest(name: str) -> None:
    assert v.person({"name": name}, "name", longest=64) == ""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\u202eaiT", "aiT"),
        ("Tia\u200b", "Tia"),
        ("\u115fTia", "Tia"),
        ("Tia \u3164 B", "Tia B"),
        ("a" + "\u0316" * 30, "a" + "\u0316" * 4),
        ("Zoe\u0308", "Zo\u00eb"),
        ("\u674e\u96f7", "\u674e\u96f7"),
        ("\u0e17\u0e35\u0e48", "\u0e17\u0e35\u0e48"),
        ("\U0001f98a", "\U0001f98a"),
    ],
)
def test_what_is_not_seen_is_taken_out_and_the_rest_stays(given: str, shown: str) -> None:
    assert v.person({"name": given}, "name", longest=64) == shown


@pytest.mark.parametrize(
    "other",
    [
        "TIA",
        "tia",
        " Tia ",
        "T i a",
        "\u0422ia",
        "\u0422\u0406\u0410",
        "T\u0131a",
        "T1a",
        "Tl\u00e0",
        "\uff34\uff49\uff41",
        "T\u034fia",
        "\u0391".replace("\u0391", "Ti\u0391"),
    ],
)
def test_names_that_look_alike_have_one_key(other: str) -> None:
    assert names.key(other) == names.key("Tia")


@pytest.mark.parametrize("other", ["Tina", "Mia", "Tia B", "\u674e\u96f7", ""])
def test_other_names_have_another_key(other: str) -> None:
    assert names.key(other) != names.key("Tia")


@given(st.text(max_size=64))
def test_cleaning_is_done_once_and_keys_of_what_is_shown_are_the_same(name: str) -> None:
    cleaned = names.clean(name)
    assert names.clean(cleaned) == cleaned
    assert names.key(cleaned) == names.key(name)
    assert bool(cleaned) == bool(names.key(name) or cleaned)
    assert not cleaned or names.visible(cleaned)
