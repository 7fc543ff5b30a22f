import { el } from './dom.js';

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
    const toast = el('div', { class: `toast ${tone}`, testid: 'toast', role, text });
    this.#list.append(toast);
    while (this.#list.children.length > MOST) this.#list.firstElementChild.remove();
    setTimeout(() => toast.remove(), SHOWN_MS);
  }

  /** @param {string} text to be read aloud only */
  announce(text) {
    // Emptied first: the same words twice are news twice.
    this.#live.textContent = '';
    requestAnimationFrame(() => (this.#live.textContent = text));
  }
}
