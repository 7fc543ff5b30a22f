import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { parsed } from './data-state.js';
import { el } from './dom.js';

/** Of each topic this many messages are kept, of so many topics; older ones go. */
const MOST_MESSAGES = 5;
const MOST_TOPICS = 20;
const LONGEST = 200;
const ROLES = ['owner', 'presenter', 'participant', 'observer', 'device'];

/** The latest messages by topic, and for who may a form that sends one. */
export class MessagesSection {
  name = 'messages';
  title = t('messages.title');
  #room;
  #onError;
  #listeners = new AbortController();
  /** @type {Map<string, import('../sdk/live-data.js').DataMessage[]>} */
  #topics = new Map();
  #list = el('div', { class: 'topic-list', testid: 'topic-list' });
  #form;
  #topic;
  #content;
  #recipient;
  #lossy;
  #people = '';
  #stale = true;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{onError: (text: string) => void, redraw: () => void, news: () => void}} options `news`: one has come
   */
  constructor(room, { onError, redraw, news }) {
    this.#room = room;
    this.#onError = onError;
    const field = (testid, key, maxlength) =>
      el('input', { testid, maxlength, placeholder: t(key), 'aria-label': t(key), autocomplete: 'off', spellcheck: 'false' });
    this.#topic = field('data-topic', 'messages.topic', 128);
    this.#content = field('data-content', 'messages.content', 16000);
    this.#recipient = el('select', { testid: 'data-to', 'aria-label': t('messages.to') });
    this.#lossy = el('input', { type: 'checkbox', testid: 'data-lossy' });
    this.#form = el(
      'form',
      { class: 'data-form', on: { submit: (event) => this.#send(event) } },
      el('div', { class: 'data-row' }, this.#topic, this.#recipient),
      this.#content,
      el(
        'div',
        { class: 'data-row' },
        el('label', { class: 'data-check' }, this.#lossy, el('span', { text: t('messages.lossy') })),
        el('button', { type: 'submit', class: 'primary', testid: 'data-send', text: t('messages.send') }),
      ),
    );
    this.element = el('div', { class: 'data-content' }, this.#list, this.#form);
    const on = (type, act) =>
      room.data.addEventListener(type, ({ detail }) => act(detail), { signal: this.#listeners.signal });
    on('message', ({ message }) => {
      this.#keep(message);
      news();
      redraw();
    });
    on('refused', ({ code }) => onError(t(messageKey(code))));
    on('cutoff', ({ topic }) => onError(topic === null ? t('messages.cutoff.all') : t('messages.cutoff', { topic })));
  }

  dispose() {
    this.#listeners.abort();
  }

  update() {
    const { self, participants } = this.#room;
    this.#form.hidden = !self?.grants.data || self.grants.hidden;
    const people = JSON.stringify([...participants.values()].map(({ id, name }) => [id, name]));
    if (people !== this.#people) {
      this.#people = people;
      this.#showRecipients();
    }
    if (!this.#stale) return;
    this.#stale = false;
    this.#list.replaceChildren(
      ...[...this.#topics].reverse().map(([topic, messages]) => this.#showTopic(topic, messages)),
      ...(this.#topics.size ? [] : [el('p', { class: 'class-empty', text: t('messages.empty') })]),
    );
  }

  #keep(message) {
    const messages = this.#topics.get(message.topic) ?? [];
    // The topic that spoke last is the last one of the map.
    this.#topics.delete(message.topic);
    this.#topics.set(message.topic, [...messages, message].slice(-MOST_MESSAGES));
    if (this.#topics.size > MOST_TOPICS) this.#topics.delete(this.#topics.keys().next().value);
    this.#stale = true;
  }

  #showTopic(topic, messages) {
    return el(
      'section',
      { class: 'topic', testid: 'topic', data: { topic } },
      el('h4', { text: topic || t('messages.no_topic') }),
      el(
        'ul',
        {},
        ...messages.map((message) =>
          el(
            'li',
            { testid: 'data-message' },
            el('b', { text: this.#nameOf(message.from) }),
            el('code', { text: shown(message.content) }),
          ),
        ),
      ),
    );
  }

  #nameOf(id) {
    if (id === this.#room.self?.id) return t('messages.you');
    return this.#room.participants.get(id)?.name || t('guest');
  }

  #showRecipients() {
    const chosen = this.#recipient.value;
    const option = (value, text) => el('option', { value, text });
    const people = [...this.#room.participants.values()].map(({ id, name }) => option(`to:${id}`, name || t('guest')));
    this.#recipient.replaceChildren(
      option('', t('messages.to.all')),
      el('optgroup', { label: t('messages.to.role') }, ...ROLES.map((role) => option(`role:${role}`, t(`role.${role}`)))),
      ...(people.length ? [el('optgroup', { label: t('messages.to.person') }, ...people)] : []),
    );
    this.#recipient.value = chosen;
    if (this.#recipient.selectedIndex < 0) this.#recipient.value = '';
  }

  async #send(event) {
    event.preventDefault();
    const text = this.#content.value;
    if (!text) return;
    const topic = this.#topic.value.trim();
    const [kind, who] = this.#recipient.value.split(':');
    const recipients = { to: { to: [who] }, role: { role: who } }[kind] ?? {};
    const content = parsed(text);
    try {
      await this.#room.data.send(content, { topic, lossy: this.#lossy.checked, ...recipients });
      this.#keep({ label: 'reliable', topic, from: this.#room.self.id, sent_at_ms: Date.now(), content });
      this.#content.value = '';
      this.update();
    } catch (error) {
      this.#onError(t(messageKey(error.code)));
    }
  }
}

function shown(content) {
  if (content instanceof Uint8Array) return t('messages.bytes', { count: content.length });
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
