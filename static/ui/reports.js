import { el } from './dom.js';
import { askOfRoom } from './room-api.js';

/**
 * Save a report of the room as a file.
 * @param {import('../sdk/room.js').Room} room
 * @param {string} report below the room in the HTTP API
 * @param {string} name of the file
 * @returns {Promise<boolean>} whether the server gave it
 */
export async function saveReport(room, report, name) {
  // What breaks off is not saved as if it were the whole.
  const content = await askOfRoom(room, report).then((answer) => answer.blob()).catch(() => null);
  if (!content) return false;
  const link = el('a', { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return true;
}
