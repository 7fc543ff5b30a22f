const SVG = 'http://www.w3.org/2000/svg';
const SPAN_MS = 60_000;

/**
 * A line of the minute before now with its thresholds: what is old moves out of it. What it shows is said in words beside it.
 * @param {number} width
 * @param {number} height
 * @returns {{element: SVGElement, draw: (samples: [number, number][], limits: {low: number | null,
 *   high: number | null}, now: number) => void}} `now` is on the samples' clock
 */
export function plot(width, height) {
  const element = make('svg', { viewBox: `0 0 ${width} ${height}`, class: 'plot', 'aria-hidden': 'true', preserveAspectRatio: 'none' });
  const low = make('line', { class: 'plot-limit', x1: 0, x2: width });
  const high = make('line', { class: 'plot-limit', x1: 0, x2: width });
  const line = make('polyline', { class: 'plot-line', fill: 'none' });
  element.append(low, high, line);
  const draw = (samples, limits, now) => {
    const values = samples.map(([, value]) => value);
    const [least, most] = range(values, limits);
    const x = (at) => width - ((now - at) / SPAN_MS) * width;
    const y = (value) => height - 1 - ((value - least) / (most - least)) * (height - 2);
    const sorted = [...samples].sort((a, b) => a[0] - b[0]);
    line.setAttribute('points', sorted.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' '));
    for (const [mark, limit] of [[low, limits.low], [high, limits.high]]) {
      const seen = limit !== null && limit >= least && limit <= most;
      mark.toggleAttribute('hidden', !seen);
      mark.style.display = seen ? '' : 'none';
      if (!seen) continue;
      mark.setAttribute('y1', y(limit).toFixed(1));
      mark.setAttribute('y2', y(limit).toFixed(1));
    }
  };
  return { element, draw };
}

/** Thresholds are in the picture where they are near; a flat line stands in the middle. */
function range(values, { low, high }) {
  let least = Math.min(...values);
  let most = Math.max(...values);
  if (!values.length) return [0, 1];
  const span = most - least || Math.abs(most) * 0.1 || 1;
  if (low !== null && low >= least - span) least = Math.min(least, low);
  if (high !== null && high <= most + span) most = Math.max(most, high);
  const room = (most - least || span) * 0.08;
  return most === least ? [least - span / 2, most + span / 2] : [least - room, most + room];
}

function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
