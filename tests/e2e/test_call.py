"""Two people open a link in a browser and see and hear each other."""

from __future__ import annotations

import pytest
from browser import Caller, Pages, until
from server_process import ServerProcess


async def pair(pages: Pages, server: ServerProcess, room: str, query: str = "") -> tuple[Caller, Caller]:
    alice, bob = await pages.new(), await pages.new()
    await alice.join(server.url, room, "Alice", query)
    await bob.join(server.url, room, "Bob", query)
    return alice, bob


async def test_two_people_see_and_hear_each_other(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pair(pages, server, room)
    for me, other in ((alice, "Bob"), (bob, "Alice")):
        look = await me.sees(other)
        assert look["width"] >= 160
        assert look["width"] * 9 in range(look["height"] * 12 - 80, look["height"] * 16 + 80)
        assert await me.hears() > 0
    await pages.screenshot(alice, "two-people")


async def test_nobody_loses_a_packet_without_loss(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, _bob = await pair(pages, server, room)
    await alice.sees("Bob")

    async def decoded() -> bool:
        return all(r["framesDecoded"] > 100 for r in await alice.inbound("video"))

    await until(decoded, "100 decoded frames", 30)
    for report in await alice.inbound("video") + await alice.inbound("audio"):
        assert report["packetsLost"] == 0, report
    for report in await alice.inbound("video"):
        assert report["totalFreezesDuration"] < 1, report


async def test_leaving_removes_the_tile(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pair(pages, server, room)
    await alice.sees("Bob")
    await bob.find("leave").click()
    await alice.tile("Bob").wait_for(state="detached")
    await bob.find("left-rejoin").click()
    await alice.sees("Bob")


async def test_mute_and_camera_off_show_and_come_back(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pair(pages, server, room)
    await alice.sees("Bob")
    await bob.find("toggle-camera").click()
    await alice.has(alice.tile("Bob"), "data-state", "off")
    await bob.find("toggle-camera").click()
    await alice.sees("Bob")
    await bob.find("toggle-mic").click()
    await alice.has(alice.tile("Bob"), "data-muted", "true")
    await bob.find("toggle-mic").click()
    await alice.has(alice.tile("Bob"), "data-muted", "false")
    before = await alice.hears()
    await alice.hears(at_least=before * 1.05)


async def test_screen_share_with_its_own_tile(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pair(pages, server, room)
    await alice.sees("Bob")
    await bob.find("toggle-screen").click()

    async def shared() -> bool:
        look = await alice.look("Bob", "screen")
        return bool(look and look["width"] > 300)

    await until(shared, "Bob's screen", 20)
    await pages.screenshot(alice, "screen-share")
    await bob.find("toggle-screen").click()
    await alice.tile("Bob", "screen").wait_for(state="detached")
    await alice.sees("Bob")


async def test_a_late_joiner_sees_at_once(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, _bob = await pair(pages, server, room)
    await alice.sees("Bob")
    carol = await pages.new()
    await carol.join(server.url, room, "Carol")
    # Nobody sends keyframes unasked: without asking it would be never.
    await carol.sees("Alice", timeout_s=10)
    await carol.sees("Bob", timeout_s=10)


async def test_chat_reaches_everybody_and_late_joiners(
    pages: Pages, server: ServerProcess, room: str
) -> None:
    alice, bob = await pair(pages, server, room)
    for me in (alice, bob):
        await me.find("toggle-chat").click()
    await alice.find("chat-input").fill("<b>hello</b> & welcome")
    await alice.find("chat-send").click()
    await bob.find("chat-message").filter(has_text="<b>hello</b> & welcome").wait_for()
    carol = await pages.new()
    await carol.join(server.url, room, "Carol")
    await carol.find("toggle-chat").click()
    await carol.find("chat-message").filter(has_text="<b>hello</b> & welcome").wait_for()


@pytest.mark.parametrize("codec", ["vp8", "vp9", "h264", "av1"])
async def test_every_codec_passes_browser_to_browser(
    pages: Pages, server: ServerProcess, room: str, codec: str
) -> None:
    alice, bob = await pair(pages, server, room, f"?codec={codec}")
    await alice.sees("Bob", timeout_s=40)
    await bob.sees("Alice", timeout_s=40)
    used = {r["mimeType"].lower() for r in await alice.inbound("video") if r["mimeType"]}
    assert used == {f"video/{codec}"}


# What a network that lets no UDP out leaves of the server's descriptions.
_NO_UDP = """
const original = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = function (description) {
  const sdp = description.sdp.replace(/a=candidate:\\S+ 1 udp .*\\r\\n/g, '');
  return original.call(this, {type: description.type, sdp});
};
"""


async def test_a_call_over_tcp_where_udp_is_blocked(pages: Pages, server: ServerProcess, room: str) -> None:
    alice, bob = await pages.new(), await pages.new()
    for me in (alice, bob):
        await me.page.add_init_script(_NO_UDP)
    await alice.join(server.url, room, "Alice")
    await bob.join(server.url, room, "Bob")
    await alice.sees("Bob")
    await bob.sees("Alice")
    protocols = await alice.page.evaluate(
        """async () => {
          const found = [];
          for (const pc of window.__connections) {
            const report = await pc.getStats();
            for (const r of report.values()) {
              if (r.type !== 'transport' || !r.selectedCandidatePairId) continue;
              found.push(report.get(report.get(r.selectedCandidatePairId).remoteCandidateId).protocol);
            }
          }
          return found;
        }"""
    )
    assert protocols == ["tcp", "tcp"]


async def test_phone_sized_page_calls_too(pages: Pages, server: ServerProcess, room: str) -> None:
    phone = await pages.new(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    desk = await pages.new()
    await phone.join(server.url, room, "Phone")
    await desk.join(server.url, room, "Desk")
    await phone.sees("Desk")
    await desk.sees("Phone")
    await pages.screenshot(phone, "phone")


async def test_keyboard_alone_is_enough(pages: Pages, server: ServerProcess, room: str) -> None:
    alice = await pages.new()
    await alice.open(server.url)
    await alice.find("landing-room").focus()
    await alice.page.keyboard.type(room)
    await alice.page.keyboard.press("Enter")
    await alice.find("prejoin-name").wait_for()
    await alice.find("prejoin-name").focus()
    await alice.page.keyboard.type("Alice")
    await alice.page.keyboard.press("Enter")
    await alice.find("leave").wait_for()
    await alice.has(alice.tile("Alice"), "data-muted", "false")
    await alice.page.keyboard.press("m")
    await alice.has(alice.tile("Alice"), "data-muted", "true")
