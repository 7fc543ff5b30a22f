"""A participant with GStreamer's webrtcbin, run by Debian's Python. See bridge.py for the lines it speaks.

Usage: webrtcbin.py publish|view ROOM NAME
"""

import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAMERA = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 "
    "! vp8enc deadline=1 keyframe-max-dist=45 target-bitrate=200000 ! rtpvp8pay pt=96 picture-id-mode=15-bit "
    "! capsfilter caps=application/x-rtp,media=video,encoding-name=VP8,payload=96"
)
MICROPHONE = (
    "audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=97 "
    "! capsfilter caps=application/x-rtp,media=audio,encoding-name=OPUS,payload=97"
)


class Participant:
    def __init__(self, mode, room, name):
        self.loop = GLib.MainLoop()
        self.last_id = 0
        self.pending = {}
        self.counts = {"video": 0, "audio": 0, "states": []}
        self.mode = mode
        self.pipeline = None
        threading.Thread(target=self.read, daemon=True).start()
        self.ask(
            self.joined, type="join", version=1, room=room, name=name, wants={"subscribe": mode == "view"}
        )

    # --- the protocol ---

    def ask(self, then, **message):
        self.last_id += 1
        self.pending[self.last_id] = then
        print(json.dumps({**message, "id": self.last_id}), flush=True)

    def read(self):
        for line in sys.stdin:
            GLib.idle_add(self.received, json.loads(line))
        GLib.idle_add(self.loop.quit)

    def received(self, message):
        if then := self.pending.pop(message.get("id"), None):
            if message["type"] == "error":
                print(message, file=sys.stderr)
            then(message)
        elif message["type"] == "offer":
            self.answer(message)

    def joined(self, message):
        GLib.timeout_add(int(message["ping_interval_s"] * 1000), self.ping)
        if self.mode == "publish":
            self.play(CAMERA, MICROPHONE)
            self.peer.connect("on-negotiation-needed", self.offer)
            self.pipeline.set_state(Gst.State.PLAYING)

    def ping(self):
        self.ask(lambda message: None, type="ping")
        return True

    # --- media ---

    def play(self, *sources):
        self.pipeline = Gst.Pipeline()
        self.peer = Gst.ElementFactory.make("webrtcbin")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipeline.add(self.peer)
        for description in sources:
            source = Gst.parse_bin_from_description(description, True)
            self.pipeline.add(source)
            source.link(self.peer)
        self.peer.connect("notify::connection-state", self.connection_state)
        self.pipeline.get_bus().add_signal_watch()
        self.pipeline.get_bus().connect("message::error", self.failed)

    def failed(self, bus, message):
        print(message.parse_error(), file=sys.stderr, flush=True)

    def connection_state(self, peer, _):
        self.counts["states"].append(peer.get_property("connection-state").value_nick)

    def described(self, action, then, argument=None):
        """Make an offer or an answer, and hand over its text when it is set."""

        def made(promise):
            reply = promise.get_reply()  # Owns the description.
            description = reply.get_value("answer" if action == "create-answer" else "offer")
            self.peer.emit("set-local-description", description, None)
            GLib.idle_add(then, description.sdp.as_text())

        self.peer.emit(action, argument, Gst.Promise.new_with_change_func(made))

    def remote(self, kind, text, then):
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        description = GstWebRTC.WebRTCSessionDescription.new(kind, sdp)
        done = Gst.Promise.new_with_change_func(lambda promise: then and GLib.idle_add(then))
        self.peer.emit("set-remote-description", description, done)

    def offer(self, peer):
        def send(sdp):
            kinds = [line.split(" ")[0] for line in sdp.splitlines() if line.startswith("m=")]
            mids = [line[6:] for line in sdp.splitlines() if line.startswith("a=mid:")]
            sources = {"m=video": "camera", "m=audio": "microphone"}
            media = [{"mid": mid, "source": sources[kind]} for mid, kind in zip(mids, kinds, strict=True)]
            self.ask(accepted, type="offer", sdp=sdp, media=media)

        def accepted(message):
            self.remote(GstWebRTC.WebRTCSDPType.ANSWER, message["sdp"], None)

        self.described("create-offer", send)

    def answer(self, message):
        if self.pipeline is None:
            self.play()
            self.peer.connect("pad-added", self.pad_added)
            self.pipeline.set_state(Gst.State.PLAYING)

        def send(sdp):
            self.ask(lambda reply: None, type="answer", seq=message["seq"], sdp=sdp)

        self.remote(
            GstWebRTC.WebRTCSDPType.OFFER, message["sdp"], lambda: self.described("create-answer", send)
        )

    def pad_added(self, peer, pad):
        """Decode what has come, and count it."""
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        decoder = Gst.ElementFactory.make("decodebin")
        decoder.connect("pad-added", self.decoded)
        self.pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    def decoded(self, decoder, pad):
        kind = "video" if pad.get_current_caps().to_string().startswith("video") else "audio"
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("signal-handoffs", True)
        sink.connect("handoff", lambda *_: self.counts.update({kind: self.counts[kind] + 1}))
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))


if __name__ == "__main__":
    Gst.init(None)
    participant = Participant(*sys.argv[1:4])
    participant.loop.run()
    print(json.dumps({"report": participant.counts}), flush=True)
