import { t } from '../texts/index.js';
import { el, iconButton } from './dom.js';

const SHOWN_MS = 5_000;
const MOST = 4;

/** Short messages that go away by themselves, and the line that is read aloud. */
export class Toasts {
  #list;
  #live;

  constructor() {
    this.#list = el('div', { class: 'toasts' });
    this.#live = el('div', {
      class: 'hidden-visually',
      role: 'status',
      'aria-live': 'polite',
      testid: 'announcer',
    });
    this.element = el('div', {}, this.#list, this.#live);
  }

  /**
   * @param {string} text
   * @param {'info' | 'good' | 'bad'} [tone]
   */
  show(text, tone = 'info') {
    const role = tone === 'bad' ? 'alert' : 'status';
    this.#add(el('div', { class: `toast ${tone}`, testid: 'toast', role, text }));
  }

  /** @param {string} text to be seen for a while, and read aloud */
  tell(text) {
    this.#add(el('div', { class: 'toast info', testid: 'toast', text }));
    this.announce(text);
  }

  /** @param {string} text to be read aloud, and seen until somebody puts it away */
  keep(text) {
    const close = iconButton({ testid: 'toast-close', icon: 'close', label: t('dialog.close'), class: 'bare', on: () => {
      toast.remove();
      this.#list.querySelector('button')?.focus();
    } });
    const toast = el('div', { class: 'toast info kept', testid: 'toast' }, el('span', { text }), close);
    this.#list.append(toast);
    while (this.#list.querySelectorAll('.kept').length > MOST) this.#list.querySelector('.kept').remove();
    this.announce(text);
  }

  #add(toast) {
    this.#list.append(toast);
    const passing = this.#list.querySelectorAll('.toast:not(.kept)');
    for (const old of [...passing].slice(0, -MOST)) old.remove();
    setTimeout(() => toast.remove(), SHOWN_MS);
  }

  /** @param {string} text to be read aloud only */
  announce(text) {
    // Emptied first: the same words twice are news twice.
    this.#live.textContent = '';
    requestAnimationFrame(() => (this.#live.textContent = text));
  }
}
