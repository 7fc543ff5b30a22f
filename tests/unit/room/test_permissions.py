from __future__ import annotations

import pytest

from sfu.room import changed_rights
from sfu.room.permissions import MEETING, SOURCES, GrantChanges, Grants, Source, counts_as, source_fits
from sfu.rtp.parameters import Kind


@pytest.mark.parametrize("source", SOURCES)
def test_publish_true_is_every_source_and_false_none(source: Source) -> None:
    assert Grants(publish=True).may_publish(source, "video")
    assert not Grants(publish=False).may_publish(source, "video")


def test_listed_sources_only() -> None:
    grants = Grants(publish=("camera", "screen"))
    assert [source for source in SOURCES if grants.may_publish(source, "video")] == ["camera", "screen"]


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


def test_sound_without_a_name_is_a_microphone() -> None:
    grants = Grants(publish=("camera", "other"))
    assert grants.may_publish("other", "video")
    assert not grants.may_publish("other", "audio")
    assert Grants(publish=("microphone", "other")).may_publish("other", "audio")
    assert not Grants(publish=("microphone",)).may_publish("other", "audio")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("microphone", {("microphone", "audio"), ("screen_audio", "audio"), ("other", "audio")}),
        ("camera", {("camera", "video"), ("other", "video")}),
        ("screen", {("screen", "video")}),
        ("screen_audio", {("screen_audio", "audio")}),
        ("other", {("other", "audio"), ("other", "video")}),
    ],
)
def test_the_kind_decides_what_a_publication_counts_as(
    asked: Source, found: set[tuple[Source, Kind]]
) -> None:
    kinds: tuple[Kind, ...] = ("audio", "video")
    every = [(source, kind) for source in SOURCES for kind in kinds if source_fits(source, kind)]
    assert {each for each in every if counts_as(asked, *each)} == found
