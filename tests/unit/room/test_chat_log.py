from __future__ import annotations

from sfu.ids import ParticipantId
from sfu.room.chat import ChatLog

ANN, BEN = ParticipantId("PA_ann"), ParticipantId("PA_ben")


def test_ids_increase_by_one_and_history_is_bounded() -> None:
    log = ChatLog(3)
    ids = [log.add(ANN, "Ann", str(n), None, n).id for n in range(5)]
    assert ids == [1, 2, 3, 4, 5]
    assert [m.text for m in log.recent()] == ["2", "3", "4"]


def test_private_messages_are_not_kept() -> None:
    log = ChatLog(3)
    assert log.add(ANN, "Ann", "psst", BEN, 1).id == 1
    assert log.add(ANN, "Ann", "all", None, 2).id == 2
    assert [m.id for m in log.recent()] == [2]


def test_without_capacity_nothing_is_kept() -> None:
    log = ChatLog(0)
    log.add(ANN, "Ann", "x", None, 1)
    assert log.recent() == ()
