"""Nothing is cut off, on desks and on the narrowest phones, in both languages."""

from __future__ import annotations

from browser import Caller, Pages
from playwright.async_api import Locator, ViewportSize, expect
from server_process import ServerProcess

from sfu_client import Room, Series

DESK: ViewportSize = {"width": 1280, "height": 800}
TABLET: ViewportSize = {"width": 1001, "height": 700}
PHONE: ViewportSize = {"width": 390, "height": 844}
NARROW: ViewportSize = {"width": 320, "height": 568}

# What of the visible elements sticks out of the outer one, or has text that sticks out of itself.
_CUT = """
async (outer, selector) => {
  const moving = document.getAnimations().filter((each) => each instanceof CSSTransition);
  await Promise.allSettled(moving.map((each) => each.finished));
  const box = outer.getBoundingClientRect();
  const sticksOut = (each) => {
    const {left, right, top, bottom, width, height} = each.getBoundingClientRect();
    if (!width || !height) return false;
    const out = left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1;
    return out || each.scrollWidth > each.clientWidth + 1;
  };
  return [...outer.querySelectorAll(selector)].filter(sticksOut).map((each) => each.textContent);
}
"""


async def cut(outer: Locator, selector: str) -> list[str]:
    found: list[str] = await outer.evaluate(_CUT, selector)
    return found


async def bar_fits(caller: Caller, size: ViewportSize) -> None:
    await caller.page.set_viewport_size(size)
    bar = caller.page.locator(".controls")
    assert await cut(bar, ":scope > div > .icon-button, .controls-menu > .icon-button") == [], size
    assert await bar.evaluate("bar => bar.scrollWidth <= innerWidth"), size
    clock = await caller.find("call-time").bounding_box()
    assert clock is None or clock["height"] < 30, "the clock is one line"


async def test_nothing_is_cut_off(pages: Pages, server: ServerProcess, room: str) -> None:
    tia = await pages.new()
    await tia.watch(server.url, room, "Tia")
    await tia.find("alone").wait_for()
    peer = {"auto_subscribe": False}
    async with (
        Room.connect(server.url, room, name="Benedikta Okafor", **peer) as ben,
        Room.connect(server.url, room, name="Monitor", role="device", **peer) as monitor,
    ):
        await monitor.telemetry.declare(
            Series(name="spo2", title="Oxygen saturation", unit="%"),
            Series(name="pulse", title="Pulse", unit="1/min", low=50, high=110, hysteresis=5),
        )
        await monitor.telemetry.send({"spo2": 95.1, "pulse": 130})
        await ben._connection.request("raise_hand", raised=True)
        for size in (DESK, TABLET, PHONE, NARROW):
            await bar_fits(tia, size)
        await expect(tia.find("toggle-more")).to_be_visible()
        await alarm_on_a_small_tile(pages, tia)
        await ben._connection.request("raise_hand", raised=False)
        await ben._connection.request("raise_hand", raised=True)
        await no_toast_covers_an_alarm(tia)
        await one_line_for_each_gauge(tia)
        for size in (PHONE, DESK):
            await moderators_actions(pages, tia, size)
        await expect(tia.find("toggle-board").locator(".short")).to_be_visible()
        await tia.find("open-settings").click()
        await tia.find("language").select_option("zh")
        await expect(tia.find("toggle-board")).to_contain_text("白板")
        for size in (NARROW, TABLET, DESK):
            await bar_fits(tia, size)
        await moderators_actions(pages, tia, DESK)


async def alarm_on_a_small_tile(pages: Pages, tia: Caller) -> None:
    """In the speaker view the device is in the strip: its alarm is what must be seen."""
    for size in (NARROW, PHONE):
        await tia.page.set_viewport_size(size)
        await tia.tile("Benedikta").dblclick()
        tile = tia.page.locator('[data-testid="tile"].small', has_text="Monitor")
        raised = tile.locator(".gauge[data-alarm=raised]")
        await expect(raised.get_by_test_id("gauge-alarm")).to_be_visible()
        await expect(raised.get_by_test_id("gauge-value")).to_be_visible()
        assert await cut(tile, ".gauge[data-alarm=raised] > span:not(.gauge-title)") == []
        await pages.screenshot(tia, f"alarm-{size['width']}")
        await tia.tile("Benedikta").dblclick()


async def no_toast_covers_an_alarm(tia: Caller) -> None:
    toast = await tia.page.locator(".toast", has_text="raised a hand").last.bounding_box()
    alarms = await tia.find("alarms").bounding_box()
    bar = await tia.page.locator(".controls").bounding_box()
    assert toast is not None
    assert alarms is not None
    assert bar is not None
    assert alarms["y"] + alarms["height"] <= toast["y"]
    assert toast["y"] + toast["height"] <= bar["y"]


async def one_line_for_each_gauge(tia: Caller) -> None:
    await tia.page.set_viewport_size(DESK)
    pulse = tia.tile("Monitor").locator(".gauge[data-alarm=raised]")
    await expect(pulse.locator(".gauge-title")).to_be_visible()
    middles = await pulse.evaluate(
        """(gauge) => [...gauge.querySelectorAll('span')].map((each) => {
          const {top, height} = each.getBoundingClientRect();
          return top + height / 2;
        })"""
    )
    assert len(middles) == 3
    assert max(middles) - min(middles) < 3


async def moderators_actions(pages: Pages, tia: Caller, size: ViewportSize) -> None:
    await tia.page.set_viewport_size(size)
    await tia.page.keyboard.press("p")
    person = tia.find("person").filter(has_text="Benedikta")
    await person.get_by_test_id("person-more").click()
    await person.get_by_test_id("remove").wait_for()
    assert await cut(tia.find("people-panel"), ".person-actions button, .people-tools button") == []
    assert await cut(person, ".person-title") == []
    await pages.screenshot(tia, f"actions-{size['width']}")
    await person.get_by_test_id("person-more").click()
    await tia.page.keyboard.press("p")
