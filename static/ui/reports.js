import { el } from './dom.js';

/**
 * Save a report of the room as a file.
 * @param {import('../sdk/room.js').Room} room
 * @param {string} report below the room in the HTTP API
 * @param {string} name of the file
 * @returns {Promise<boolean>} whether the server gave it
 */
export async function saveReport({ name: room, self, secret }, report, name) {
  const url = `/api/v1/rooms/${encodeURIComponent(room)}/${report}`;
  const answer = await fetch(url, { headers: { Authorization: `Participant ${self.id}:${secret}` } }).catch(() => null);
  // What breaks off is not saved as if it were the whole.
  const content = answer?.ok ? await answer.blob().catch(() => null) : null;
  if (!content) return false;
  const link = el('a', { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return true;
}
