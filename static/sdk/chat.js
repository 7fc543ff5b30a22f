/**
 * @typedef {object} ChatMessage as docs/protocol.md has it
 * @property {number} id
 * @property {number} rev
 * @property {string} from
 * @property {string} identity
 * @property {string} name
 * @property {string} text
 * @property {string | null} to
 * @property {string | null} to_identity
 * @property {string[]} mentions
 * @property {string | null} file
 * @property {number} sent_at_ms
 * @property {number | null} edited_at_ms
 * @property {boolean} deleted
 * @property {Record<string, string[]>} reactions
 */

const PAGE = 50;
/** Of files at once: each is asked for by itself. */
const FILES = 20;

/** The chat as this client knows it: each message once, as it is after its last change. */
export class Chat {
  /** Whether the server has older messages than the first one here. */
  more = false;
  /** Up to which message this person has read, as the server remembers. */
  read = 0;
  /** Up to which message others have read, by identity; of small rooms only. @type {Map<string, number>} */
  seen = new Map();
  /** @type {Map<number, ChatMessage>} */
  #messages = new Map();
  /** @type {number | null} */
  #seen = null;
  #request;
  #emit;

  /**
   * @param {(type: string, members: object) => Promise<any>} request
   * @param {(type: string, detail: object) => void} emit
   */
  constructor(request, emit) {
    this.#request = request;
    this.#emit = emit;
  }

  /** @returns {ChatMessage[]} oldest first */
  get messages() {
    return [...this.#messages.values()].sort((a, b) => a.id - b.id);
  }

  /** @returns {{chat_after?: number}} what `join` says, so that nothing is missed or told twice */
  joinMembers() {
    return this.#seen === null ? {} : { chat_after: this.#seen };
  }

  /** @param {Record<string, any>} joined */
  joined({ chat, chat_after: after, chat_last: last, chat_more: more, chat_read: read, chat_seen: seen }) {
    const first = this.#seen === null;
    this.read = Math.max(this.read, read ?? 0);
    this.seen = new Map(Object.entries(seen ?? {}));
    if ((after ?? null) === null) {
      this.#messages = new Map(chat.map((message) => [message.id, message]));
      this.more = Boolean(more);
      this.#seen = last ?? 0;
      this.#emit('chatreset', { first });
      return;
    }
    const before = this.#seen;
    for (const message of chat) this.#take(message, before);
    this.#seen = Math.max(this.#seen, last);
  }

  /** @param {ChatMessage} message new, or as it is now */
  received(message) {
    this.#take(message, this.#seen);
    return message;
  }

  /** @param {string} identity @param {number} message */
  sawUpTo(identity, message) {
    this.seen.set(identity, message);
    this.#emit('chatseen', {});
  }

  #take(message, before) {
    const known = this.#messages.get(message.id);
    this.#seen = Math.max(this.#seen, message.rev);
    if (known && known.rev >= message.rev) return;
    this.#messages.set(message.id, message);
    this.#emit(!known && message.id > before ? 'chat' : 'chatupdated', { message });
  }

  /** @param {string} text @param {string | null} [to] a participant, or an identity @param {string | null} [file] its id */
  async send(text, to = null, file = null) {
    return this.#changed('chat', { text, ...(to ? { to } : {}), ...(file ? { file } : {}) });
  }

  /** @param {number} message @param {string} text */
  async edit(message, text) {
    return this.#changed('chat_edit', { message, text });
  }

  /** @param {number} message */
  async remove(message) {
    return this.#changed('chat_delete', { message });
  }

  /** @param {number} message @param {string} emoji @param {boolean} on */
  async react(message, emoji, on) {
    return this.#changed('chat_react', { message, emoji, on });
  }

  /** @param {string | null} to */
  async typing(to = null) {
    await this.#request('chat_typing', to ? { to } : {});
  }

  /** Everything up to `message` is read. @param {number} message */
  async markRead(message) {
    if (message <= this.read) return;
    this.read = message;
    await this.#request('chat_read', { message });
  }

  /** @returns {Promise<ChatMessage[]>} the messages before the first one here, oldest first */
  async older() {
    const [first] = this.messages;
    const answer = await this.#request('chat_history', first ? { before: first.id, limit: PAGE } : { limit: PAGE });
    this.more = answer.more;
    const found = answer.messages.filter((message) => !this.#messages.has(message.id));
    for (const message of found) this.#messages.set(message.id, message);
    return found;
  }

  /**
   * Messages with files, of the whole history.
   * @param {number} [before] the id of a message
   * @returns {Promise<{messages: ChatMessage[], more: boolean}>} newest first
   */
  async withFiles(before) {
    const from = before === undefined ? {} : { before };
    const { messages, more } = await this.#request('chat_history', { files: true, limit: FILES, ...from });
    return { messages: messages.reverse(), more };
  }

  /** @param {string} text @returns {Promise<ChatMessage[]>} newest first */
  async search(text) {
    return (await this.#request('chat_search', { text, limit: PAGE })).messages;
  }

  async #changed(type, members) {
    const { message } = await this.#request(type, members);
    return this.received(message);
  }
}
