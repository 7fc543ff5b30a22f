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
 * A description of the publish leg with what this browser shall send as Opus.
 *
 * In the answer it is for this browser: an fmtp line tells the other side's encoder what its writer wants, so the
 * sender's own wish is put in before the answer is applied. In the offer it is for the server, which tells those
 * who listen: browsers play stereo only where they are told.
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

/**
 * An answer of the subscribe leg that takes stereo wherever the offer has it: by themselves some browsers play it
 * as mono.
 *
 * @param {string} sdp the answer
 * @param {string} offer
 * @returns {string}
 */
export function takeStereo(sdp, offer) {
  const stereo = new Set(
    offer
      .split(/^(?=m=)/m)
      .filter((section) => opus(section)?.parameters.get('stereo') === '1')
      .map(midOf),
  );
  const [session, ...sections] = sdp.split(/^(?=m=)/m);
  const taken = (section) => (stereo.has(midOf(section)) ? withOpus(section, { stereo: '1' }) : section);
  return session + sections.map(taken).join('');
}

function tuneSection(section, sources) {
  return withOpus(section, sources.get(midOf(section)) === 'screen_audio' ? MUSIC : VOICE);
}

function midOf(section) {
  return /^a=mid:(\S+)/m.exec(section)?.[1] ?? '';
}

/** Payload type and parameters of Opus in an m-line, null where it has none. */
function opus(section) {
  const payloadType = /^a=rtpmap:(\d+) opus\//im.exec(section)?.[1];
  if (!section.startsWith('m=audio') || !payloadType) return null;
  const given = new RegExp(`^a=fmtp:${payloadType} ([^\\r\\n]*)`, 'm').exec(section)?.[1] ?? '';
  const pairs = given
    .split(';')
    .filter(Boolean)
    .map((each) => each.trim().split('='));
  return { payloadType, given, parameters: new Map(pairs) };
}

function withOpus(section, wanted) {
  const found = opus(section);
  if (!found) return section;
  const { payloadType, given, parameters } = found;
  for (const [name, value] of Object.entries(wanted)) parameters.set(name, value);
  const fmtp = `a=fmtp:${payloadType} ${[...parameters].map(([name, value]) => `${name}=${value}`).join(';')}`;
  if (given) return section.replace(new RegExp(`^a=fmtp:${payloadType} [^\\r\\n]*`, 'm'), fmtp);
  return section.replace(new RegExp(`^(a=rtpmap:${payloadType} [^\\r\\n]*)`, 'm'), `$1\r\n${fmtp}`);
}
