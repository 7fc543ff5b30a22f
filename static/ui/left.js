import { t } from '../texts/index.js';
import { el } from './dom.js';
import { pageHead } from './page-head.js';

/**
 * After the call, or where one has gone before being let in.
 * @param {{room: string, waited: boolean, rejoin: () => void, home: () => void, relanguage: () => void}} options `waited`:
 *   in the lobby, and no further
 * @returns {{element: HTMLElement, dispose: () => void}}
 */
export function leftPage({ room, waited, rejoin, home, relanguage }) {
  const element = el(
    'div',
    { class: 'page left', testid: 'left' },
    pageHead({ home, relanguage }),
    el(
      'main',
      { class: 'left-main card' },
      el('h1', { text: t(waited ? 'left.waited.title' : 'left.title') }),
      el('p', { text: t(waited ? 'left.waited.text' : 'left.text', { room }) }),
      el(
        'div',
        { class: 'left-actions' },
        el('button', {
          type: 'button',
          class: 'primary big',
          testid: 'left-rejoin',
          text: t(waited ? 'left.waited.again' : 'left.rejoin'),
          on: { click: rejoin },
        }),
        el('button', {
          type: 'button',
          class: 'quiet big',
          testid: 'left-home',
          text: t('left.home'),
          on: { click: home },
        }),
      ),
    ),
  );
  return { element, dispose: () => undefined };
}
