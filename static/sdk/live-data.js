import { encodeContent, pack } from './data.js';
import { SfuError } from './errors.js';
import { SerialQueue } from './queue.js';

/** Of the server's rates, so that a clock that goes a little faster here breaks none. */
const SHARE = 0.9;
/** Seconds of the rate that are sent at once: the server allows one, and packets bunch on their way. */
const BURST_S = 0.5;
/** Reliable sending waits while more bytes than this wait in the channel. */
const MOST_BUFFERED = 262_144;
/** With more than this a lossy message would be stale when it comes. */
const MOST_BUFFERED_LOSSY = 65_536;
/** Bytes of reliable messages that may wait here: who sends on without waiting is refused. */
const MOST_WAITING = 8_388_608;

/**
 * @typedef {object} DataMessage
 * @property {'reliable' | 'lossy'} label
 * @property {string} topic
 * @property {string} from participant id
 * @property {number} sent_at_ms
 * @property {any} content text, JSON's value, or else a `Uint8Array`
 */

/**
 * Messages to the others in the room that nothing stores. See docs/protocol.md.
 *
 * Events: `message` {message} · `refused` {code, topic, count}: the server dropped what was sent · `cutoff` {topic, lost}:
 * this client did not keep up and gets no more of a topic (null: of any) until `subscribe`.
 */
export class LiveData extends EventTarget {
  /** What is received; null is everything. @type {string[] | null} */
  topics = null;

  #request;
  #wire;
  #largest = 0;
  #bytes = new Pace();
  #messages = new Pace();
  #stopped = false;
  #waiting = 0;
  /** @type {Error | null} */
  #ended = null;
  #queue = new SerialQueue();
  /** @type {Set<{resolve: () => void, reject: (error: Error) => void}>} */
  #waiters = new Set();

  /**
   * @param {(type: string, members?: object) => Promise<object>} request asks the server
   * @param {import('./publish-transport.js').PublishTransport} wire
   */
  constructor(request, wire) {
    super();
    this.#request = request;
    this.#wire = wire;
    wire.addEventListener('data', ({ detail }) => this.#arrived(detail));
    wire.addEventListener('drained', () => this.#flow(this.#stopped));
    // A channel that is new knows of no stop.
    wire.addEventListener('channel', ({ detail }) => detail.label === 'reliable' && this.#flow(false));
  }

  /**
   * Send to everybody else, or to those whom `to` or `role` names.
   * @param {any} content text, bytes (`Uint8Array`, `ArrayBuffer`), or else what JSON can say
   * @param {{topic?: string, to?: string[], role?: string, lossy?: boolean}} [options] `lossy` neither orders nor
   *   repeats, for values that the next one replaces
   * @returns {Promise<boolean>} when it is on its way, which waits while a receiver does not keep up; false where it was
   *   lossy and dropped here. Rejects with `SfuError`: `too_large`, `slow_receiver` (too much waits here), `disconnected`
   */
  async send(content, { topic = '', to, role, lossy = false } = {}) {
    const { payload, ...format } = encodeContent(content);
    const message = pack({ topic, ...format, ...(to ? { to } : {}), ...(role ? { role } : {}) }, payload);
    if (this.#largest && message.length > this.#largest) throw new SfuError('too_large');
    if (lossy) return this.#sendLossy(message);
    if (this.#waiting + message.length > MOST_WAITING) throw new SfuError('slow_receiver');
    this.#waiting += message.length;
    try {
      await this.#queue.run(async () => {
        await this.#delay(message.length);
        while (this.#stopped || (this.#wire.buffered('reliable') ?? Infinity) > MOST_BUFFERED) await this.#change();
        this.#wire.sendData('reliable', message);
      });
    } finally {
      this.#waiting -= message.length;
    }
    return true;
  }

  /**
   * Receive these topics only, from now on and after coming back; null is all.
   * @param {string[] | null} topics
   */
  async subscribe(topics) {
    this.topics = topics && [...topics];
    await this.#request('data_topics', { topics: this.topics });
  }

  // --- what the room reports -------------------------------------------------------------------

  /** @param {Record<string, any>} joined */
  sync({ data, resumed }) {
    this.#largest = data?.message_bytes ?? 0;
    this.#bytes.rate = (data?.bytes_per_s ?? 0) * SHARE;
    this.#bytes.capacity = Math.max(this.#bytes.rate * BURST_S, this.#largest);
    this.#messages.rate = (data?.messages_per_s ?? 0) * SHARE;
    this.#messages.capacity = this.#messages.rate * BURST_S;
    if (!resumed && this.topics) this.subscribe(this.topics).catch(() => undefined);
  }

  /** @param {Record<string, any>} message of the server, over the WebSocket */
  received({ type, topic, lost }) {
    if (type === 'data_cut_off') this.#emit('cutoff', { topic, lost });
  }

  /** @param {Error} error why nothing can be sent any more */
  end(error) {
    this.#ended = error;
    for (const { reject } of this.#waiters) reject(error);
    this.#waiters.clear();
  }

  // --- inside ----------------------------------------------------------------------------------

  #arrived({ label, header, content }) {
    if (header.flow) this.#flow(header.flow === 'stop');
    else if (header.error) {
      this.#emit('refused', { code: header.error, topic: header.topic ?? '', count: header.refused ?? 1 });
    } else {
      this.#emit('message', { message: { topic: '', ...header, label, content } });
    }
  }

  async #sendLossy(message) {
    if ((this.#wire.buffered('lossy') ?? Infinity) > MOST_BUFFERED_LOSSY) return false;
    await this.#delay(message.length);
    if (this.#wire.buffered('lossy') === null) return false;
    this.#wire.sendData('lossy', message);
    return true;
  }

  async #delay(size) {
    const now = performance.now() / 1000;
    const seconds = Math.max(this.#bytes.delay(size, now), this.#messages.delay(1, now));
    if (seconds > 0) await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }

  #change() {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => this.#waiters.add({ resolve: () => resolve(undefined), reject }));
  }

  #flow(stopped) {
    this.#stopped = stopped;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const { resolve } of waiters) resolve();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** How long to wait so that a rate is kept: a bucket of `capacity` that starts full; a `rate` (units a second) of 0 is none. */
class Pace {
  rate = 0;
  capacity = 0;
  #missing = 0;
  #at = 0;

  /**
   * @param {number} amount is taken, though it may be missing yet
   * @param {number} now seconds
   * @returns {number} seconds until it is there
   */
  delay(amount, now) {
    if (!this.rate) return 0;
    this.#missing = Math.max(0, this.#missing - (now - this.#at) * this.rate) + amount;
    this.#at = now;
    return Math.max(0, this.#missing - this.capacity) / this.rate;
  }
}
