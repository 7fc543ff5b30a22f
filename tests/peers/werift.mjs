// A viewer with werift as it is shipped. See bridge.py for the lines it speaks. Usage: werift.mjs ROOM NAME FILE.ivf
import fs from 'node:fs';
import readline from 'node:readline';
import {
  RTCPeerConnection, Vp8RtpPayload, useAbsSendTime, useSdesMid, useTransportWideCC,
} from 'werift';

const [room, name, file] = process.argv.slice(2);
const pending = new Map();
const pictures = [];
const counts = {}; // of pictures, by width: keyframes tell it, and it holds until the next
let width = 0, lastId = 0, peer = null, work = Promise.resolve();

function ask(message) {
  const id = ++lastId;
  process.stdout.write(`${JSON.stringify({ ...message, id })}\n`);
  return new Promise((resolve) => pending.set(id, resolve));
}

// Put the packets of each picture together: werift hands out RTP.
function keep(track) {
  let parts = [], timestamp = null;
  track.onReceiveRtp.subscribe((packet) => {
    if (!packet.payload.length) return;
    if (packet.header.timestamp !== timestamp) parts = [];
    timestamp = packet.header.timestamp;
    parts.push(Vp8RtpPayload.deSerialize(packet.payload).payload);
    if (!packet.header.marker) return;
    const picture = Buffer.concat(parts);
    pictures.push(picture);
    if (!(picture[0] & 1)) width = picture.readUInt16LE(6) & 0x3fff;
    counts[width] = (counts[width] ?? 0) + 1;
  });
}

async function answer({ seq, sdp }) {
  if (!peer) {
    // It knows the extension for transport-wide feedback, and its codecs ask for none.
    const extensions = [useSdesMid(), useAbsSendTime(), useTransportWideCC()];
    peer = new RTCPeerConnection({
      bundlePolicy: 'max-bundle', headerExtensions: { audio: extensions, video: extensions },
    });
    peer.connectionStateChange.subscribe((state) => console.error('subscribe transport', state));
    peer.onTrack.subscribe((track) => track.kind === 'video' && keep(track));
  }
  await peer.setRemoteDescription({ type: 'offer', sdp });
  await peer.setLocalDescription(await peer.createAnswer());
  const reply = await ask({ type: 'answer', seq, sdp: peer.localDescription.sdp });
  if (reply.type !== 'ok') console.error(reply);
}

function report(then) {
  process.stdout.write(`${JSON.stringify({ report: counts })}\n`, then);
}

function save() {
  const head = Buffer.alloc(32);
  head.write('DKIF'); head.writeUInt16LE(32, 6); head.write('VP80', 8);
  head.writeUInt32LE(25, 16); head.writeUInt32LE(1, 20); head.writeUInt32LE(pictures.length, 24);
  const frames = pictures.flatMap((picture, index) => {
    const start = Buffer.alloc(12);
    start.writeUInt32LE(picture.length, 0); start.writeBigUInt64LE(BigInt(index), 4);
    return [start, picture];
  });
  fs.writeFileSync(file, Buffer.concat([head, ...frames]));
}

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const message = JSON.parse(line);
  if (pending.has(message.id)) {
    pending.get(message.id)(message);
    pending.delete(message.id);
  } else if (message.type === 'offer') {
    work = work.then(() => answer(message)).catch((error) => console.error(error));
  }
});
lines.on('close', () => {
  save();
  report(() => process.exit(0));
});

const joined = await ask({ type: 'join', version: 1, room, name, wants: { audio: false } });
setInterval(() => ask({ type: 'ping' }), joined.ping_interval_s * 1000);
setInterval(report, 1000);
