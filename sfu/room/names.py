"""Names that people show to each other: with something to see in them, and comparable with each other.

Two rules, over Unicode's own properties:

- `clean` takes out what cannot be seen: format characters (zero width, direction) and Unicode's default
  ignorable ones, and all but a few marks on one letter. A name of nothing else is empty afterwards.
- `key` is the same for names that look alike: compatibility forms, case, accents and blanks do not count, and
  letters of Cyrillic and Greek that are drawn as Latin ones are these. It is for comparing only, and not
  complete: it marks who may be taken for somebody else, and refuses nobody.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

MARKS = 4
"""On one letter: more than any language writes, fewer than climb over the lines above and below."""
_UNSEEN = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0]
)
"""Drawn as nothing although their category does not say so (Default_Ignorable_Code_Point, and a blank Braille
cell). Variation selectors are so too, but choose how emoji look, so they are only no letters."""
_LATIN = str.maketrans(
    "АВЕЅІЈКМНОРСТХУаеѕіјорсухһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοαινυρ",
    "ABESIJKMHOPCTXYaesijopcyxhdqwABEZHIKMNOPTYXoaivup",
)
"""Before case is folded: a capital may look like a Latin one where its small letter does not."""
_ALIKE = str.maketrans("ı1l|0ɑɡ", "iiiioag")
"""Afterwards: what differs by a stroke at most."""


def clean(name: str) -> str:
    """The name as others are shown it: one line, blanks collapsed; empty where nothing of it can be seen."""
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", name):
        category = unicodedata.category(character)
        if category == "Cf" or ord(character) in _UNSEEN:
            continue
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= MARKS:
            kept.append(character)
    cleaned = " ".join("".join(kept).split())
    return cleaned if visible(cleaned) else ""


def visible(text: str) -> bool:
    """Whether there is something to see: more than blanks, marks and what is drawn as nothing."""
    return any(_is_seen(c) for c in text)


def _is_seen(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":
        # Unicode keeps this range for pictures: this Python may be older than somebody's newest emoji.
        return 0x1F000 <= ord(character) <= 0x1FAFF
    return category[0] in "LNPS" and ord(character) not in _UNSEEN


@lru_cache(maxsize=4096)
def key(name: str) -> str:
    """What names that look alike have in common; empty for an empty one."""
    drawn = unicodedata.normalize("NFKD", clean(name)).translate(_LATIN).casefold()
    letters = unicodedata.normalize("NFKD", drawn).translate(_ALIKE)
    return "".join(c for c in letters if unicodedata.category(c)[0] in "LNPS" and ord(c) not in _UNSEEN)
