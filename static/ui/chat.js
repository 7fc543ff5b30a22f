import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { attachmentView, UploadList } from './chat-attachment.js';
import { Composer } from './chat-composer.js';
import { FileList } from './chat-files.js';
import { isOwn, mentioned, messageView } from './chat-message.js';
import { panelHead } from './dialogs.js';
import { el } from './dom.js';
import { icon } from './icons.js';

export { linkify } from './chat-text.js';

const NEAR_TOP = 80;
const NEAR_END = 60;
const TYPING_SHOWN_MS = 5000;

/** The chat panel: what was said, as far back as one scrolls, and where one writes. */
export class ChatPanel {
  #room;
  #onError;
  #list;
  #empty;
  #older;
  #newMark;
  #typing;
  #seen;
  #results;
  #composer;
  #uploads;
  #files;
  #filesButton;
  #head;
  #denied;
  /** Whether the end is in sight: then it stays there, whatever grows. */
  #atEnd = true;
  #top = 0;
  #sized = new ResizeObserver(() => this.#atEnd && this.#toEnd());
  /** @type {Map<number, HTMLElement>} */
  #shown = new Map();
  #typists = new Map();
  #loading = false;
  /** @type {string | null} */
  #searched = '';

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
      on: { scroll: () => this.#scrolled() },
    });
    this.#empty = el('p', { class: 'chat-empty', text: t('chat.empty') });
    this.#older = el('button', {
      type: 'button',
      class: 'chat-older',
      testid: 'chat-older',
      text: t('chat.older'),
      on: { click: () => this.#loadOlder() },
    });
    this.#newMark = el('p', { class: 'chat-new', testid: 'chat-new', role: 'separator', text: t('chat.new') });
    this.#typing = el('p', { class: 'chat-typing', testid: 'chat-typing', 'aria-live': 'polite' });
    this.#results = el('div', { class: 'chat-list', testid: 'chat-results', 'aria-label': t('chat.search'), hidden: true });
    this.#seen = el('p', { class: 'chat-seen', testid: 'chat-seen' });
    this.#composer = new Composer(() => [...room.participants.values()], () => this.#away(), {
      submit: (text, to, editing) =>
        this.#try(editing ? room.messages.edit(editing.id, text) : room.messages.send(text, to)),
      typing: (to) => room.messages.typing(to).catch(() => undefined),
      attach: (files) => this.#uploads.add(files),
    });
    this.#uploads = new UploadList(room.files, {
      uploaded: (file) => this.#try(room.messages.send('', this.#composer.to, file)),
      onError,
    });
    this.#files = new FileList(room, onError);
    this.#filesButton = this.#filesToggle();
    this.#denied = el('p', { class: 'chat-denied', testid: 'chat-denied', role: 'status', text: t('chat.denied'), hidden: true });
    this.#head = panelHead(t('chat.title'), close);
    this.element = el(
      'aside',
      {
        class: 'panel chat',
        testid: 'chat-panel',
        'aria-label': t('chat.title'),
        hidden: true,
        on: { dragover: (event) => event.preventDefault(), drop: (event) => this.#dropped(event) },
      },
      this.#head.element,
      el('div', { class: 'chat-tools' }, this.#searchBox(), this.#filesButton),
      this.#list,
      this.#results,
      this.#files.element,
      el('div', {}, this.#typing, this.#uploads.element),
      this.#composer.element,
      this.#denied,
    );
    this.#sized.observe(this.#list);
    this.reset();
  }

  /** Where the cursor goes when the panel opens. */
  get start() {
    return this.#composer.element.hidden ? this.#head.title : this.#composer.input;
  }

  /** Who may not write sees why instead of a form that fails. */
  showRights() {
    const { grants } = this.#room.self ?? {};
    const may = !grants || (grants.chat && !grants.hidden);
    this.#composer.element.hidden = !may;
    this.#denied.hidden = may;
    this.element.dataset.write = String(may);
  }

  dispose() {
    this.#sized.disconnect();
  }

  /** The panel is seen now. */
  opened() {
    this.#showFiles(false);
    this.#markNew();
    this.#toEnd();
    this.#read();
  }

  /** @param {string} participant whom the next message is for */
  writeTo(participant) {
    this.#composer.writeTo(participant);
  }

  /** People came or went. */
  updateRecipients() {
    this.#composer.updateRecipients();
    this.showSeen();
  }

  /** How many messages of others came since this person last read here. */
  get unread() {
    const { messages, read } = this.#room.messages;
    return read ? messages.filter((each) => each.id > read && !isOwn(each, this.#room.self)).length : 0;
  }

  /** Show the chat as it is now, from anew. */
  reset() {
    this.#shown.clear();
    this.#list.replaceChildren(this.#older, this.#empty);
    for (const message of this.#room.messages.messages) this.#append(message);
    this.#show();
    this.showSeen();
    this.#composer.updateRecipients();
    this.#toEnd();
  }

  /** Below the last message of one's own: who has read it. */
  showSeen() {
    const { messages, participants, self } = this.#room;
    const mine = messages.messages.findLast((each) => isOwn(each, self) && !each.deleted);
    const names = [...participants.values()]
      .filter((each) => mine && messages.seen.get(each.identity) >= mine.id)
      .filter((each) => !mine.to_identity || mine.to_identity === each.identity)
      .map((each) => each.name);
    this.#seen.remove();
    if (!names.length) return;
    this.#seen.textContent = t('chat.seen', { names: names.join(', ') });
    this.#shown.get(mine.id)?.after(this.#seen);
    if (this.#atEnd) this.#toEnd();
  }

  /** @param {import('../sdk/chat.js').ChatMessage} message a new one */
  add(message) {
    this.#typists.delete(message.from);
    this.#showTyping();
    this.#append(message);
    this.#files.update(message);
    this.#show();
    this.showSeen();
    if (this.#atEnd || isOwn(message, this.#room.self)) this.#toEnd();
    this.#read();
  }

  /** @param {import('../sdk/chat.js').ChatMessage} message edited, deleted or reacted to */
  update(message) {
    this.#files.update(message);
    const before = this.#shown.get(message.id);
    if (!before) return;
    const focused = before.contains(document.activeElement) && document.activeElement?.dataset.testid;
    const after = this.#view(message, before.classList.contains('follows'));
    before.replaceWith(after);
    this.#shown.set(message.id, after);
    if (focused) after.querySelector(`[data-testid="${focused}"]`)?.focus();
  }

  /** @param {string} participant somebody writes */
  showTyping(participant) {
    clearTimeout(this.#typists.get(participant));
    const forget = () => {
      this.#typists.delete(participant);
      this.#showTyping();
    };
    this.#typists.set(participant, setTimeout(forget, TYPING_SHOWN_MS));
    this.#showTyping();
  }

  #showTyping() {
    const names = [...this.#typists.keys()].map((id) => this.#room.participants.get(id)?.name).filter(Boolean);
    this.#typing.textContent = names.length ? t('chat.typing', { names: names.slice(0, 3).join(', ') }) : '';
  }

  #append(message) {
    this.#seen.remove();
    const before = this.#list.lastElementChild;
    const follows =
      before?.dataset.testid === 'chat-message' && before.dataset.from === message.from && !message.to && !before.dataset.to;
    const view = this.#view(message, follows);
    this.#shown.set(message.id, view);
    this.#list.append(view);
  }

  #view(message, follows) {
    const view = messageView(message, {
      self: this.#room.self,
      moderates: Boolean(this.#room.self?.grants?.moderate),
      follows,
      names: this.#names(message),
      act: {
        react: (of, emoji, on) => this.#try(this.#room.messages.react(of.id, emoji, on)),
        edit: (of) => this.#composer.edit(of, mentioned(of, this.#names(of))),
        remove: (of) => this.#try(this.#room.messages.remove(of.id)),
        attachment: (file) => attachmentView(this.#room.files, file, this.#onError),
      },
    });
    if (message.to) view.dataset.to = message.to;
    this.#sized.observe(view);
    return view;
  }

  /** Who has written here and is not here now. */
  #away() {
    const { self, participants, messages } = this.#room;
    const here = new Set([self?.identity, ...[...participants.values()].map((each) => each.identity)]);
    const gone = messages.messages.filter((each) => each.name && !each.deleted && !here.has(each.identity));
    return [...new Map(gone.map(({ identity, name }) => [identity, { id: identity, identity, name }])).values()];
  }

  #names() {
    const { self, participants, messages } = this.#room;
    const names = new Map(messages.messages.filter((each) => each.name).map((each) => [each.identity, each.name]));
    for (const each of [self, ...participants.values()]) if (each) names.set(each.identity, each.name);
    return names;
  }

  #show() {
    this.#empty.hidden = this.#shown.size > 0;
    this.#older.hidden = !this.#room.messages.more;
  }

  #toEnd() {
    this.#atEnd = true;
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #read() {
    const last = this.#room.messages.messages.at(-1);
    if (last && !this.element.hidden) this.#room.messages.markRead(last.id).catch(() => undefined);
  }

  /** Above the first message that this person has not read. */
  #markNew() {
    const { messages, read } = this.#room.messages;
    const first = read ? messages.find((each) => each.id > read && !isOwn(each, this.#room.self)) : undefined;
    this.#newMark.remove();
    if (first) this.#shown.get(first.id)?.before(this.#newMark);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    // What has grown since moves the end away; only who scrolls up has left it.
    if (scrollHeight - scrollTop - clientHeight < NEAR_END) this.#atEnd = true;
    else if (clientHeight && scrollTop < this.#top) this.#atEnd = false;
    this.#top = scrollTop;
    if (this.#list.scrollTop < NEAR_TOP && !this.element.hidden) this.#loadOlder();
  }

  async #loadOlder() {
    if (this.#loading || !this.#room.messages.more) return;
    this.#loading = true;
    const fromEnd = this.#list.scrollHeight - this.#list.scrollTop;
    try {
      const found = await this.#room.messages.older();
      const views = found.map((message, index) => {
        const follows = found[index - 1]?.from === message.from && !message.to && !found[index - 1].to;
        const view = this.#view(message, follows);
        this.#shown.set(message.id, view);
        return view;
      });
      this.#older.after(...views);
      this.#list.scrollTop = this.#list.scrollHeight - fromEnd;
    } catch {
      // The connection is away: scrolling again asks again.
    } finally {
      this.#loading = false;
      this.#show();
    }
  }

  #searchBox() {
    return el('input', {
      type: 'search',
      class: 'chat-search',
      testid: 'chat-search',
      'aria-label': t('chat.search'),
      placeholder: t('chat.search'),
      maxlength: 100,
      on: {
        search: (event) => this.#search(event.target.value.trim()),
        change: (event) => this.#search(event.target.value.trim()),
        keydown: (event) => event.key === 'Escape' && event.stopPropagation(),
      },
    });
  }

  #filesToggle() {
    return el(
      'button',
      {
        type: 'button',
        class: 'quiet',
        testid: 'chat-files-toggle',
        'aria-pressed': 'false',
        on: { click: () => this.#showFiles(this.#files.element.hidden) },
      },
      icon('file'),
      t('chat.files'),
    );
  }

  /** In place of the messages. */
  #showFiles(open) {
    this.#files.show(open);
    this.#filesButton.setAttribute('aria-pressed', String(open));
    const searching = Boolean(this.#searched);
    this.#list.hidden = open || searching;
    this.#results.hidden = open || !searching;
    if (!open && this.#atEnd) this.#toEnd();
  }

  async #search(text) {
    // Enter is two events, `search` and `change`.
    if (text === this.#searched) return;
    this.#searched = text;
    this.#results.hidden = text === '';
    this.#showFiles(false);
    this.#list.hidden = text !== '';
    if (!text) return;
    try {
      const found = await this.#room.messages.search(text);
      if (text !== this.#searched) return;
      const none = el('p', { class: 'chat-empty', text: t('chat.search.none') });
      this.#results.replaceChildren(...(found.length ? found.map((message) => this.#view(message, false)) : [none]));
    } catch (error) {
      if (text !== this.#searched) return;
      this.#searched = null;
      this.#onError(t(messageKey(error.code)));
    }
  }

  #dropped(event) {
    event.preventDefault();
    if (!this.#composer.element.hidden) this.#uploads.add(event.dataTransfer?.files ?? []);
  }

  async #try(work) {
    try {
      await work;
      return true;
    } catch (error) {
      this.#onError(t('chat.failed', { reason: t(messageKey(error.code)) }));
      return false;
    }
  }
}
