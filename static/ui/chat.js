import { messageKey } from '../sdk/errors.js';
import { language, t } from '../texts/index.js';
import { panelHead } from './dialogs.js';
import { avatar, el } from './dom.js';
import { icon } from './icons.js';

const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g;
const MOST_CHARACTERS = 4000;

/**
 * A message's text as nodes: links can be clicked, everything else is text.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function linkify(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    nodes.push(text.slice(end, match.index));
    nodes.push(el('a', { href: match[0], target: '_blank', rel: 'noopener noreferrer', text: match[0] }));
    end = match.index + match[0].length;
  }
  nodes.push(text.slice(end));
  return nodes.filter((each) => each !== '');
}

/** The chat panel. */
export class ChatPanel {
  #room;
  #shown = new Set();
  #lastFrom = '';
  #onError;
  #list;
  #empty;
  #input;
  #to;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{close: () => void, onError: (text: string) => void}} options
   */
  constructor(room, { close, onError }) {
    this.#room = room;
    this.#onError = onError;
    this.#list = el('div', {
      class: 'chat-list',
      role: 'log',
      testid: 'chat-list',
      'aria-label': t('chat.title'),
      tabindex: 0,
    });
    this.#empty = el('p', { class: 'chat-empty', text: t('chat.empty') });
    this.#input = el('textarea', {
      rows: 1,
      testid: 'chat-input',
      'aria-label': t('chat.input'),
      placeholder: t('chat.placeholder'),
      maxlength: MOST_CHARACTERS,
      autocomplete: 'off',
      on: { keydown: (event) => this.#key(event), input: () => this.#grow() },
    });
    this.#to = el('select', { testid: 'chat-to', 'aria-label': t('chat.to') });
    const send = el(
      'button',
      {
        type: 'submit',
        class: 'primary send',
        testid: 'chat-send',
        'aria-label': t('chat.send'),
        title: t('chat.send'),
      },
      icon('send'),
    );
    this.element = el(
      'aside',
      { class: 'panel chat', testid: 'chat-panel', 'aria-label': t('chat.title'), hidden: true },
      panelHead(t('chat.title'), close).element,
      this.#list,
      el(
        'form',
        { class: 'chat-form', on: { submit: (event) => this.#submit(event) } },
        el('label', { class: 'chat-to' }, el('span', { text: t('chat.to') }), this.#to),
        el('div', { class: 'chat-row' }, this.#input, send),
      ),
    );
    this.#list.append(this.#empty);
    this.updateRecipients();
  }

  /** Put the cursor where one writes. */
  focus() {
    this.#input.focus();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** @param {string} participant whom the next message is for */
  writeTo(participant) {
    this.#to.value = participant;
    this.focus();
  }

  /** People came or went. */
  updateRecipients() {
    const chosen = this.#to.value;
    const others = [...this.#room.participants.values()];
    this.#to.replaceChildren(
      el('option', { value: '', text: t('chat.everyone') }),
      ...others.map((each) => el('option', { value: each.id, text: each.name })),
    );
    this.#to.value = others.some((each) => each.id === chosen) ? chosen : '';
  }

  /**
   * @param {import('../sdk/room.js').ChatMessage} message
   * @returns {boolean} false where it is shown already
   */
  add(message) {
    // A restarted server counts its messages anew.
    const key = `${message.id} ${message.sent_at_ms}`;
    if (this.#shown.has(key)) return false;
    this.#shown.add(key);
    this.#empty.remove();
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 60;
    this.#list.append(this.#bubble(message));
    if (atEnd || message.from === this.#room.self?.id) this.#list.scrollTop = this.#list.scrollHeight;
    return true;
  }

  #bubble({ from, name, text, to, sent_at_ms: sentAt }) {
    const own = from === this.#room.self?.id;
    const follows = this.#lastFrom === `${from}>${to ?? ''}`;
    this.#lastFrom = `${from}>${to ?? ''}`;
    const time = new Date(sentAt);
    const clock = time.toLocaleTimeString(language(), { hour: '2-digit', minute: '2-digit' });
    const recipient = this.#room.participants.get(to)?.name ?? '';
    const privately = to ? (own ? t('chat.private.to', { name: recipient }) : t('chat.private.you')) : '';
    return el(
      'article',
      {
        class: `chat-message ${own ? 'own' : 'other'} ${follows ? 'follows' : ''}`,
        testid: 'chat-message',
        data: { from, own: String(own) },
      },
      !own && avatar(name),
      el(
        'div',
        { class: 'chat-body' },
        el(
          'header',
          {},
          el('strong', { text: own ? t('chat.you') : name }),
          privately && el('em', { text: privately }),
          el('time', { datetime: time.toISOString(), text: clock }),
        ),
        el('p', { testid: 'chat-text' }, ...linkify(text)),
      ),
    );
  }

  #key(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.element.querySelector('form').requestSubmit();
  }

  #grow() {
    this.#input.style.setProperty('height', 'auto');
    this.#input.style.setProperty('height', `${Math.min(120, this.#input.scrollHeight)}px`);
  }

  async #submit(event) {
    event.preventDefault();
    const text = this.#input.value.trim();
    if (!text) return;
    this.#input.value = '';
    this.#grow();
    try {
      this.add(await this.#room.chat(text, this.#to.value || null));
    } catch (error) {
      if (!this.#input.value) this.#input.value = text;
      this.#onError(t('chat.failed', { reason: t(messageKey(error.code)) }));
    }
  }
}
