from __future__ import annotations

from sfu.server.half_time import HalfTime


def test_work_rests_for_as_long_as_it_took() -> None:
    half = HalfTime()
    assert half.may_work(0.0)
    half.worked(1.0, 1.5)
    assert not half.may_work(1.9)
    assert half.may_work(2.0)


def test_short_work_is_not_held_up() -> None:
    half = HalfTime()
    half.worked(1.0, 1.004)
    assert half.may_work(1.02)
