import { t } from '../texts/index.js';
import { toIdentities, toNames } from './chat-text.js';
import { el, iconButton } from './dom.js';
import { icon } from './icons.js';

const MOST_CHARACTERS = 4000;
const SUGGESTIONS = 5;
const TYPING_MS = 2000;

/** Where one writes: to whom, a new message or an edited one, with names to mention. */
export class Composer {
  #people;
  #away;
  #act;
  #input;
  #to;
  #banner;
  #suggestions;
  #editing = null;
  #typedAt = 0;

  /**
   * @param {() => {id: string, name: string, identity: string}[]} people the others who are here
   * @param {() => {id: string, name: string, identity: string}[]} away who was; their `id` is the identity
   * @param {{submit: (text: string, to: string | null, editing: object | null) => Promise<boolean>,
   *   typing: (to: string | null) => void, attach: (files: Iterable<File>) => void}} act `submit` says whether it was done
   */
  constructor(people, away, act) {
    this.#people = people;
    this.#away = away;
    this.#act = act;
    this.#input = el('textarea', {
      rows: 1,
      testid: 'chat-input',
      'aria-label': t('chat.input'),
      placeholder: t('chat.placeholder'),
      maxlength: MOST_CHARACTERS,
      autocomplete: 'off',
      on: {
        keydown: (event) => this.#key(event),
        input: () => this.#changed(),
        paste: (event) => this.#pasted(event),
      },
    });
    this.#to = el('select', { testid: 'chat-to', 'aria-label': t('chat.to') });
    this.#suggestions = el('div', { class: 'chat-suggestions', testid: 'chat-suggestions', role: 'group', hidden: true });
    this.#suggestions.setAttribute('aria-label', t('chat.mention'));
    this.#banner = el(
      'p',
      { class: 'chat-editing', testid: 'chat-editing', hidden: true },
      el('span', { text: t('chat.editing') }),
      iconButton({ testid: 'chat-editing-stop', icon: 'close', label: t('chat.editing.stop'), on: () => this.edit(null) }),
    );
    const send = el(
      'button',
      { type: 'submit', class: 'primary send', testid: 'chat-send', 'aria-label': t('chat.send'), title: t('chat.send') },
      icon('send'),
    );
    this.element = el(
      'form',
      { class: 'chat-form', on: { submit: (event) => this.#submit(event) } },
      this.#banner,
      el('label', { class: 'chat-to' }, el('span', { text: t('chat.to') }), this.#to),
      this.#suggestions,
      el('div', { class: 'chat-row' }, this.#attachButton(), this.#input, send),
    );
    this.updateRecipients();
  }

  get to() {
    return this.#to.value || null;
  }

  get input() {
    return this.#input;
  }

  focus() {
    this.#input.focus();
  }

  /** @param {string} participant whom the next message is for */
  writeTo(participant) {
    this.#to.value = participant;
    this.focus();
  }

  /** People came or went. */
  updateRecipients() {
    const chosen = this.#to.selectedOptions[0];
    const option = (each, text) => el('option', { value: each.id, text, data: { identity: each.identity } });
    this.#to.replaceChildren(
      el('option', { value: '', text: t('chat.everyone') }),
      ...this.#people().map((each) => option(each, each.name)),
      ...this.#away().map((each) => option(each, t('chat.away', { name: each.name }))),
    );
    if (!chosen?.value) return;
    // Who leaves while something is written to them alone: it must not go to everybody.
    const { identity } = chosen.dataset;
    const still = [...this.#to.options].find((each) => each.dataset.identity === identity);
    if (!still) this.#to.append(option({ id: identity, identity }, chosen.textContent));
    this.#to.value = still ? still.value : identity;
  }

  /**
   * @param {import('../sdk/chat.js').ChatMessage | null} message to be edited; null: a new one is written
   * @param {Map<string, string>} [names] of whom it mentions
   */
  edit(message, names = new Map()) {
    this.#editing = message;
    this.#banner.hidden = message === null;
    this.#input.value = message ? toNames(message.text, names) : '';
    this.#grow();
    this.focus();
  }

  #attachButton() {
    const chooser = el('input', {
      type: 'file',
      multiple: true,
      testid: 'chat-files',
      'aria-label': t('chat.file.add'),
      hidden: true,
      on: {
        change: () => {
          this.#act.attach([...chooser.files]);
          chooser.value = '';
        },
      },
    });
    const button = iconButton({ testid: 'chat-attach', icon: 'clip', label: t('chat.file.add'), on: () => chooser.click() });
    return el('span', { class: 'chat-attach' }, button, chooser);
  }

  #pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.#act.attach(files);
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Escape' && (this.#editing || !this.#suggestions.hidden)) {
      event.preventDefault();
      event.stopPropagation();
      if (this.#suggestions.hidden) this.edit(null);
      this.#suggestions.hidden = true;
    } else if (event.key === 'Tab' && !event.shiftKey && !this.#suggestions.hidden) {
      event.preventDefault();
      this.#suggestions.querySelector('button').click();
    } else if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.element.requestSubmit();
    }
  }

  #changed() {
    this.#grow();
    this.#suggest();
    const now = performance.now();
    if (this.#input.value && !this.#editing && now - this.#typedAt > TYPING_MS) {
      this.#typedAt = now;
      this.#act.typing(this.to);
    }
  }

  #suggest() {
    const before = this.#input.value.slice(0, this.#input.selectionStart);
    const begun = /(?:^|\s)@([^\s@]*)$/.exec(before)?.[1];
    const fits = (each) => each.name.toLowerCase().startsWith(begun.toLowerCase());
    const found = begun === undefined ? [] : this.#people().filter(fits).slice(0, SUGGESTIONS);
    this.#suggestions.replaceChildren(
      ...found.map((each) =>
        el('button', { type: 'button', text: `@${each.name}`, on: { click: () => this.#mention(each.name, begun.length) } }),
      ),
    );
    this.#suggestions.hidden = found.length === 0;
  }

  #mention(name, begun) {
    const caret = this.#input.selectionStart;
    this.#input.setRangeText(`${name} `, caret - begun, caret, 'end');
    this.#suggestions.hidden = true;
    this.focus();
  }

  #grow() {
    this.#input.style.setProperty('height', 'auto');
    this.#input.style.setProperty('height', `${Math.min(120, this.#input.scrollHeight)}px`);
  }

  async #submit(event) {
    event.preventDefault();
    const written = this.#input.value.trim();
    if (!written) return;
    const editing = this.#editing;
    this.#suggestions.hidden = true;
    this.edit(null);
    this.#typedAt = 0;
    const done = await this.#act.submit(toIdentities(written, this.#people()), this.to, editing);
    if (done || this.#input.value) return;
    if (editing) this.edit(editing);
    this.#input.value = written;
    this.#grow();
  }
}
