/** What is sent of a track: simulcast encodings, codec order, Opus parameters. */

/** Codec names the app's `?codec=` takes. */
export const VIDEO_CODECS = Object.freeze(['vp8', 'vp9', 'h264', 'av1']);

const SCREEN_BPS = 2_500_000;
/** Bits per second that one 1280x720 camera picture is worth; other sizes in proportion to their pixels. */
const BPS_720P = 2_200_000;
const PIXELS_720P = 1280 * 720;
const LOWEST_BPS = 120_000;
/** Codecs whose one stream carries pictures of several sizes: the server leaves out what a viewer cannot use. */
const SCALABLE = Object.freeze(['vp9', 'av1']);

/**
 * The `sendEncodings` for a video track, smallest picture first.
 *
 * A small capture gets fewer encodings: a quarter of 640x360 is of use to nobody. VP9 and AV1 are sent once, with
 * as many spatial layers instead. These depend on each other in keyframes only: it costs the encoder less.
 *
 * @param {{source: string, width: number, height: number, codec: string, simulcast?: boolean}} wanted
 * @returns {RTCRtpEncodingParameters[]}
 */
export function videoEncodings({ source, width, height, codec, simulcast = true }) {
  const scalable = SCALABLE.includes(codec);
  if (source === 'screen') return [{ maxBitrate: SCREEN_BPS, ...(scalable ? { scalabilityMode: 'L1T3' } : {}) }];
  const full = bitrate(width * height);
  if (!simulcast) return [{ maxBitrate: full }];
  const longest = Math.max(width, height);
  if (scalable) return [{ maxBitrate: full, scalabilityMode: scalability(longest) }];
  // Temporal layers let the server halve a frame rate without asking for anything.
  const layers = codec === 'vp8' ? { scalabilityMode: 'L1T3' } : {};
  const encoding = (rid, scale, maxBitrate) => ({ rid, scaleResolutionDownBy: scale, maxBitrate, ...layers });
  if (longest >= 960) {
    return [encoding('q', 4, 150_000), encoding('h', 2, 500_000), encoding('f', 1, full)];
  }
  if (longest >= 480) return [encoding('q', 2, 150_000), encoding('f', 1, full)];
  return [{ maxBitrate: full }];
}

function scalability(longest) {
  if (longest >= 960) return 'L3T3_KEY';
  return longest >= 480 ? 'L2T3_KEY' : 'L1T3';
}

/**
 * The same without layers within a stream, for browsers that refuse the modes named.
 * @param {RTCRtpEncodingParameters[]} encodings
 * @returns {RTCRtpEncodingParameters[]}
 */
export function withoutLayers(encodings) {
  return encodings.map(({ scalabilityMode: _, ...rest }) => rest);
}

function bitrate(pixels) {
  // Larger pictures need fewer bits per pixel.
  const share = Math.pow((pixels || PIXELS_720P) / PIXELS_720P, 0.75);
  return Math.max(LOWEST_BPS, Math.round((BPS_720P * share) / 10_000) * 10_000);
}

/**
 * Capabilities with the wanted codec first; the others stay behind it, so that a server without it still
 * finds one.
 * @param {readonly RTCRtpCodec[]} codecs of `RTCRtpSender.getCapabilities`
 * @param {string} wanted lower-case name
 * @returns {RTCRtpCodec[]}
 */
export function preferCodec(codecs, wanted) {
  const rank = (codec) => {
    const name = codec.mimeType.split('/')[1].toLowerCase();
    if (name !== wanted) return 2;
    // H264 in packetization mode 1 is what every receiver takes.
    return name === 'h264' && !/packetization-mode=1/.test(codec.sdpFmtpLine ?? '') ? 1 : 0;
  };
  return [...codecs].sort((a, b) => rank(a) - rank(b));
}

const VOICE = { useinbandfec: '1', usedtx: '1' };
const MUSIC = { useinbandfec: '1', usedtx: '0', stereo: '1', 'sprop-stereo': '1', maxaveragebitrate: '128000' };

/**
 * The answer with what this browser shall send as Opus: an fmtp line tells the other side's encoder what its
 * writer wants, so the sender's own wish is put into the answer before it is applied.
 *
 * Speech is sent with forward error correction and without packets for silence, a shared tab's sound in stereo.
 *
 * @param {string} sdp
 * @param {ReadonlyMap<string, string>} sources of each mid
 * @returns {string}
 */
export function tuneOpus(sdp, sources) {
  const [session, ...sections] = sdp.split(/^(?=m=)/m);
  return session + sections.map((section) => tuneSection(section, sources)).join('');
}

function tuneSection(section, sources) {
  const payloadType = /^a=rtpmap:(\d+) opus\//im.exec(section)?.[1];
  if (!section.startsWith('m=audio') || !payloadType) return section;
  const mid = /^a=mid:(\S+)/m.exec(section)?.[1] ?? '';
  const wanted = sources.get(mid) === 'screen_audio' ? MUSIC : VOICE;
  const line = new RegExp(`^a=fmtp:${payloadType} ([^\\r\\n]*)`, 'm');
  const given = line.exec(section)?.[1] ?? '';
  const parameters = new Map(
    given
      .split(';')
      .filter(Boolean)
      .map((each) => each.trim().split('=')),
  );
  for (const [name, value] of Object.entries(wanted)) parameters.set(name, value);
  const fmtp = `a=fmtp:${payloadType} ${[...parameters].map(([name, value]) => `${name}=${value}`).join(';')}`;
  if (given) return section.replace(line, fmtp);
  return section.replace(new RegExp(`^(a=rtpmap:${payloadType} [^\\r\\n]*)`, 'm'), `$1\r\n${fmtp}`);
}
