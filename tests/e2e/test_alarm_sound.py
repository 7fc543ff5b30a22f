"""Alarms are heard: what the page plays is measured where it leaves for the loudspeaker."""

from __future__ import annotations

from browser import Caller, Pages, until
from playwright.async_api import expect
from server_process import ServerProcess
from signalling import clients, local_config

from sfu.config import RoomConfig
from sfu_client import Room, Series

PULSE = Series(name="pulse", title="Pulse", unit="1/min", low=50, high=110)
OXYGEN = Series(name="oxygen", title="Oxygen", unit="%", low=90)

# Whatever goes to the loudspeaker is measured on its way; notes that are begun are counted.
_LISTEN = """
window.__heard = {contexts: [], analysers: [], notes: 0};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to === this.context.destination) {
    const analyser = new AnalyserNode(this.context, {fftSize: 2048});
    connect.call(this, analyser);
    window.__heard.analysers.push(analyser);
    if (!window.__heard.contexts.includes(this.context)) window.__heard.contexts.push(this.context);
  }
  return connect.call(this, to, ...rest);
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...when) {
  window.__heard.notes += 1;
  return start.apply(this, when);
};
"""

# How loud it is now, of one.
_LOUDNESS = """
() => {
  const samples = new Float32Array(2048);
  let loudest = 0;
  for (const analyser of window.__heard.analysers) {
    if (analyser.context.state !== 'running') continue;
    analyser.getFloatTimeDomainData(samples);
    for (const each of samples) loudest = Math.max(loudest, Math.abs(each));
  }
  return loudest;
}
"""

# The browser plays nothing before somebody has pressed something, whatever was pressed before.
_BLOCKED = """
const resume = AudioContext.prototype.resume;
Object.defineProperty(AudioContext.prototype, 'state', {
  get() { return this.__asked ? 'running' : 'suspended'; },
});
AudioContext.prototype.resume = async function () {
  if (!window.__pressed) return new Promise(() => undefined);
  await resume.call(this);
  this.__asked = true;
  this.dispatchEvent(new Event('statechange'));
};
"""


async def is_heard(caller: Caller) -> None:
    async def loud() -> bool:
        loudness: float = await caller.page.evaluate(_LOUDNESS)
        return loudness > 0.05

    await until(loud, "an alarm to be heard")


async def is_quiet(caller: Caller) -> None:
    """Wait until nothing can be heard: what plays is at rest."""

    async def at_rest() -> bool:
        quiet: bool = await caller.page.evaluate(
            "window.__heard.contexts.every(each => each.state !== 'running')"
        )
        return quiet

    await until(at_rest, "nothing to be heard")


async def notes(caller: Caller) -> int:
    begun: int = await caller.page.evaluate("window.__heard.notes")
    return begun


async def listening(pages: Pages, url: str, room: str, *scripts: str) -> Caller:
    ann = await pages.new()
    for script in (_LISTEN, *scripts):
        await ann.page.add_init_script(script)
    await ann.watch(url, room, "Ann")
    return ann


async def test_an_alarm_sounds_until_it_is_acknowledged(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    ann = await listening(pages, server.url, room)
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(PULSE, OXYGEN)
        await device.telemetry.send({"pulse": 70, "oxygen": 97})
        await expect(ann.tile("Monitor").get_by_test_id("gauge-value")).to_have_count(2)
        assert await notes(ann) == 0
        await expect(ann.find("alarm-sound")).to_be_hidden()
        await device.telemetry.send({"pulse": 130})
        await is_heard(ann)
        # Again while it stands.

        async def twice() -> bool:
            return await notes(ann) >= 6

        await until(twice, "a second burst")
        await is_heard(ann)
        await pages.screenshot(ann, "sounding")
        await ann.find("alarm-bar-acknowledge").click()
        await is_quiet(ann)
        await expect(ann.find("alarm-sound")).to_be_hidden()
        # Over, without anybody's doing.
        await device.telemetry.send({"oxygen": 80})
        await is_heard(ann)
        await device.telemetry.send({"oxygen": 97})
        await is_quiet(ann)


async def test_alarms_are_muted_by_keyboard_and_stay_so(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    ann = await listening(pages, server.url, room)
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(PULSE, OXYGEN)
        await device.telemetry.send({"pulse": 130, "oxygen": 97})
        await is_heard(ann)
        mute = ann.page.get_by_role("button", name="Mute alarms")
        await mute.focus()
        await ann.page.keyboard.press("Enter")
        await is_quiet(ann)
        sound = ann.page.get_by_role("button", name="Let alarms sound")
        await expect(sound).to_be_focused()
        await device.telemetry.send({"oxygen": 80})
        await expect(ann.find("alarm")).to_have_count(2)
        await pages.screenshot(ann, "muted")

        await ann.page.reload()
        await ann.find("prejoin-join").click()
        await expect(ann.find("alarm")).to_have_count(2)
        await expect(sound).to_be_visible()
        await ann.find("open-settings").click()
        await expect(ann.find("settings-alarm-sound")).not_to_be_checked()
        await ann.find("settings-alarm-sound").check()
        await is_heard(ann)
        assert await notes(ann) == 3, "remembered: this is the first burst of this page"
        await ann.page.keyboard.press("Escape")
        await expect(mute).to_be_visible()
        # The page in another language goes on with the same sound.
        await ann.find("open-settings").click()
        await ann.find("language").select_option("zh")
        await expect(ann.find("alarm-sound")).to_have_text("警报静音")
        await ann.find("alarm-sound").click()
        await is_quiet(ann)


async def test_a_lost_device_sounds_until_it_is_put_away(pages: Pages, room: str) -> None:
    async with clients(local_config(room=RoomConfig(grace_s=1))) as those:
        ann = await listening(pages, those.server.http_url, room)
        device = await those.join(room, "Monitor", role="device")
        await device.request(
            "telemetry_declare", series=[{"name": "pulse", "title": "Pulse", "silent_s": 60}]
        )
        await expect(ann.tile("Monitor")).to_have_count(1)
        await device.drop()
        await expect(ann.find("alarms").get_by_role("alert")).to_contain_text("was lost", timeout=20_000)
        await is_heard(ann)
        await ann.find("open-settings").click()
        await ann.find("language").select_option("zh")
        await expect(ann.find("alarms").get_by_role("alert")).to_contain_text("失去连接")
        await ann.find("alarm-dismiss").click()
        await is_quiet(ann)
        await expect(ann.find("alarm-sound")).to_be_hidden()


async def test_where_the_browser_is_silent_before_a_press_the_page_says_so(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    ann = await listening(pages, server.url, room, _BLOCKED)
    async with Room.connect(server.url, room, name="Monitor", role="device", auto_subscribe=False) as device:
        await device.telemetry.declare(PULSE)

        async def says_so() -> bool:
            # Values go on coming meanwhile.
            await device.telemetry.send({"pulse": 130})
            return await ann.find("alarm-sound").text_content() == "Press to hear alarms"

        await until(says_so, "a button that says that nothing is heard")
        assert await notes(ann) == 0
        await ann.page.evaluate("window.__pressed = true")
        await ann.find("alarm-sound").click()
        await is_heard(ann)
        await expect(ann.find("alarm-sound")).to_have_text("Mute alarms")
