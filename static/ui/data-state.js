import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { el, iconButton, refill } from './dom.js';

/** Characters of a value that are shown; the rest is for programs. */
const LONGEST = 400;

/** The shared state as it is, live, and for who may a form that changes it. */
export class StateSection {
  name = 'state';
  title = t('state.title');
  #room;
  #onError;
  #list = el('ul', { class: 'state-list', testid: 'state-list', 'aria-live': 'polite', 'aria-relevant': 'additions text' });
  #form;
  #key;
  #value;
  #seen = '';
  #follow;
  #except;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{onError: (text: string) => void, redraw: () => void, news: () => void, except: string[]}} options `news`: another
   *   has changed something; `except` are keys that are shown elsewhere
   */
  constructor(room, { onError, redraw, news, except }) {
    this.#room = room;
    this.#onError = onError;
    this.#except = except;
    this.#follow = ({ detail: { key, participant } }) => {
      if (key !== null && participant !== room.self?.id) news();
      redraw();
    };
    const field = (testid, key, maxlength) =>
      el('input', { testid, maxlength, placeholder: t(key), 'aria-label': t(key), autocomplete: 'off', spellcheck: 'false' });
    this.#key = field('state-key', 'state.key', 128);
    this.#value = field('state-value', 'state.value', 16000);
    this.#form = el(
      'form',
      { class: 'data-form', on: { submit: (event) => this.#set(event) } },
      this.#key,
      el(
        'div',
        { class: 'data-row' },
        this.#value,
        el('button', { type: 'submit', class: 'primary', testid: 'state-set', text: t('state.set') }),
      ),
    );
    this.element = el('div', { class: 'data-content' }, this.#list, this.#form);
    room.shared.addEventListener('change', this.#follow);
  }

  dispose() {
    this.#room.shared.removeEventListener('change', this.#follow);
  }

  update() {
    const { self, shared } = this.#room;
    const may = Boolean(self?.grants.data && !self.grants.hidden);
    const entries = [...shared.entries].filter(([key]) => !this.#except.includes(key));
    const seen = JSON.stringify([may, entries.map(([key, { version }]) => [key, version])]);
    // What is the same stays as it is: a button that is being pressed is not taken away.
    if (seen === this.#seen) return;
    this.#seen = seen;
    this.#form.hidden = !may;
    refill(
      this.#list,
      ...entries.map(([key, { value, version }]) => this.#entry(key, value, version, may)),
      ...(entries.length ? [] : [el('li', { class: 'class-empty', text: t('state.empty') })]),
    );
  }

  #entry(key, value, version, may) {
    const text = JSON.stringify(value);
    const remove = iconButton({
      testid: 'state-delete',
      icon: 'close',
      label: t('state.delete', { key }),
      on: () => this.#ask(this.#room.shared.delete(key, { ifVersion: version })),
    });
    return el(
      'li',
      { testid: 'state-entry', data: { key } },
      el('div', {}, el('b', { text: key }), el('small', { text: t('state.version', { version }) })),
      may && remove,
      el('code', { text: text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text }),
    );
  }

  async #set(event) {
    event.preventDefault();
    const key = this.#key.value.trim();
    if (!key) return;
    if (await this.#ask(this.#room.shared.set(key, parsed(this.#value.value)))) this.#value.value = '';
  }

  async #ask(asked) {
    try {
      await asked;
      return true;
    } catch (error) {
      this.#onError(t(messageKey(error.code)));
      return false;
    }
  }
}

/**
 * @param {string} text
 * @returns {any} the JSON it is, or else the text itself
 */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
