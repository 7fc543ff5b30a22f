"""Negotiation against stacks nobody here wrote: aiortc's RTCPeerConnection and real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from playwright.async_api import Page, async_playwright

from sfu.sdp import model
from sfu.sdp.negotiate import LocalParameters, OfferedCodec
from sfu.sdp.publish import Accept, PublishAnswer, answer
from sfu.sdp.subscribe import OutgoingMedia, SubscribeSession

# The discard port: nobody answers, so nothing here depends on ICE.
LOCAL = LocalParameters(
    ice_ufrag="serverfrag",
    ice_pwd="serverpasswordserverpassword",
    fingerprint="sha-256 " + ":".join(["AB"] * 32),
    candidates=("1 1 udp 2130706431 127.0.0.1 9 typ host",),
    sctp_max_message_size=65536,
)
VIDEO_CODECS = {
    "vp8": "",
    "vp9": "profile-id=0",
    "h264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "av1": "level-idx=5;profile=0;tier=0",
}


def accept_all(mid: str, kind: str) -> str | None:
    return None


@dataclass
class Publisher:
    """The server's side of a publish transport."""

    version: int = 0

    def answer(self, offer: str, accept: Accept = accept_all) -> PublishAnswer:
        self.version += 1
        return answer(model.parse(offer), LOCAL, session_id=42, version=self.version, accept=accept)


def outgoing(key: str, ssrc: int, codec: str) -> OutgoingMedia:
    if codec == "opus":
        fmtp = "minptime=10;useinbandfec=1"
        offered = OfferedCodec(name="opus", clock_rate=48000, channels=2, fmtp=fmtp, ingress_payload_type=111)
    else:
        fmtp = VIDEO_CODECS.get(codec, "")
        offered = OfferedCodec(name=codec, clock_rate=90000, channels=1, fmtp=fmtp, ingress_payload_type=100)
    return OutgoingMedia(
        key=key,
        kind="audio" if codec == "opus" else "video",
        stream_id="PA_a",
        track_id=key,
        codecs=(offered,),
        ssrc=ssrc,
        rtx_ssrc=None if codec == "opus" else ssrc + 1,
        cname="c",
    )


# --- aiortc ------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    yield connection
    await connection.close()


async def test_aiortc_publishes(peer: RTCPeerConnection) -> None:
    peer.addTransceiver("audio", "sendonly")
    peer.addTransceiver("video", "sendonly")
    peer.addTransceiver("video", "recvonly")
    peer.createDataChannel("reliable")
    await peer.setLocalDescription(await peer.createOffer())
    result = Publisher().answer(peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(model.format(result.description), "answer"))

    assert [t.currentDirection for t in peer.getTransceivers()] == ["sendonly", "sendonly", "inactive"]
    assert [(media.mid, media.kind, media.codecs[0].name) for media in result.media] == [
        ("0", "audio", "opus"),
        ("1", "video", "vp8"),
    ]
    assert all(len(media.ssrcs) == 1 for media in result.media)
    assert result.media[1].ssrcs[0].rtx_ssrc is not None
    assert (result.data_mid, result.remote.sctp_port, result.rejected) == ("3", 5000, ())


async def test_aiortc_publishes_h264(peer: RTCPeerConnection) -> None:
    video = peer.addTransceiver("video", "sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([codec for codec in codecs if codec.mimeType in {"video/H264", "video/rtx"}])
    await peer.setLocalDescription(await peer.createOffer())
    result = Publisher().answer(peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(model.format(result.description), "answer"))
    assert result.media[0].codecs[0].name == "h264"
    assert "packetization-mode=1" in result.media[0].fmtps[0]
    assert video.currentDirection == "sendonly"


async def test_aiortc_goes_on_when_an_m_line_shares_no_codec(peer: RTCPeerConnection) -> None:
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    for preferred in ("audio/opus", "audio/PCMU"):
        audio = peer.addTransceiver("audio", "sendonly")
        audio.setCodecPreferences([codec for codec in codecs if codec.mimeType == preferred])
    await peer.setLocalDescription(await peer.createOffer())
    result = Publisher().answer(peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(model.format(result.description), "answer"))
    assert [t.currentDirection for t in peer.getTransceivers()] == ["sendonly", "inactive"]
    assert result.rejected == (("1", "codec_unsupported"),)


async def test_aiortc_adds_media_to_a_publish_transport(peer: RTCPeerConnection) -> None:
    publisher = Publisher()
    peer.addTransceiver("audio", "sendonly")
    for count in (1, 2, 3):
        await peer.setLocalDescription(await peer.createOffer())
        result = publisher.answer(peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(model.format(result.description), "answer"))
        assert len(result.media) == count
        peer.addTransceiver("video", "sendonly")
    assert [t.currentDirection for t in peer.getTransceivers()][:3] == ["sendonly"] * 3


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_aiortc_subscribes(peer: RTCPeerConnection, codec: str) -> None:
    session = SubscribeSession(7)
    media = [outgoing("TR_a", 1000, "opus"), outgoing("TR_v", 2000, codec)]
    offer = session.plan(media, LOCAL)
    await peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    result = session.apply_answer(peer.localDescription.sdp)

    assert [t.currentDirection for t in peer.getTransceivers()] == ["recvonly", "recvonly"]
    assert [t.receiver.track.id for t in peer.getTransceivers()] == ["TR_a", "TR_v"]
    assert [sent.key for sent in result.media] == ["TR_a", "TR_v"]
    assert result.remote is not None
    assert result.remote.dtls_role == "client"
    video = result.media[1]
    assert list(video.rtx_payload_types) == list(video.payload_types.values())
    assert video.extensions.mid == 1
    assert video.extensions.dependency_descriptor == 0
    assert result.rejected == ()


async def test_aiortc_is_told_of_every_newcomer_over_many_subscriptions(peer: RTCPeerConnection) -> None:
    session = SubscribeSession(7)
    told: list[str] = []
    peer.on("track", lambda track: told.append(track.id))
    for number in range(6):
        media = [outgoing(f"TR_{number}", 1000 + 10 * number, "vp8")] if number % 2 else []
        offer = session.plan([outgoing("TR_a", 1, "opus"), *media], LOCAL)
        await peer.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        result = session.apply_answer(peer.localDescription.sdp)
        assert [sent.key for sent in result.media] == ["TR_a", *(one.key for one in media)]
    assert told == ["TR_a", "TR_1", "TR_3", "TR_5"]


# --- Chromium ----------------------------------------------------------------------------------

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
SETUP = """() => {
  window.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  const canvas = document.createElement('canvas');
  canvas.width = 1280; canvas.height = 720; canvas.getContext('2d').fillRect(0, 0, 9, 9);
  window.video = () => canvas.captureStream(10).getVideoTracks()[0];
  window.audio = () => new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
  window.prefer = (transceiver, kind, names) => transceiver.setCodecPreferences(names.flatMap(name =>
    RTCRtpSender.getCapabilities(kind).codecs.filter(c => c.mimeType.toLowerCase() == `${kind}/${name}`)));
  window.offer = async () => { await pc.setLocalDescription(); return pc.localDescription.sdp; };
  window.take = async (type, sdp) => { await pc.setRemoteDescription({type, sdp}); };
  window.reply = async sdp => {
    await take('offer', sdp); await pc.setLocalDescription(); return pc.localDescription.sdp; };
  window.directions = () => pc.getTransceivers().map(t => t.currentDirection);
  window.sent = () => pc.getSenders().filter(s => s.track).map(s => {
    const p = s.getParameters();
    return {codecs: p.codecs.map(c => c.mimeType.toLowerCase()), rids: p.encodings.map(e => e.rid ?? null)};
  });
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser_page() -> AsyncIterator[Page]:
    executable = shutil.which("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield await browser.new_page()
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser_page: Page) -> AsyncIterator[Page]:
    await browser_page.evaluate(SETUP)
    yield browser_page
    await browser_page.evaluate("() => pc.close()")


chromium = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


def e2e(function: Any) -> Any:
    for mark in chromium:
        function = mark(function)
    return function


async def publish(page: Page, publisher: Publisher, accept: Accept = accept_all) -> PublishAnswer:
    result = publisher.answer(await page.evaluate("() => offer()"), accept)
    await page.evaluate("sdp => take('answer', sdp)", model.format(result.description))
    return result


async def subscribe(page: Page, session: SubscribeSession, media: list[OutgoingMedia]) -> Any:
    return session.apply_answer(await page.evaluate("sdp => reply(sdp)", session.plan(media, LOCAL).sdp))


SIMULCAST = """names => {
  pc.createDataChannel('reliable');
  pc.addTransceiver(audio(), {direction: 'sendonly'});
  const t = pc.addTransceiver(video(), {direction: 'sendonly', sendEncodings: [
    {rid: 'q', scaleResolutionDownBy: 4}, {rid: 'h', scaleResolutionDownBy: 2}, {rid: 'f'}]});
  prefer(t, 'video', names);
}"""


@e2e
@pytest.mark.parametrize("codec", list(VIDEO_CODECS))
async def test_chromium_sends_simulcast_in_its_preferred_codec(page: Page, codec: str) -> None:
    others = [name for name in VIDEO_CODECS if name != codec]
    await page.evaluate(SIMULCAST, [codec, *others, "rtx"])
    result = await publish(page, Publisher())

    assert await page.evaluate("() => directions()") == ["sendonly", "sendonly"]
    audio, video = await page.evaluate("() => sent()")
    assert audio["codecs"][0] == "audio/opus"
    assert video["codecs"] == [*(f"video/{name}" for name in (codec, *others)), *["video/rtx"] * 4]
    assert video["rids"] == ["q", "h", "f"]
    received = result.media[1]
    assert (received.codecs[0].name, received.rids) == (codec, ("q", "h", "f"))
    assert received.codecs[0].rtx_payload_type is not None
    assert received.extensions.rid
    assert received.extensions.repaired_rid
    assert received.nack
    assert received.transport_cc
    assert result.data_mid is not None
    assert await page.evaluate("() => pc.sctp.maxMessageSize") == LOCAL.sctp_max_message_size


@e2e
async def test_chromium_keeps_its_encodings_through_refusal(page: Page) -> None:
    publisher = Publisher()
    await page.evaluate(SIMULCAST, ["vp8", "rtx"])
    refused = await publish(page, publisher, lambda mid, kind: "not_allowed" if kind == "video" else None)
    assert [media.kind for media in refused.media] == ["audio"]
    assert [code for _, code in refused.rejected] == ["not_allowed"]
    assert await page.evaluate("() => directions()") == ["sendonly", "inactive"]

    accepted = await publish(page, publisher)
    assert accepted.media[1].rids == ("q", "h", "f")
    assert await page.evaluate("() => directions()") == ["sendonly", "sendonly"]
    assert (await page.evaluate("() => sent()"))[1]["rids"] == ["q", "h", "f"]


@e2e
async def test_chromium_keeps_its_encodings_through_inactivity(page: Page) -> None:
    publisher = Publisher()
    await page.evaluate(SIMULCAST, ["vp8", "rtx"])
    await publish(page, publisher)
    await page.evaluate("() => { pc.getTransceivers()[1].direction = 'inactive'; }")
    muted = await publish(page, publisher)
    assert (len(muted.media), muted.rejected) == (1, ())

    await page.evaluate("() => { pc.getTransceivers()[1].direction = 'sendonly'; }")
    resumed = await publish(page, publisher)
    assert resumed.media[1].rids == ("q", "h", "f")
    assert await page.evaluate("() => directions()") == ["sendonly", "sendonly"]
    assert (await page.evaluate("() => sent()"))[1]["rids"] == ["q", "h", "f"]


@e2e
async def test_chromium_puts_red_first_when_it_prefers_it(page: Page) -> None:
    await page.evaluate(
        "() => prefer(pc.addTransceiver(audio(), {direction: 'sendonly'}), 'audio', ['red', 'opus'])"
    )
    result = await publish(page, Publisher())
    assert [codec.name for codec in result.media[0].codecs] == ["red", "opus"]
    assert (await page.evaluate("() => sent()"))[0]["codecs"] == ["audio/red", "audio/opus"]


@e2e
async def test_chromium_goes_on_when_its_first_m_line_shares_no_codec(page: Page) -> None:
    await page.evaluate(
        """() => {
          prefer(pc.addTransceiver(audio(), {direction: 'sendonly'}), 'audio', ['pcmu', 'pcma']);
          pc.addTransceiver(video(), {direction: 'sendonly'});
        }"""
    )
    publisher = Publisher()
    result = await publish(page, publisher)
    assert result.rejected == (("0", "codec_unsupported"),)
    assert [media.mid for media in result.media] == ["1"]
    assert await page.evaluate("() => directions()") == ["inactive", "sendonly"]
    await page.evaluate("() => prefer(pc.getTransceivers()[0], 'audio', ['opus', 'pcmu'])")
    again = await publish(page, publisher)
    assert sorted(media.kind for media in again.media) == ["audio", "video"]
    assert len(again.description.media) == 2


@e2e
async def test_chromium_goes_on_when_a_later_m_line_shares_no_codec(page: Page) -> None:
    await page.evaluate(
        """() => {
          pc.addTransceiver(video(), {direction: 'sendonly'});
          prefer(pc.addTransceiver(audio(), {direction: 'sendonly'}), 'audio', ['pcmu', 'pcma']);
          pc.createDataChannel('reliable');
        }"""
    )
    publisher = Publisher()
    result = await publish(page, publisher)
    assert result.rejected == (("1", "codec_unsupported"),)
    assert await page.evaluate("() => directions()") == ["sendonly"]
    await page.evaluate("() => { pc.addTransceiver(audio(), {direction: 'sendonly'}); }")
    again = await publish(page, publisher)
    assert sorted(media.kind for media in again.media) == ["audio", "video"]
    assert len(again.description.media) == 3


@e2e
@pytest.mark.parametrize("codec", list(VIDEO_CODECS))
async def test_chromium_receives_every_codec(page: Page, codec: str) -> None:
    result = await subscribe(
        page, SubscribeSession(7), [outgoing("TR_a", 1000, "opus"), outgoing("TR_v", 2000, codec)]
    )
    audio, video = result.media
    assert await page.evaluate("() => directions()") == ["recvonly", "recvonly"]
    assert audio.payload_types == {111: 96}
    assert video.payload_types == {100: 97}
    assert video.rtx_payload_types == {97: 98}
    assert video.extensions.transport_cc
    assert video.extensions.dependency_descriptor
    assert result.remote.dtls_role == "client"


@e2e
async def test_chromium_receives_red_beside_opus(page: Page) -> None:
    opus = outgoing("TR_a", 1000, "opus")
    red = OfferedCodec(name="red", clock_rate=48000, channels=2, fmtp="", ingress_payload_type=63)
    result = await subscribe(page, SubscribeSession(7), [replace(opus, codecs=(red, *opus.codecs))])
    assert result.media[0].payload_types == {63: 97, 111: 96}


@e2e
async def test_chromium_publishes_without_max_bundle(page: Page) -> None:
    await page.evaluate(
        """() => {
          pc.close();
          window.pc = new RTCPeerConnection();
          pc.createDataChannel('reliable');
        }"""
    )
    publisher = Publisher()
    assert (await publish(page, publisher)).data_mid == "0"
    await page.evaluate("() => { pc.addTrack(audio()); pc.addTrack(video()); }")
    result = await publish(page, publisher)
    assert [(media.mid, media.kind) for media in result.media] == [("1", "audio"), ("2", "video")]
    assert await page.evaluate("() => directions()") == ["sendonly", "sendonly"]


@e2e
async def test_chromium_takes_m_lines_at_old_places_over_many_renegotiations(page: Page) -> None:
    session = SubscribeSession(7)
    await page.evaluate(
        "() => { window.streams = []; pc.ontrack = e => streams.push(e.streams[0].id + e.transceiver.mid); }"
    )
    codecs = list(VIDEO_CODECS)
    for number in range(60):
        media = [
            outgoing(f"TR_{number + i}", 1000 + 10 * (number + i), codecs[(number + i) % 4])
            for i in range(number % 3)
        ]
        result = await subscribe(page, session, [outgoing("TR_a", 1, "opus"), *media])
        assert {sent.key for sent in result.media} == {"TR_a", *(one.key for one in media)}
        assert result.rejected == ()
    streams = await page.evaluate("() => streams")
    assert len(streams) == len(set(streams)) == 1 + 60
    nothing = await subscribe(page, session, [])
    assert (nothing.media, nothing.rejected) == ((), ())
    assert nothing.remote is not None
    # Only the first is left: the others are stopped and gone.
    assert await page.evaluate("() => directions()") == ["inactive"]


@e2e
async def test_chromium_refuses_an_unknown_profile_alone(page: Page) -> None:
    session = SubscribeSession(7)
    profile = OfferedCodec(
        name="h264",
        clock_rate=90000,
        channels=1,
        fmtp="packetization-mode=1;profile-level-id=aa001f",
        ingress_payload_type=100,
    )
    strange = replace(outgoing("TR_x", 5000, "h264"), codecs=(profile,))
    good = outgoing("TR_v", 2000, "vp8")
    result = await subscribe(page, session, [strange, good])
    assert (result.rejected, [sent.key for sent in result.media]) == (("TR_x",), ["TR_v"])
    offer = session.plan([strange, good, outgoing("TR_a", 1, "opus")], LOCAL)
    assert offer.left_out == ("TR_x",)
    again = session.apply_answer(await page.evaluate("sdp => reply(sdp)", offer.sdp))
    assert sorted(str(sent.key) for sent in again.media) == ["TR_a", "TR_v"]
    # The anchor, which TR_a took, the refused one, which is closed, and TR_v.
    assert [media.port for media in model.parse(offer.sdp).media] == [9, 0, 9]
    last = await subscribe(page, session, [good, outgoing("TR_w", 3000, "vp9")])
    assert [sent.key for sent in last.media] == ["TR_v", "TR_w"]


@e2e
async def test_chromium_restarts_ice_when_credentials_change(page: Page) -> None:
    session = SubscribeSession(7)
    media = [outgoing("TR_v", 2000, "vp8")]
    before = await subscribe(page, session, media)
    fresh = replace(LOCAL, ice_ufrag="freshfrag", ice_pwd="freshpasswordfreshpassword")
    after = session.apply_answer(await page.evaluate("sdp => reply(sdp)", session.plan(media, fresh).sdp))
    assert after.remote is not None
    assert after.remote.ice_ufrag != before.remote.ice_ufrag
    assert after.media == before.media
