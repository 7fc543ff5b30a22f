/**
 * What `getStats` says, as rates between two looks.
 *
 * @typedef {object} StreamStats
 * @property {number | null} bitrateBps media bits per second, all encodings together
 * @property {number} width of the largest picture flowing, 0 without
 * @property {number} height
 * @property {number} fps
 * @property {number | null} loss share of packets lost since the last look, 0..1
 * @property {number | null} rttMs
 * @property {number | null} jitterMs
 * @property {number} freezes since the beginning
 * @property {number} framesDecoded since the beginning
 * @property {string} codec such as `VP8`; empty until known
 * @property {string} layer what of the simulcast flows, such as `q h f`; empty without simulcast
 * @property {string} limitation why the encoder sends less than it could; empty when nothing limits it
 */

/** Keeps the last look at each stream. */
export class StatsSampler {
  #previous = new Map();

  /**
   * @param {string} key names the stream
   * @param {RTCStatsReport} report of its sender or receiver
   * @returns {StreamStats}
   */
  sample(key, report) {
    const all = [...report.values()];
    const inbound = all.filter((each) => each.type === 'inbound-rtp');
    const outbound = all.filter((each) => each.type === 'outbound-rtp');
    const sending = outbound.length > 0;
    const streams = sending ? outbound : inbound;
    const remote = all.filter((each) => each.type === 'remote-inbound-rtp');
    const current = totals(streams, sending, remote);
    const before = this.#previous.get(key);
    this.#previous.set(key, current);
    const seconds = before ? (current.at - before.at) / 1000 : 0;
    const rate = (name) => (seconds > 0 ? Math.max(0, current[name] - before[name]) / seconds : null);
    const top = streams.reduce(larger, undefined);
    const bytes = rate('bytes');
    const pair = all.find((each) => each.type === 'candidate-pair' && each.nominated);
    const rtt = remote[0]?.roundTripTime ?? pair?.currentRoundTripTime ?? null;
    const jitter = (sending ? remote[0] : inbound[0])?.jitter ?? null;
    return {
      bitrateBps: bytes === null ? null : bytes * 8,
      width: top?.frameWidth ?? 0,
      height: top?.frameHeight ?? 0,
      fps: Math.round(top?.framesPerSecond ?? 0),
      loss: lossBetween(before, current),
      rttMs: rtt === null ? null : Math.round(rtt * 1000),
      jitterMs: jitter === null ? null : Math.round(jitter * 1000),
      freezes: inbound[0]?.freezeCount ?? 0,
      framesDecoded: inbound[0]?.framesDecoded ?? 0,
      codec: (report.get(top?.codecId)?.mimeType ?? '').split('/')[1] ?? '',
      layer: outbound
        .filter((each) => each.rid && each.framesPerSecond > 0)
        .map((each) => each.rid)
        .join(' '),
      limitation: top?.qualityLimitationReason === 'none' ? '' : (top?.qualityLimitationReason ?? ''),
    };
  }

  /** @param {(key: string) => boolean} keep streams that still exist */
  prune(keep) {
    for (const key of this.#previous.keys()) if (!keep(key)) this.#previous.delete(key);
  }
}

function totals(streams, sending, remote) {
  const sum = (list, name) => list.reduce((total, each) => total + (each[name] ?? 0), 0);
  return {
    at: streams[0]?.timestamp ?? 0,
    bytes: sum(streams, sending ? 'bytesSent' : 'bytesReceived'),
    packets: sum(streams, sending ? 'packetsSent' : 'packetsReceived'),
    lost: sending ? sum(remote, 'packetsLost') : sum(streams, 'packetsLost'),
  };
}

function lossBetween(before, current) {
  if (!before) return null;
  const lost = Math.max(0, current.lost - before.lost);
  const packets = Math.max(0, current.packets - before.packets);
  return lost + packets > 0 ? Math.min(1, lost / (lost + packets)) : null;
}

function larger(best, stream) {
  const area = (each) => (each.framesPerSecond > 0 || !each.rid ? (each.frameWidth ?? 0) : -1);
  return best === undefined || area(stream) > area(best) ? stream : best;
}
