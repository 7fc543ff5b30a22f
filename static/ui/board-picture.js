/** The whiteboard as a picture: on a canvas, as SVG text, as a PNG. */

/** Coordinates are 0 to this in both directions, on a board of 16:9. */
export const SIZE = 10_000;

const WIDTH = 1600;
const HEIGHT = 900;

/**
 * @param {CanvasRenderingContext2D} context of a canvas of 16:9
 * @param {{color: string, width: number, points: [number, number][]}} stroke
 */
export function drawStroke(context, { color, width, points }) {
  const { canvas } = context;
  const at = ([x, y]) => [(x / SIZE) * canvas.width, (y / SIZE) * canvas.height];
  context.strokeStyle = color;
  context.lineWidth = (width / SIZE) * canvas.width;
  context.lineCap = 'round';
  context.lineJoin = 'round';
  context.beginPath();
  context.moveTo(...at(points[0]));
  // A single point is a line of no length, which round ends make a dot.
  for (const point of points.length > 1 ? points.slice(1) : points) context.lineTo(...at(point));
  context.stroke();
}

/**
 * @param {{color: string, width: number, points: [number, number][]}[]} strokes
 * @returns {string} a document; colours and numbers only, nothing that anybody wrote
 */
export function boardSvg(strokes) {
  const scaled = ([x, y]) => `${((x / SIZE) * WIDTH).toFixed(1)},${((y / SIZE) * HEIGHT).toFixed(1)}`;
  const lines = strokes
    .filter(({ color }) => /^#[0-9a-f]{6}$/.test(color))
    .map(({ color, width, points }) => {
      const line = (points.length > 1 ? points : [points[0], points[0]]).map(scaled).join(' ');
      return `<polyline points="${line}" stroke="${color}" stroke-width="${((Number(width) / SIZE) * WIDTH).toFixed(1)}"/>`;
    });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    '<g fill="none" stroke-linecap="round" stroke-linejoin="round">',
    ...lines,
    '</g></svg>',
  ].join('\n');
}

/**
 * @param {{color: string, width: number, points: [number, number][]}[]} strokes
 * @returns {Promise<Blob>} a PNG
 */
export function boardBlob(strokes) {
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext('2d');
  context.fillStyle = '#ffffff';
  context.fillRect(0, 0, WIDTH, HEIGHT);
  for (const stroke of strokes) drawStroke(context, stroke);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}
