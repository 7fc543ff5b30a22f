import { t } from '../texts/index.js';
import { el } from './dom.js';
import { pageHead } from './page-head.js';

/**
 * After the call.
 * @param {{room: string, rejoin: () => void, home: () => void, relanguage: () => void}} options
 * @returns {{element: HTMLElement, dispose: () => void}}
 */
export function leftPage({ room, rejoin, home, relanguage }) {
  const element = el(
    'div',
    { class: 'page left', testid: 'left' },
    pageHead({ home, relanguage }),
    el(
      'main',
      { class: 'left-main card' },
      el('h1', { text: t('left.title') }),
      el('p', { text: t('left.text', { room }) }),
      el(
        'div',
        { class: 'left-actions' },
        el('button', {
          type: 'button',
          class: 'primary big',
          testid: 'left-rejoin',
          text: t('left.rejoin'),
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
