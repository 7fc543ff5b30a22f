from __future__ import annotations

import pytest

from sfu.room import changed_rights
from sfu.room.permissions import MEETING, SOURCES, GrantChanges, Grants, Source, source_fits


@pytest.mark.parametrize("source", SOURCES)
def test_publish_true_is_every_source_and_false_none(source: Source) -> None:
    assert Grants(publish=True).may_publish(source)
    assert not Grants(publish=False).may_publish(source)


def test_listed_sources_only() -> None:
    grants = Grants(publish=("camera", "screen"))
    assert [source for source in SOURCES if grants.may_publish(source)] == ["camera", "screen"]


@pytest.mark.parametrize(
    ("source", "audio", "video"),
    [
        ("camera", False, True),
        ("screen", False, True),
        ("microphone", True, False),
        ("screen_audio", True, False),
        ("other", True, True),
    ],
)
def test_source_fits_its_kind(source: Source, audio: bool, video: bool) -> None:
    assert source_fits(source, "audio") is audio
    assert source_fits(source, "video") is video


def test_what_two_allow_is_what_each_allows_and_hidden_is_who_either_hides() -> None:
    full = Grants(moderate=True, record=True, see_hidden=True)
    assert full.within(full) == full
    weak = Grants(publish=("screen", "camera"), chat=False, hidden=True)
    assert (
        full.within(weak)
        == weak.within(full)
        == Grants(publish=("camera", "screen"), chat=False, hidden=True)
    )
    assert weak.within(Grants(publish=("microphone",))).publish is False


def test_of_whom_rights_were_changed_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changed_rights, "MAX_CHANGED", 2)
    made = changed_rights.ChangedRights(MEETING.roles)
    for identity in ("ann", "ben", "ann", "cid"):
        made.set_grants(identity, GrantChanges(chat=False))
    left = [made.applied(identity, "participant", Grants())[1].chat for identity in ("ann", "ben", "cid")]
    assert left == [False, True, False]
