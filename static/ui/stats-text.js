import { t } from '../texts/index.js';

/**
 * @param {import('../sdk/stats.js').StreamStats & {estimateBps?: number, sent?: string, reason?: string}} stats
 *   with what the server says of it, where it said anything
 * @param {boolean} local
 * @returns {string} one line for each thing that is known
 */
export function statsText(stats, local) {
  const { width, height, fps, bitrateBps, loss, rttMs, jitterMs, codec, layer, freezes, limitation } = stats;
  const lines = [`${local ? '↑' : '↓'} ${t(local ? 'stats.up' : 'stats.down')}`];
  const add = (key, value) => lines.push(`${t(key)}  ${value}`);
  if (width) add('stats.picture', `${width}×${height} @ ${fps}`);
  if (bitrateBps !== null) add('stats.bitrate', formatBitrate(bitrateBps));
  if (loss !== null) add('stats.loss', `${(loss * 100).toFixed(1)} %`);
  if (rttMs !== null) add('stats.rtt', `${rttMs} ms`);
  if (jitterMs !== null) add('stats.jitter', `${jitterMs} ms`);
  if (codec) add('stats.codec', codec);
  if (layer) add('stats.layer', layer);
  if (freezes) add('stats.freezes', freezes);
  const { estimateBps, sent, reason } = stats;
  if (sent) add('stats.layer', sent);
  if (estimateBps) add('stats.estimate', formatBitrate(estimateBps));
  if (reason) add('stats.because', t(`stats.because.${reason}`));
  if (limitation) add('stats.limit', limitation);
  return lines.join('\n');
}

/**
 * @param {number} bps
 * @returns {string}
 */
export function formatBitrate(bps) {
  return bps >= 1_000_000 ? `${(bps / 1_000_000).toFixed(2)} Mb/s` : `${Math.round(bps / 1000)} kb/s`;
}
