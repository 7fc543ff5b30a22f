/** What the browser remembers between visits. Without storage everything still works, and is forgotten. */

const PREFIX = 'sfu.';
const MOST_ROOMS = 6;

/**
 * @template T
 * @param {string} key
 * @param {T} fallback
 * @returns {T}
 */
export function recall(key, fallback) {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/**
 * @param {string} key
 * @param {unknown} value
 */
export function remember(key, value) {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Private windows may refuse.
  }
}

/** @returns {string[]} names, latest first */
export function recentRooms() {
  const rooms = recall('rooms', []);
  return Array.isArray(rooms) ? rooms.filter((each) => typeof each === 'string') : [];
}

/** @param {string} room which was just joined */
export function rememberRoom(room) {
  remember('rooms', [room, ...recentRooms().filter((each) => each !== room)].slice(0, MOST_ROOMS));
}

/** @param {string} room */
export function forgetRoom(room) {
  remember(
    'rooms',
    recentRooms().filter((each) => each !== room),
  );
}
