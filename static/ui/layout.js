/**
 * Where tiles go. Pure geometry in CSS pixels.
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 */

const GAP = 8;
/** Tiles keep between these, so that a face is never cut to a slit; upright only where the screen is. */
const NARROWEST = { wide: 1.2, upright: 0.8 };
const WIDEST = 16 / 9;
const SMALLEST_TILE = { width: 132, height: 96 };
const STRIP_RATIO = 16 / 10;
/** A stage narrower than this is a strip beside something else: a column of small tiles. */
const NARROW_STAGE = 260;
const SMALLEST_OF_STRIP = { width: 96, height: 60 };

/** @param {number} width @returns {boolean} */
export function isStrip(width) {
  return width < NARROW_STAGE;
}

/**
 * How many tiles of a readable size fit on one page of the grid.
 * @param {number} width
 * @param {number} height
 * @returns {number} 1..25
 */
export function gridCapacity(width, height) {
  const smallest = isStrip(width) ? SMALLEST_OF_STRIP : SMALLEST_TILE;
  const columns = Math.floor((width + GAP) / (smallest.width + GAP));
  const rows = Math.floor((height + GAP) / (smallest.height + GAP));
  return Math.min(25, Math.max(1, columns * rows));
}

/**
 * Tiles as large as possible; rows that are not full stand in the middle.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @returns {Box[]}
 */
export function grid(count, width, height) {
  const best = bestColumns(count, width, height);
  const boxes = [];
  const rows = Math.ceil(count / best.columns);
  const top = (height - rows * best.height - (rows - 1) * GAP) / 2;
  for (let index = 0; index < count; index++) {
    const row = Math.floor(index / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const left = (width - inRow * best.width - (inRow - 1) * GAP) / 2;
    boxes.push({
      left: left + (index % best.columns) * (best.width + GAP),
      top: top + row * (best.height + GAP),
      width: best.width,
      height: best.height,
    });
  }
  return boxes;
}

function bestColumns(count, width, height) {
  const narrowest = width > height ? NARROWEST.wide : NARROWEST.upright;
  let best = { columns: 1, width: 0, height: 0, area: -1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = { width: (width - (columns - 1) * GAP) / columns, height: (height - (rows - 1) * GAP) / rows };
    if (cell.width <= 0 || cell.height <= 0) continue;
    const tile = {
      width: Math.min(cell.width, cell.height * WIDEST),
      height: Math.min(cell.height, cell.width / narrowest),
    };
    const area = tile.width * tile.height;
    if (area > best.area) best = { columns, ...tile, area };
  }
  return best;
}

/**
 * One large tile and a strip of the others: beside it where there is width, else below.
 * @param {number} width
 * @param {number} height
 * @returns {{main: Box, beside: boolean, capacity: number, strip: (count: number) => Box[]}} `capacity`: how many
 *   the strip holds
 */
export function speaker(width, height) {
  const beside = width > height * 1.25;
  const across = beside ? Math.min(220, Math.max(140, width * 0.18)) : Math.min(130, Math.max(72, height * 0.17));
  const size = beside
    ? { width: across, height: across / STRIP_RATIO }
    : { width: across * STRIP_RATIO * 0.8, height: across };
  const main = beside
    ? { left: 0, top: 0, width: width - across - GAP, height }
    : { left: 0, top: 0, width, height: height - across - GAP };
  const along = beside ? height : width;
  const step = (beside ? size.height : size.width) + GAP;
  const capacity = Math.max(1, Math.floor((along + GAP) / step));
  const strip = (count) => {
    const start = Math.max(0, (along - (count * step - GAP)) / 2);
    return Array.from({ length: count }, (_, index) =>
      beside
        ? { left: width - across, top: start + index * step, ...size }
        : { left: start + index * step, top: height - across, ...size },
    );
  };
  return { main, beside, capacity, strip };
}

/**
 * @template T
 * @param {T[]} items
 * @param {number} page counted from 0; one past the end is the last
 * @param {number} capacity
 * @returns {{shown: T[], page: number, pages: number}}
 */
export function paginate(items, page, capacity) {
  const pages = Math.max(1, Math.ceil(items.length / capacity));
  const current = Math.min(Math.max(0, page), pages - 1);
  return { shown: items.slice(current * capacity, (current + 1) * capacity), page: current, pages };
}
