from __future__ import annotations

import random
from itertools import pairwise

from sfu.ids import PublicationKey
from sfu.media.speakers import ActiveSpeakers

ANN, BOB = PublicationKey(1), PublicationKey(2)
MS = 1000
Report = tuple[int, tuple[tuple[PublicationKey, float], ...]]


class Meeting:
    """Feeds levels every 20 ms and keeps what was reported."""

    def __init__(self) -> None:
        self.speakers = ActiveSpeakers()
        self.now_ms = 0
        self.reports: list[Report] = []

    def hear(self, duration_ms: int, **levels: int) -> None:
        keys = {"ann": ANN, "bob": BOB}
        for _ in range(0, duration_ms, 20):
            self.now_ms += 20
            for name, level in levels.items():
                self.speakers.observe(keys[name], name, level, self.now_ms * MS)
            report = self.speakers.tick(self.now_ms * MS)
            if report is not None:
                self.reports.append((self.now_ms, report))

    @property
    def now_speaking(self) -> list[PublicationKey]:
        return [key for key, _ in self.reports[-1][1]] if self.reports else []


def test_speech_makes_a_speaker_within_a_fifth_of_a_second() -> None:
    meeting = Meeting()
    meeting.hear(500, ann=127)
    assert meeting.reports == []
    meeting.hear(200, ann=25)
    assert meeting.now_speaking == [ANN]


def test_silence_ends_a_speaker_but_a_pause_between_words_does_not() -> None:
    meeting = Meeting()
    for _ in range(5):
        meeting.hear(400, ann=25)
        meeting.hear(250, ann=80)
        assert meeting.now_speaking == [ANN]
    meeting.hear(1500, ann=80)
    assert meeting.now_speaking == []


def test_a_source_without_packets_falls_silent() -> None:
    meeting = Meeting()
    meeting.hear(500, ann=20)
    assert meeting.now_speaking == [ANN]
    meeting.hear(1500)
    assert meeting.now_speaking == []


def test_a_click_makes_no_speaker() -> None:
    meeting = Meeting()
    meeting.hear(300, ann=70)
    meeting.hear(20, ann=25)
    meeting.hear(500, ann=70)
    assert meeting.reports == []


def test_a_level_near_the_threshold_does_not_flicker() -> None:
    rng = random.Random(3)
    meeting = Meeting()
    for _ in range(500):
        meeting.hear(20, ann=rng.randrange(36, 48))
    joined = [bool(report) for _, report in meeting.reports]
    assert sum(before != after for before, after in pairwise(joined)) <= 2


def test_two_equally_loud_speakers_keep_their_places() -> None:
    rng = random.Random(4)
    meeting = Meeting()
    meeting.hear(300, ann=25)
    for _ in range(300):
        meeting.hear(20, ann=rng.randrange(23, 28), bob=rng.randrange(23, 28))
    orders = [tuple(key for key, _ in report) for _, report in meeting.reports]
    assert set(orders) == {(ANN,), (ANN, BOB)}


def test_a_clearly_louder_speaker_comes_first() -> None:
    meeting = Meeting()
    meeting.hear(300, ann=35)
    meeting.hear(600, ann=35, bob=18)
    assert meeting.now_speaking == [BOB, ANN]
    levels = [level for _, level in meeting.reports[-1][1]]
    assert 0 < levels[1] < levels[0] <= 1


def test_levels_alone_are_not_reported_often() -> None:
    rng = random.Random(5)
    meeting = Meeting()
    for _ in range(100):
        meeting.hear(100, ann=rng.randrange(12, 33))
    times = [now for now, _ in meeting.reports]
    assert len(times) > 10
    assert all(later - earlier >= 200 for earlier, later in pairwise(times))


def test_a_publication_that_ended_is_reported_once_as_gone() -> None:
    meeting = Meeting()
    meeting.hear(500, ann=20)
    meeting.speakers.remove(ANN)
    meeting.hear(500)
    assert meeting.reports[-1][1] == ()
    assert [report for _, report in meeting.reports].count(()) == 1


def test_who_says_it_is_loud_all_the_time_stands_behind_who_pauses() -> None:
    """A forged level stays at the top; a teacher speaks at an ordinary one, and pauses."""
    meeting = Meeting()
    meeting.hear(60_000, ann=0)
    first = spoken = 0
    for _ in range(30):
        for _ in range(0, 3000, 20):
            meeting.hear(20, ann=0, bob=32)
            spoken += BOB in meeting.now_speaking
            first += meeting.now_speaking[0] == BOB
        meeting.hear(1000, ann=0, bob=127)
    assert first > 0.95 * spoken > 3000


def test_loudness_beyond_that_of_speech_gains_nothing() -> None:
    meeting = Meeting()
    meeting.hear(600, ann=28)
    meeting.hear(2000, ann=28, bob=0)
    assert meeting.now_speaking == [ANN, BOB]


def test_to_publish_anew_makes_nobody_fresh() -> None:
    meeting = Meeting()
    meeting.hear(60_000, ann=0)
    meeting.speakers.remove(ANN)
    meeting.hear(1000)
    meeting.hear(600, bob=32)
    meeting.hear(1000, ann=0, bob=32)
    assert meeting.now_speaking == [BOB, ANN]
    assert meeting.speakers._shares.keys() == {"ann", "bob"}
    meeting.hear(400_000)
    assert not meeting.speakers._shares
