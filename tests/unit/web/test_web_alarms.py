"""When alarms sound, without a clock and without a loudspeaker."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page
from web_modules import run

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

# Lets time pass from step to step, and notes when a burst begins.
_PLAY = """
const rhythm = new m.AlarmRhythm(a.muted ?? false);
const bursts = [];
let now = 0;
const pass = (until) => {
  while (now + rhythm.wait(now) <= until) {
    now += rhythm.wait(now);
    bursts.push(now);
    rhythm.sounded(now);
  }
  now = until;
};
for (const [at, step] of a.steps) {
  pass(at);
  if (Array.isArray(step)) rhythm.update(step, now);
  else rhythm.mute(step === 'mute', now);
}
pass(a.until);
return bursts;
"""


@pytest.mark.parametrize(
    ("steps", "until", "bursts"),
    [
        ([], 60_000, []),
        ([(1000, ["a"])], 20_000, [1000, 9000, 17_000]),
        # One that goes on is not raised again: the rhythm stays.
        ([(1000, ["a"]), (2000, ["a"]), (9500, ["a"])], 20_000, [1000, 9000, 17_000]),
        # Acknowledged, over or gone: nothing more.
        ([(1000, ["a"]), (9500, [])], 60_000, [1000, 9000]),
        # A newer one sounds at once, and the rhythm begins anew with it.
        ([(1000, ["a"]), (5000, ["a", "b"])], 15_000, [1000, 5000, 13_000]),
        # Many at once are not many bursts.
        ([(0, ["a"]), (100, ["a", "b"]), (200, ["a", "b", "c"]), (1900, ["d"])], 9000, [0, 2000]),
        # What is raised shortly before a burst does not delay it.
        ([(0, ["a"]), (7900, ["a", "b"])], 9000, [0, 7900]),
        # Raised again after it was over.
        ([(0, ["a"]), (3000, []), (20_000, ["a"])], 21_000, [0, 20_000]),
        ([(0, ["a"]), (100, []), (200, ["a"])], 5000, [0, 2000]),
        # One of two was acknowledged: the other goes on in the same rhythm.
        ([(0, ["a", "b"]), (1000, ["b"])], 9000, [0, 8000]),
        ([(0, ["a"]), (1000, "mute"), (30_000, ["a", "b"])], 60_000, [0]),
        ([(0, ["a"]), (1000, "mute"), (30_000, "unmute")], 40_000, [0, 30_000, 38_000]),
        ([(0, ["a"]), (500, "mute"), (600, "unmute")], 5000, [0, 2000]),
        ([(0, "mute"), (10, "unmute")], 60_000, []),
    ],
)
async def test_when_alarms_sound(page: Page, steps: list[Any], until: int, bursts: list[int]) -> None:
    given = {"steps": steps, "until": until}
    assert await run(page, "ui/alarm-rhythm.js", _PLAY, given) == bursts


async def test_it_says_whether_other_alarms_stand_than_before(page: Page) -> None:
    body = "const rhythm = new m.AlarmRhythm(false); return a.map((keys) => rhythm.update(keys, 0));"
    steps = [[], ["a"], ["a"], ["a", "b"], ["b", "a"], ["b"], ["c"], [], []]
    told = [False, True, False, True, False, True, True, True, False]
    assert await run(page, "ui/alarm-rhythm.js", body, steps) == told


async def test_who_has_muted_alarms_hears_none_until_that_is_taken_back(page: Page) -> None:
    given = {"muted": True, "steps": [(0, ["a"]), (5000, "unmute")], "until": 14_000}
    assert await run(page, "ui/alarm-rhythm.js", _PLAY, given) == [5000, 13_000]
