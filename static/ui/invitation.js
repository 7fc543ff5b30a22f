const KEY = 'sfu.token';

/**
 * The token of the link that was opened. It is taken out of the address, which others see, copy and keep in
 * their history, and kept for this tab, so that a reload still has it.
 * @param {string} room the room of the address, empty on the landing page
 * @returns {string} empty without a token for that room
 */
export function takeToken(room) {
  // In the fragment, which browsers send to nobody and servers never log.
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get('token');
  if (token === null) return kept(room);
  if (keep({ room, token })) {
    fragment.delete('token');
    const rest = fragment.size ? `#${fragment}` : '';
    history.replaceState(history.state, '', `${location.pathname}${location.search}${rest}`);
  }
  return token;
}

/**
 * @param {{room: string, token: string}} link
 * @returns {boolean} whether this browser keeps anything
 */
function keep(link) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(link));
    return true;
  } catch {
    return false;
  }
}

/** @param {string} room */
function kept(room) {
  try {
    const link = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
    // One that was given on the landing page is for whatever room is entered from there.
    return link?.room === room || link?.room === '' ? String(link.token) : '';
  } catch {
    return '';
  }
}
