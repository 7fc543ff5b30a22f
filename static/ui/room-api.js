import { SfuError } from '../sdk/errors.js';

/**
 * Ask the HTTP API about the room, as the participant that one is.
 * @param {import('../sdk/room.js').Room} room
 * @param {string} path below the room
 * @param {object} [body] is sent as JSON, by POST
 * @returns {Promise<Response>} rejects with `SfuError` where the server refuses
 */
export async function askOfRoom({ name, self, secret }, path, body) {
  const answer = await fetch(`/api/v1/rooms/${encodeURIComponent(name)}/${path}`, {
    headers: { Authorization: `Participant ${self.id}:${secret}`, ...(body && { 'Content-Type': 'application/json' }) },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  }).catch((error) => {
    throw new SfuError('disconnected', String(error));
  });
  if (answer.ok) return answer;
  const { error = {} } = await answer.json().catch(() => ({}));
  throw new SfuError(error.code ?? 'internal', error.message);
}
