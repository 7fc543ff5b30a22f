import { t } from '../texts/index.js';
import { el } from './dom.js';

/**
 * Covers the page while somebody decides whether to let one in.
 * @param {import('../sdk/room.js').Room} room that is being joined
 * @returns {{dispose: () => void}}
 */
export function lobbyScreen(room) {
  const element = el(
    'div',
    { class: 'lobby-screen', testid: 'lobby-screen', role: 'status' },
    el(
      'div',
      { class: 'card' },
      el('span', { class: 'spinner' }),
      el('h2', { text: t('lobby.title') }),
      el('p', { text: t('lobby.text', { room: room.name }) }),
      el('button', {
        type: 'button',
        class: 'quiet',
        testid: 'lobby-cancel',
        text: t('lobby.cancel'),
        on: { click: () => room.leave() },
      }),
    ),
  );
  const show = ({ detail }) => {
    if (detail.state === 'lobby') document.body.append(element);
    else element.remove();
  };
  room.addEventListener('state', show);
  return {
    dispose() {
      room.removeEventListener('state', show);
      element.remove();
    },
  };
}
