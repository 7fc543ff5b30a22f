"""The web app's modules, run in a real browser without a server."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page
from web_modules import run

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize(
    ("source", "width", "height", "codec", "rids"),
    [
        ("camera", 1280, 720, "vp8", ["q", "h", "f"]),
        ("camera", 720, 1280, "h264", ["q", "h", "f"]),
        ("camera", 640, 360, "vp8", ["q", "f"]),
        ("camera", 320, 180, "vp8", [None]),
        ("camera", 1280, 720, "vp9", [None]),
        ("camera", 1280, 720, "av1", [None]),
        ("screen", 1920, 1080, "vp8", [None]),
    ],
)
async def test_encodings(
    page: Page, source: str, width: int, height: int, codec: str, rids: list[Any]
) -> None:
    wanted = {"source": source, "width": width, "height": height, "codec": codec}
    encodings = await run(page, "sdk/encodings.js", "return m.videoEncodings(a)", wanted)
    assert [each.get("rid") for each in encodings] == rids
    bitrates = [each["maxBitrate"] for each in encodings]
    assert bitrates == sorted(bitrates)
    assert bitrates[-1] <= 2_500_000


@pytest.mark.parametrize(
    ("source", "width", "codec", "mode"),
    [
        ("camera", 1280, "vp9", "L3T3_KEY"),
        ("camera", 640, "av1", "L2T3_KEY"),
        ("camera", 320, "vp9", "L1T3"),
        ("screen", 1920, "av1", "L1T3"),
        ("screen", 1920, "h264", None),
    ],
)
async def test_one_stream_is_given_layers(
    page: Page, source: str, width: int, codec: str, mode: str | None
) -> None:
    wanted = {"source": source, "width": width, "height": width * 9 // 16, "codec": codec}
    body = "const e = m.videoEncodings(a); return [e, m.withoutLayers(e)]"
    encodings, plain = await run(page, "sdk/encodings.js", body, wanted)
    assert [each.get("scalabilityMode") for each in encodings] == [mode]
    assert plain == [{"maxBitrate": encodings[0]["maxBitrate"]}]


async def test_opus_is_tuned_by_source(page: Page) -> None:
    section = (
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{mid}\r\n"
        "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n"
    )
    sdp = (
        "v=0\r\n"
        + section.format(mid="0")
        + section.format(mid="1")
        + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\n"
    )
    body = "return m.tuneOpus(a, new Map([['0', 'microphone'], ['1', 'screen_audio']]))"
    tuned = str(await run(page, "sdk/encodings.js", body, sdp))
    lines = [line for line in tuned.split("\r\n") if line.startswith("a=fmtp")]
    assert lines[0] == "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1"
    assert "stereo=1" in lines[1]
    assert "usedtx=0" in lines[1]
    assert tuned.endswith("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\n")


async def test_stereo_is_taken_where_it_is_offered(page: Page) -> None:
    line = "m=audio 9 UDP/TLS/RTP/SAVPF {pt}\r\na=mid:{mid}\r\na=rtpmap:{pt} opus/48000/2\r\n"
    fmtp = "a=fmtp:{pt} minptime=10;useinbandfec=1{more}\r\n"
    mono, music, bare = {"pt": 96, "mid": "0"}, {"pt": 97, "mid": "1"}, {"pt": 97, "mid": "2"}
    stereo = ";stereo=1;sprop-stereo=1"
    video = "m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:3\r\n"
    offer = (
        "v=0\r\n" + line.format(**mono) + fmtp.format(more="", **mono)
        + line.format(**music) + fmtp.format(more=stereo, **music)
        + line.format(**bare) + fmtp.format(more=stereo, **bare) + video
    )  # fmt: skip
    answer = (
        "v=0\r\n" + line.format(**mono) + fmtp.format(more="", **mono)
        + line.format(**music) + fmtp.format(more="", **music) + line.format(**bare) + video
    )  # fmt: skip
    taken = str(await run(page, "sdk/encodings.js", "return m.takeStereo(a[0], a[1])", [answer, offer]))
    assert [each for each in taken.split("\r\n") if each.startswith("a=fmtp")] == [
        "a=fmtp:96 minptime=10;useinbandfec=1",
        "a=fmtp:97 minptime=10;useinbandfec=1;stereo=1",
        "a=fmtp:97 stereo=1",
    ]
    assert taken.endswith(video)


async def test_data_messages_survive_the_way_and_garbage_is_none(page: Page) -> None:
    body = """
      const { payload } = m.encodeContent('grüß dich');
      const good = m.unpack(m.pack({ topic: 't', text: true }, payload).buffer);
      const garbage = [[], [0], [0, 9, 1], [0, 1, 65], [255, 255]];
      const bad = garbage.map((each) => m.unpack(new Uint8Array(each).buffer));
      return [good.header.topic, good.text, bad];
    """
    assert await run(page, "sdk/data.js", body) == ["t", "grüß dich", [None] * 5]


async def test_data_content_comes_back_as_it_was(page: Page) -> None:
    body = """
      const back = (content) => {
        const { payload, ...format } = m.encodeContent(content);
        const found = m.unpack(m.pack(format, payload).buffer).content;
        return found instanceof Uint8Array ? ['bytes', ...found] : found;
      };
      return [back('text'), back({ x: [1, null] }), back(7), back(new Uint8Array([0, 255])), back(null)];
    """
    assert await run(page, "sdk/data.js", body) == ["text", {"x": [1, None]}, 7, ["bytes", 0, 255], None]


WIRE = """
  const { pack, unpack } = await import('/static/sdk/data.js');
  const wire = Object.assign(new EventTarget(), {
    sent: [],
    waiting: 0,
    buffered: () => wire.waiting,
    sendData: (label, message) => wire.sent.push([label, unpack(message.buffer)]),
  });
  const say = (type, detail) => wire.dispatchEvent(new CustomEvent(type, { detail }));
  const told = (header, content = null) => say('data', { label: 'reliable', header, content });
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  const requests = [];
  const data = new m.LiveData(async (type, members) => requests.push([type, members]), wire);
"""


async def test_sending_waits_while_the_server_says_stop_and_the_channel_is_full(page: Page) -> None:
    body = (
        WIRE
        + """
      const seen = [];
      told({ flow: 'stop' });
      for (const text of ['a', 'b']) data.send(text, { role: 'owner' }).then(() => seen.push(text));
      await data.send('lossy', { lossy: true });
      await turn();
      seen.push(wire.sent.length);
      wire.waiting = 1e6;
      told({ flow: 'go' });
      await turn();
      seen.push(wire.sent.length, await data.send('stale', { lossy: true }));
      wire.waiting = 0;
      say('drained', { label: 'reliable' });
      await turn();
      told({ flow: 'stop' });
      say('channel', { label: 'reliable' });
      await data.send('new channel');
      return [seen, wire.sent.map(([label, { header, content }]) => [label, header.role ?? '', content])];
    """
    )
    assert await run(page, "sdk/live-data.js", body) == [
        [1, 1, False, "a", "b"],
        [
            ["lossy", "", "lossy"],
            ["reliable", "owner", "a"],
            ["reliable", "owner", "b"],
            ["reliable", "", "new channel"],
        ],
    ]


async def test_data_that_can_not_be_sent_says_why(page: Page) -> None:
    body = (
        WIRE
        + """
      const code = (promise) => promise.then(() => 'sent', (error) => error.code);
      data.sync({ data: { message_bytes: 1000, bytes_per_s: 1e9, messages_per_s: 1e6 }, resumed: false });
      const large = await code(data.send(new Uint8Array(1001)));
      data.sync({ data: {}, resumed: false });
      told({ flow: 'stop' });
      const waiting = Array.from({ length: 9 }, () => code(data.send(new Uint8Array(1_000_000))));
      const full = await waiting[8];
      const { SfuError } = await import('/static/sdk/errors.js');
      data.end(new SfuError('left'));
      return [large, full, await waiting[0], await code(data.send('late'))];
    """
    )
    assert await run(page, "sdk/live-data.js", body) == ["too_large", "slow_receiver", "left", "left"]


async def test_data_events_and_topics_after_coming_back(page: Page) -> None:
    body = (
        WIRE
        + """
      const events = [];
      for (const type of ['message', 'refused', 'cutoff'])
        data.addEventListener(type, ({ detail }) => events.push([type, detail]));
      told({ from: 'PA_1', topic: 't', sent_at_ms: 5, json: true, text: false }, { x: 1 });
      told({ error: 'rate_limited', topic: 't', refused: 3 });
      data.received({ type: 'data_cut_off', topic: null, lost: 4 });
      data.received({ type: 'hands', topic: null, lost: 4 });
      await data.subscribe(['a']);
      data.sync({ resumed: true });
      data.sync({ resumed: false });
      return [events, requests];
    """
    )
    message = {"label": "reliable", "topic": "t", "from": "PA_1", "sent_at_ms": 5}
    assert await run(page, "sdk/live-data.js", body) == [
        [
            ["message", {"message": {**message, "json": True, "text": False, "content": {"x": 1}}}],
            ["refused", {"code": "rate_limited", "topic": "t", "count": 3}],
            ["cutoff", {"topic": None, "lost": 4}],
        ],
        [["data_topics", {"topics": ["a"]}]] * 2,
    ]


async def test_the_shared_state_follows_and_updates_whoever_else_writes(page: Page) -> None:
    body = """
      const { SfuError } = await import('/static/sdk/errors.js');
      const asked = [];
      const state = new m.SharedState(async (type, members) => {
        asked.push([type, members]);
        if (members.if_version === 1) throw new SfuError('conflict', '', { version: 4, value: 10 });
        return { version: 5 };
      });
      const changes = [];
      const note = ({ key, entry }) => changes.push([key, entry?.value ?? null]);
      state.addEventListener('change', ({ detail }) => note(detail));
      state.sync({ state: { version: 1, entries: { n: { value: 1, version: 1 } } } });
      const version = await state.update('n', (value) => value + 1);
      state.received({ type: 'state_patch', key: 'n', version: 5, value: 11, participant: 'PA_1' });
      state.received({ type: 'state_patch', key: 'n', version: 6, deleted: true, participant: 'PA_1' });
      state.received({ type: 'hands', key: 'n' });
      return [version, asked, changes, state.get('n') ?? null, state.version('n')];
    """
    assert await run(page, "sdk/state.js", body) == [
        5,
        [
            ["state_set", {"key": "n", "value": 2, "if_version": 1}],
            ["state_set", {"key": "n", "value": 11, "if_version": 4}],
        ],
        [[None, None], ["n", 11], ["n", None]],
        None,
        0,
    ]


@pytest.mark.parametrize(("width", "height"), [(1256, 714), (344, 560), (1900, 400), (800, 800)])
async def test_grid_places_every_tile_inside_and_apart(page: Page, width: int, height: int) -> None:
    body = "return Array.from({length: 25}, (_, n) => m.grid(n + 1, a[0], a[1]))"
    for boxes in await run(page, "ui/layout.js", body, [width, height]):
        for number, box in enumerate(boxes):
            assert box["left"] >= -0.01
            assert box["top"] >= -0.01
            assert box["left"] + box["width"] <= width + 0.01
            assert box["top"] + box["height"] <= height + 0.01
            for other in boxes[number + 1 :]:
                beside = other["left"] >= box["left"] + box["width"] - 0.01
                below = other["top"] >= box["top"] + box["height"] - 0.01
                assert beside or below


async def test_links_are_links_and_the_rest_is_text(page: Page) -> None:
    body = """
      const box = document.createElement('p');
      box.append(...m.linkify(a));
      return [box.textContent, [...box.querySelectorAll('*')].map((each) => [each.tagName, each.href])];
    """
    text = "<img src=x onerror=alert(1)> see https://example.org/a?b=1, javascript:alert(1)"
    shown, elements = await run(page, "ui/chat.js", body, text)
    assert shown == text
    assert elements == [["A", "https://example.org/a?b=1"]]


async def test_room_names_come_out_of_links(page: Page) -> None:
    given = [" calm-otter ", "https://host:7881/r/a%20b?x#y", "/r/%E0%A4%A", ""]
    assert await run(page, "ui/names.js", "return a.map(m.roomOf)", given) == ["calm-otter", "a b", "", ""]


FAKE_SOCKET = """
  const sockets = [];
  globalThis.WebSocket = class {
    static OPEN = 1;
    readyState = 1;
    sent = [];
    constructor() { sockets.push(this); setTimeout(() => this.onopen?.()); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() { this.readyState = 3; }
    say(message) { this.onmessage({ data: JSON.stringify(message) }); }
    last(type) { return this.sent.findLast((each) => each.type === type); }
  };
  const until = async (check) => {
    for (let i = 0; i < 400 && !check(); i++) await new Promise((done) => setTimeout(done, 10));
    if (!check()) throw new Error(`never: ${check}`);
  };
  const welcome = (socket, id, resumed) => socket.say({
    type: 'joined', id, resumed, participant: { id: 'PA_1' }, secret: 's', ping_interval_s: 10 });
  const signal = new m.Signal('ws://x', () => ({ room: 'r' }));
  const joined = signal.connect();
  await until(() => sockets[0]?.last('join'));
"""


async def test_signal_resumes_and_joins_anew_where_it_cannot(page: Page) -> None:
    body = (
        FAKE_SOCKET
        + """
      welcome(sockets[0], sockets[0].last('join').id, false);
      await joined;
      const lost = signal.request('chat', { text: 'x' }).catch((error) => error.code);
      sockets[0].onclose();
      const code = await lost;
      const waiting = signal.request('mute', {});
      await until(() => sockets[1]?.last('join'));
      const resume = sockets[1].last('join').resume;
      sockets[1].say({ type: 'error', id: sockets[1].last('join').id, code: 'resume_failed', message: '' });
      await until(() => sockets[1].sent.filter((each) => each.type === 'join').length === 2);
      const anew = sockets[1].last('join');
      welcome(sockets[1], anew.id, false);
      await until(() => sockets[1].last('mute'));
      sockets[1].say({ type: 'ok', id: sockets[1].last('mute').id });
      await waiting;
      let closed = null;
      signal.addEventListener('closed', ({ detail }) => (closed = detail.code));
      sockets[1].say({ type: 'closed', code: 'replaced', message: '', reconnect: false });
      return [code, resume, 'resume' in anew, closed, signal.state, sockets.length];
    """
    )
    code, resume, again, closed, state, sockets = await run(page, "sdk/signal.js", body)
    assert code == "disconnected"
    assert resume == {"participant": "PA_1", "secret": "s"}
    assert again is False
    assert (closed, state, sockets) == ("replaced", "closed", 2)


async def test_signal_tells_why_the_first_join_is_refused(page: Page) -> None:
    body = (
        FAKE_SOCKET
        + """
      sockets[0].say({ type: 'error', id: sockets[0].last('join').id, code: 'room_full', message: '' });
      return [await joined.catch((error) => error.code), signal.state];
    """
    )
    assert await run(page, "sdk/signal.js", body) == ["room_full", "closed"]


async def test_publish_reuses_lines_retries_and_tells_refusals(page: Page) -> None:
    body = """
      const { LocalPublication } = await import('/static/sdk/local-publication.js');
      const { SfuError } = await import('/static/sdk/errors.js');
      const far = new RTCPeerConnection();
      let refuse = '', drop = 0, next = 0;
      const negotiate = async (sdp, media) => {
        if (drop-- > 0) throw new SfuError('disconnected');
        await far.setRemoteDescription({ type: 'offer', sdp });
        await far.setLocalDescription();
        const answer = (mid) => (refuse ? { mid, error: refuse } : { mid, publication: `TR_${next++}` });
        return { sdp: far.localDescription.sdp, media: media.map(({ mid }) => answer(mid)) };
      };
      const track = () => {
        const canvas = document.createElement('canvas');
        canvas.width = 320; canvas.height = 180;
        canvas.getContext('2d');
        return canvas.captureStream(5).getVideoTracks()[0];
      };
      const transport = new m.PublishTransport({ negotiate });
      const first = new LocalPublication(track(), 'camera');
      const ready = transport.accepted(first);
      transport.open([], [first]);
      await ready;
      const lines = () => far.remoteDescription.sdp.split('m=').length - 1;
      const seen = [lines()];
      await transport.remove(first);
      seen.push(first.id, lines());
      drop = 2;
      const second = new LocalPublication(track(), 'camera');
      await transport.add(second);
      seen.push(second.id !== null, lines());
      refuse = 'too_many_publications';
      const third = new LocalPublication(track(), 'screen');
      seen.push(await transport.add(third).catch((error) => error.code));
      transport.end(new SfuError('left'));
      far.close();
      return seen;
    """
    seen = await run(page, "sdk/publish-transport.js", body)
    # A data-channel line and one of video, whatever comes and goes.
    assert seen == [2, None, 2, True, 2, "too_many_publications"]


async def test_tiles_say_what_is_to_be_seen(page: Page) -> None:
    body = """
      const publication = (id, source, more = {}) =>
        [id, { id, kind: source === 'microphone' ? 'audio' : 'video', source, muted: false, ...more }];
      const participant = (id, state, publications) =>
        [id, { id, name: id, state, publications: new Map(publications) }];
      const room = {
        self: { id: 'me', name: 'Me' }, state: 'connected', publications: [],
        transports: { publish: 'connected', subscribe: 'connected' },
        participants: new Map([
          participant('a', 'connected', [publication('1', 'camera'), publication('2', 'microphone')]),
          participant('b', 'reconnecting', [
            publication('3', 'camera', { muted: true }), publication('4', 'screen')]),
        ]),
      };
      const subscriptions = new Map([['1', { state: 'paused', reason: 'bandwidth' }]]);
      const views = m.describeTiles(room, { tracks: new Map(), subscriptions, speaking: new Set(['a']) });
      return views.map((v) => [v.key, v.source, v.video, v.muted, v.connection, v.speaking, v.note]);
    """
    assert await run(page, "ui/tile-model.js", body) == [
        ["b/4", "screen", True, True, "connecting", False, ""],
        ["a/face", "camera", True, False, "good", True, "tile.paused.bandwidth"],
        ["b/face", "camera", False, True, "connecting", False, ""],
        ["self/face", "camera", False, True, "good", False, ""],
    ]


async def test_encodings_nobody_watches_are_switched_off_one_change_after_the_other(page: Page) -> None:
    body = """
      const pc = new RTCPeerConnection();
      const sendEncodings = ['q', 'h', 'f'].map((rid) => ({ rid }));
      const { sender } = pc.addTransceiver('video', { direction: 'sendonly', sendEncodings });
      const senders = new m.Senders();
      const active = () => sender.getParameters().encodings.map((each) => each.active);
      const seen = [];
      await senders.activate(sender, [{ rid: 'q', active: true }, { rid: 'f', active: false }]);
      seen.push(active());
      // All at once: none may fail for another that is under way, and the last one counts.
      const track = document.createElement('canvas').captureStream().getVideoTracks()[0];
      await Promise.all([
        senders.activate(sender, [{ active: false }]),
        senders.replaceTrack(sender, track),
        senders.activate(sender, []),
        senders.replaceTrack(sender, null),
        senders.activate(sender, [{ rid: 'q', active: false }]),
      ]);
      seen.push(active());
      await senders.activate(sender, [{ active: false }]);
      seen.push(active());
      pc.close();
      return seen;
    """
    assert await run(page, "sdk/senders.js", body) == [
        [True, True, False],
        [False, True, True],
        [False, False, False],
    ]


@pytest.mark.parametrize(
    ("state", "reason", "note"),
    [
        ("active", "", ""),
        ("paused", "client", ""),
        ("paused", "muted", ""),
        ("paused", "bandwidth", "tile.paused.bandwidth"),
        ("paused", "last_n", "tile.paused.last_n"),
        ("paused", "no_m_line", "tile.paused.no_m_line"),
        ("failed", "codec_unsupported", "tile.failed.codec"),
    ],
)
async def test_a_tile_says_why_it_has_no_picture(page: Page, state: str, reason: str, note: str) -> None:
    body = """
      const camera = { id: 'TR', kind: 'video', source: 'camera', muted: false };
      const ann = { id: 'PA', name: 'Ann', state: 'connected', publications: new Map([['TR', camera]]) };
      const room = {
        participants: new Map([['PA', ann]]), publications: [], self: null,
        transports: { publish: 'connected', subscribe: 'connected' },
      };
      const seen = { tracks: new Map(), speaking: new Set(), subscriptions: new Map([['TR', a]]) };
      const [view] = m.describeTiles(room, seen);
      const { Tile } = await import('/static/ui/tile.js');
      const tile = new Tile({ onPin: () => undefined });
      tile.update(view);
      const shown = tile.element.querySelector('[data-testid="tile-note"]');
      return [view.note, tile.element.dataset.state, shown.hidden ? '' : shown.textContent];
    """
    said, shown_state, text = await run(page, "ui/tile-model.js", body, {"state": state, "reason": reason})
    assert said == note
    if note:
        assert shown_state == state
        texts = {
            "tile.paused.bandwidth": "Video paused: the connection is too slow",
            "tile.paused.last_n": "Video paused: others spoke more recently",
            "tile.paused.no_m_line": "Shown when this person speaks",
            "tile.failed.codec": "This browser cannot play this video",
        }
        assert text == texts[note]


async def test_the_class_follows_what_the_server_says(page: Page) -> None:
    seen = await run(
        page,
        "sdk/classroom.js",
        """
        const asked = [];
        const board = {strokes: [{id: 's', author: 'ann', color: '#000000', width: 5, points: [[1, 1]]}]};
        const request = async (type, members) => (asked.push([type, members]), type === 'board' ? board : {});
        const room = new m.Classroom(request);
        const told = [];
        for (const type of ['change', 'drawn', 'erased', 'reaction', 'broadcast']) {
          room.addEventListener(type, ({detail}) => told.push(detail.what ?? type));
        }
        const poll = {id: 1, question: '?', options: ['a', 'b'], counts: [0, 0], open: true, voted: []};
        room.sync({room: {name: 'r', template: 'classroom', breakouts: []},
          class: {hands: {queue: [], answered: {}}, questions: [], polls: [poll], lobby: null, strokes: 1}});
        await room.votePoll(1, [1]);
        const {voted, ...everybodys} = poll;
        room.received({type: 'poll', poll: {...everybodys, counts: [0, 1]}});
        room.received({type: 'drawn', stroke: {id: 's', points: [[9, 9]]}});
        await room.loadBoard();
        room.received({type: 'drawn', stroke: {id: 's', points: [[2, 2]]}});
        const queue = [{participant: 'PA_b', raised_at_ms: 1}];
        room.received({type: 'hands', hands: {queue, answered: {b: 2}}});
        room.received({type: 'lobby', waiting: [{id: 'WA_1', name: 'Cid'}]});
        room.received({type: 'reaction', participant: 'PA_b', reaction: '👍'});
        const strange = room.received({type: 'from the future'});
        const drawn = room.strokes.get('s').points;
        room.received({type: 'erased', stroke: null});
        const {hands, answered, lobby, strokes, polls} = room;
        return {asked, told, strange, drawn, left: strokes.size, poll: polls.get(1), hands, answered,
          lobby: lobby.length};
        """,
    )
    assert seen["asked"] == [["vote_poll", {"poll": 1, "choices": [1]}], ["board", None]]
    assert seen["poll"]["voted"] == [1], "one's own vote stays known when the counts change"
    assert seen["poll"]["counts"] == [0, 1]
    assert (seen["drawn"], seen["left"]) == ([[1, 1], [2, 2]], 0)
    assert (seen["answered"], seen["lobby"], len(seen["hands"])) == ({"b": 2}, 1, 1)
    assert seen["strange"] is False
    assert seen["told"] == [
        "all", "polls", "polls", "drawn", "board", "drawn", "hands", "lobby", "reaction", "erased",
    ]  # fmt: skip


async def test_the_lobby_waits_and_is_refused_or_joins(page: Page) -> None:
    ended = await run(
        page,
        "sdk/signal.js",
        """
        const sockets = [];
        window.WebSocket = class {
          static OPEN = 1;
          readyState = 1;
          sent = [];
          constructor() { sockets.push(this); setTimeout(() => this.onopen(), 0); }
          send(text) { this.sent.push(JSON.parse(text)); }
          close() { this.readyState = 3; }
          say(message) { this.onmessage({data: JSON.stringify(message)}); }
        };
        const joining = async (last) => {
          const signal = new m.Signal('ws://x', () => ({room: 'r'}));
          const states = [];
          signal.addEventListener('state', ({detail}) => states.push(detail.state));
          const result = signal.connect().then(() => 'joined', (error) => error.code);
          await new Promise((resolve) => setTimeout(resolve, 5));
          const socket = sockets.at(-1);
          socket.say({type: 'waiting', id: socket.sent[0].id, waiting: 'WA_1', ping_interval_s: 10});
          if (last === 'cancel') signal.leave();
          else socket.say(last);
          const how = await result;
          const asked = socket.sent.map((each) => each.type);
          signal.leave();
          return [how, states[1], asked];
        };
        const joined = {type: 'joined', participant: {id: 'PA_1'}, secret: 's'};
        const denied = {type: 'closed', code: 'denied'};
        return [await joining(joined), await joining(denied), await joining('cancel')];
        """,
    )
    assert ended == [
        ["joined", "lobby", ["join"]],
        ["denied", "lobby", ["join"]],
        ["left", "lobby", ["join", "leave"]],
    ]


async def test_an_upload_that_is_aborted_is_given_up(page: Page) -> None:
    asked = await run(
        page,
        "sdk/files.js",
        """
        const asked = [];
        const stop = new AbortController();
        const fetched = window.fetch;
        window.fetch = async (url, { method = 'GET', signal }) => {
          asked.push(`${method} ${url.split('/files')[1]}${signal ? ' with signal' : ''}`);
          if (method === 'PATCH') stop.abort();
          if (signal?.aborted) throw new Error('aborted');
          return new Response(JSON.stringify({ id: 'FI_1', chunk_bytes: 2 }));
        };
        try {
          const files = new m.Files('ws://h/signal', 'r', () => 'me:secret');
          await files.upload(new Blob(['abc']), { signal: stop.signal });
        } catch (error) {
          asked.push(error.code);
        }
        window.fetch = fetched;
        return asked;
        """,
    )
    assert asked == [
        "POST  with signal",
        "PATCH /FI_1?offset=0 with signal",
        "DELETE /FI_1",
        "cancelled",
    ]


async def test_how_old_a_value_is_does_not_depend_on_the_clock_of_its_device(page: Page) -> None:
    found = await run(
        page,
        "sdk/telemetry.js",
        """
        let now = 1000;
        performance.now = () => now;
        const telemetry = new m.Telemetry(() => Promise.resolve());
        const series = { name: 'p', title: 'P', unit: '', low: null, high: null, silent_s: 5 };
        const send = (...samples) => telemetry.received({ type: 'telemetry', participant: 'A', samples });
        telemetry.received({ type: 'telemetry_series', participant: 'A', series: [series] });
        const gauge = telemetry.gauges.get('A').get('p');
        const times = () => gauge.samples.map(([at]) => at);
        const look = () => [m.ageMs(gauge), m.isStale(gauge), m.presentMs(gauge), times()];
        const seen = [look()];
        send(['p', 500_000, 1]);
        now += 4000;
        seen.push(look());
        send(['p', 499_000, 1]); // Late: it says nothing of the present.
        now += 2000;
        seen.push(look());
        send(['p', 506_000, 1], ['p', 506_000, 2]);
        seen.push(look());
        now += 21_000;
        send(['p', 100_000, 1]); // The device's clock was set back.
        seen.push(look());
        const other = { participant: 'B', series: 'q', title: 'Q', unit: '' };
        telemetry.received({ type: 'alarm', alarm: { ...other, state: 'raised' } });
        const raised = telemetry.raised.length;
        telemetry.received({ type: 'alarm', alarm: { ...other, state: 'ended' } });
        delete performance.now;
        return [seen, raised, telemetry.raised.length];
        """,
    )
    assert found == [
        [
            [0, False, 0, []],
            [4000, False, 504_000, [500_000]],
            [6000, True, 506_000, [499_000, 500_000]],
            [0, False, 506_000, [499_000, 500_000, 506_000]],
            [0, False, 100_000, [100_000]],
        ],
        1,
        0,
    ]


async def test_an_upload_is_begun_once_and_waits_as_long_as_the_server_asks(page: Page) -> None:
    pauses, asked, name = await run(
        page,
        "sdk/files.js",
        """
        const { fetch, setTimeout } = window;
        const asked = [];
        const pauses = [];
        const json = (body, how) => new Response(JSON.stringify(body), how);
        const busy = (code, wait) =>
          json({ error: { code, message: '' } }, { status: 429, headers: { 'Retry-After': wait } });
        const answers = [
          busy('rate_limited', '7'),
          null,
          json({ id: 'FI_1', chunk_bytes: 10 }),
          busy('storage_failed', '0'),
          json({ offset: 0 }),
          json({ offset: 3, file: { name: 'a.txt' } }),
        ];
        window.setTimeout = (action, pause) => { pauses.push(pause); action(); };
        window.fetch = async (url, { method = 'GET', headers }) => {
          asked.push([method, headers['Idempotency-Key'] ?? null]);
          const answer = answers.shift();
          if (!answer) throw new TypeError('gone');
          return answer;
        };
        try {
          const files = new m.Files('ws://h/signal', 'r', () => 'me:secret');
          const file = await files.upload(new File(['abc'], 'a.txt'));
          return [pauses, asked, file.name];
        } finally {
          Object.assign(window, { fetch, setTimeout });
        }
        """,
    )
    assert name == "a.txt"
    assert pauses == [7000, 1000, 500]
    assert [method for method, _ in asked] == ["POST", "POST", "POST", "PATCH", "GET", "PATCH"]
    keys = [key for _, key in asked]
    assert len(set(keys[:3])) == 1
    assert keys[0]
    assert keys[3:] == [None] * 3


async def test_a_refusal_for_good_is_not_sent_again(page: Page) -> None:
    asked, code = await run(
        page,
        "sdk/files.js",
        """
        const { fetch } = window;
        let asked = 0;
        window.fetch = async () => {
          asked += 1;
          return new Response(JSON.stringify({ error: { code: 'too_large', message: '' } }), { status: 413 });
        };
        try {
          const files = new m.Files('ws://h/signal', 'r', () => 'me:secret');
          return [asked, await files.upload(new Blob(['abc'])).catch((error) => error.code)].with(0, asked);
        } finally {
          window.fetch = fetch;
        }
        """,
    )
    assert (asked, code) == (1, "too_large")
