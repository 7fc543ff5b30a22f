import { recall, remember } from './preferences.js';

const MOST_SEATS = 6;

/**
 * Who one was in a room of a server without tokens, so that one is it again after a crash or a reload.
 *
 * One tab at a time has the browser's seat in a room: another one is somebody else.
 * @typedef {{pass: string, keep: (pass: string) => void, release: () => void}} Seat
 */

/**
 * @param {string} room
 * @param {string} name another name is another person at the same machine
 * @returns {Promise<Seat>} with an empty pass for who is new
 */
export async function takeSeat(room, name) {
  const release = await lock(`sfu.seat.${room}`);
  if (!release) return { pass: '', keep: () => undefined, release: () => undefined };
  const mine = seats().find((each) => each.room === room && each.name === name);
  return {
    pass: mine?.pass ?? '',
    keep: (pass) => {
      const others = seats().filter((each) => each.room !== room);
      if (pass) remember('seats', [{ room, name, pass }, ...others].slice(0, MOST_SEATS));
    },
    release,
  };
}

/** @returns {{room: string, name: string, pass: string}[]} latest first */
function seats() {
  const found = recall('seats', []);
  return Array.isArray(found) ? found.filter((each) => typeof each?.pass === 'string') : [];
}

/**
 * @param {string} name
 * @returns {Promise<(() => void) | null>} gives it back; null where another tab has it
 */
function lock(name) {
  // A page that is not secure has no locks, and no camera either: it gets no seat.
  if (!navigator.locks) return Promise.resolve(null);
  return new Promise((resolve) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (held) => {
        if (held) return new Promise((release) => resolve(() => release(undefined)));
        resolve(null);
        return undefined;
      })
      .catch(() => resolve(null));
  });
}
