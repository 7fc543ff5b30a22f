import { messageKey } from '../sdk/errors.js';
import { language, t } from '../texts/index.js';
import { attachmentView } from './chat-attachment.js';
import { isOwn } from './chat-message.js';
import { el } from './dom.js';

/** Every file of the chat that one may have, newest first, by pages from the server. */
export class FileList {
  #room;
  #onError;
  #list = el('ul', { class: 'file-list', testid: 'file-list' });
  #empty = el('p', { class: 'chat-empty', testid: 'files-empty', text: t('chat.files.empty'), hidden: true });
  #more;
  /** @type {Map<number, HTMLElement>} */
  #shown = new Map();
  #loading = false;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {(text: string) => void} onError
   */
  constructor(room, onError) {
    this.#room = room;
    this.#onError = onError;
    this.#more = el('button', {
      type: 'button',
      class: 'quiet chat-older',
      testid: 'files-older',
      text: t('chat.files.older'),
      hidden: true,
      on: { click: () => this.#load(Math.min(...this.#shown.keys())) },
    });
    this.element = el(
      'section',
      { class: 'chat-list', testid: 'chat-files-list', 'aria-label': t('chat.files'), tabindex: 0, hidden: true },
      this.#empty,
      this.#list,
      this.#more,
    );
  }

  /** @param {boolean} open what the server has is asked for each time */
  show(open) {
    this.element.hidden = !open;
    if (!open) return;
    this.#shown.clear();
    this.#list.replaceChildren();
    this.#empty.hidden = true;
    this.#load();
  }

  /** @param {import('../sdk/chat.js').ChatMessage} message is new, or as it is now */
  update(message) {
    if (this.element.hidden || !message.file) return;
    if (message.deleted) {
      this.#shown.get(message.id)?.remove();
      this.#shown.delete(message.id);
    } else if (!this.#shown.has(message.id)) {
      this.#list.prepend(this.#entry(message));
    }
    this.#empty.hidden = this.#shown.size > 0;
  }

  async #load(before) {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const { messages, more } = await this.#room.messages.withFiles(before);
      const fresh = messages.filter((each) => !this.#shown.has(each.id));
      this.#list.append(...fresh.map((each) => this.#entry(each)));
      this.#more.hidden = !more;
      this.#empty.hidden = this.#shown.size > 0;
    } catch (error) {
      this.#onError(t(messageKey(error.code)));
    } finally {
      this.#loading = false;
    }
  }

  #entry(message) {
    const { id, file, name, to, sent_at_ms: at } = message;
    const when = new Date(at).toLocaleString(language(), { dateStyle: 'medium', timeStyle: 'short' });
    const who = isOwn(message, this.#room.self) ? t('chat.you') : name;
    const entry = el(
      'li',
      { testid: 'file-entry', data: { key: String(id) } },
      attachmentView(this.#room.files, file, this.#onError),
      el('small', { text: [who, when, to && t('chat.files.private')].filter(Boolean).join(' · ') }),
    );
    this.#shown.set(id, entry);
    return entry;
  }
}
