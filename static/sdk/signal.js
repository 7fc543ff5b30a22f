import { SfuError } from './errors.js';

const REQUEST_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 10_000;
const FIRST_DELAY_MS = 400;
const LONGEST_DELAY_MS = 8_000;
/** A connection that held this long was a good one: the next back-off begins anew. */
const STEADY_MS = 5_000;
/** How long a connection may stay silent after a probe before it is taken for dead. */
const PROBE_TIMEOUT_MS = 4_000;
/** What a join may be refused with for now only. */
const TEMPORARY = new Set([
  'rate_limited', 'internal', 'timeout', 'disconnected', 'going_away', 'join_timeout', 'keys_unavailable',
]);

/**
 * @typedef {'idle' | 'connecting' | 'lobby' | 'open' | 'waiting' | 'closed'} SignalState
 */

/**
 * The signalling connection: requests with answers, liveness, and coming back by itself.
 *
 * Events (each a `CustomEvent`): `joined` (the reply, also after coming back), `message` (every message that
 * answers nothing), `lobby` (in it; `joined` or `closed` follows), `state` (`{state, retryInMs?, attempt?}`), `closed` (`{code, message}`: for good).
 */
export class Signal extends EventTarget {
  /** @type {SignalState} */
  state = 'idle';

  #url;
  #join;
  #socket = null;
  #nextId = 1;
  /** @type {Map<number, {resolve: Function, reject: Function, timer: number}>} */
  #pending = new Map();
  #waiters = new Set();
  #resume = null;
  #attempt = 0;
  #retryAfterMs = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #connectTimer = 0;
  #probeTimer = 0;
  #heardAt = 0;
  #joinedAt = Infinity;
  #pingMs = 10_000;
  #everJoined = false;
  #first = null;

  /**
   * @param {string} url of the WebSocket
   * @param {() => object} join the members of `join`, asked at every connection
   */
  constructor(url, join) {
    super();
    this.#url = url;
    this.#join = join;
  }

  /**
   * Connect and join.
   * @returns {Promise<Record<string, any>>} `joined`; rejects with `SfuError` where the first join fails
   */
  connect() {
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject };
      this.#dial();
    });
  }

  /**
   * Send a message and wait for its answer. While the connection is down the message waits for it.
   * @param {string} type
   * @param {object} [members]
   * @param {{timeoutMs?: number}} [options]
   * @returns {Promise<Record<string, any>>} rejects with `SfuError`: the server's code, `timeout`,
   *   `disconnected` (it is not known whether the server acted)
   */
  async request(type, members = {}, { timeoutMs = REQUEST_TIMEOUT_MS } = {}) {
    if (this.state !== 'open') await this.#opened(timeoutMs);
    return this.#send(type, members, timeoutMs);
  }

  /** Come back now instead of at the end of the back-off. */
  retryNow() {
    if (this.state === 'waiting') this.#dial();
  }

  /** The network may have changed: find out soon whether the connection still lives. */
  probe() {
    if (this.state === 'waiting') return this.retryNow();
    if (!['open', 'lobby'].includes(this.state) || this.#probeTimer) return undefined;
    const socket = this.#socket;
    const askedAt = performance.now();
    this.#raw({ type: 'ping' });
    this.#probeTimer = setTimeout(() => {
      this.#probeTimer = 0;
      if (socket === this.#socket && this.#heardAt < askedAt) this.#dropped();
    }, PROBE_TIMEOUT_MS);
    return undefined;
  }

  /**
   * Say goodbye and stay away.
   * @param {string} [reason]
   */
  leave(reason = 'left') {
    if (this.state === 'open' || this.state === 'lobby') this.#raw({ type: 'leave', reason });
    if (this.#first) this.#failFirst(new SfuError('left', reason));
    else this.#close('left', reason);
  }

  // --- connection ------------------------------------------------------------------------------

  #dial() {
    clearTimeout(this.#retryTimer);
    this.#set('connecting', { attempt: this.#attempt });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#connectTimer = setTimeout(() => socket === this.#socket && this.#dropped(), CONNECT_TIMEOUT_MS);
    socket.onopen = () => socket === this.#socket && this.#sendJoin();
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = () => socket === this.#socket && this.#dropped();
  }

  async #sendJoin() {
    const socket = this.#socket;
    const members = { version: 1, ...this.#join(), ...(this.#resume ? { resume: this.#resume } : {}) };
    try {
      await this.#send('join', members, CONNECT_TIMEOUT_MS, (answer) =>
        answer.type === 'waiting' ? this.#wait(answer) : this.#joined(answer),
      );
    } catch (error) {
      if (socket !== this.#socket || this.state === 'closed') return;
      if (error.code === 'resume_failed' && this.#resume) {
        this.#resume = null;
        this.#sendJoin();
      } else if (this.#first) {
        this.#failFirst(error);
      } else if (TEMPORARY.has(error.code)) {
        this.#dropped();
      } else {
        this.#close(error.code, error.message);
      }
    }
  }

  /** In the lobby: `joined` or `closed` comes as a message some time. */
  #wait(waiting) {
    clearTimeout(this.#connectTimer);
    this.#pingMs = (waiting.ping_interval_s ?? 10) * 1000;
    this.#schedulePing();
    this.#set('lobby');
    this.#emit('lobby', waiting);
  }

  /** Runs as soon as `joined` is read, before the messages behind it. */
  #joined(joined) {
    clearTimeout(this.#connectTimer);
    this.#resume = { participant: joined.participant.id, secret: joined.secret };
    this.#pingMs = (joined.ping_interval_s ?? 10) * 1000;
    this.#joinedAt = performance.now();
    this.#retryAfterMs = 0;
    this.#everJoined = true;
    this.#schedulePing();
    this.#set('open');
    this.#emit('joined', joined);
    for (const waiter of this.#waiters) waiter.resolve();
    this.#waiters.clear();
    this.#first?.resolve(joined);
    this.#first = null;
  }

  /** The connection is gone; come back unless it never was. */
  #dropped() {
    if (this.state === 'closed') return;
    this.#releaseSocket();
    this.#rejectPending(new SfuError('disconnected'));
    if (this.#first) {
      this.#failFirst(new SfuError('server_unreachable'));
      return;
    }
    // A server that lets in and fails at once is not called ever faster.
    if (performance.now() - this.#joinedAt > STEADY_MS) this.#attempt = 0;
    this.#joinedAt = Infinity;
    const backOff = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempt);
    // Spread, so that the clients of a restarted server do not come at the same instant.
    const retryInMs = Math.round(Math.max(this.#retryAfterMs, backOff) * (0.75 + Math.random() / 2));
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#dial(), retryInMs);
    this.#set('waiting', { retryInMs, attempt: this.#attempt });
  }

  #failFirst(error) {
    const first = this.#first;
    this.#first = null;
    this.#close(error.code, error.message);
    first.reject(error);
  }

  #close(code, message) {
    if (this.state === 'closed') return;
    clearTimeout(this.#retryTimer);
    this.#releaseSocket();
    this.#set('closed');
    const error = new SfuError(code, message);
    this.#rejectPending(error);
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
    if (this.#everJoined) this.#emit('closed', { code, message });
  }

  #releaseSocket() {
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#probeTimer);
    this.#probeTimer = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #rejectPending(error) {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }

  #schedulePing() {
    clearTimeout(this.#pingTimer);
    this.#heardAt = performance.now();
    const tick = () => {
      if (performance.now() - this.#heardAt > 2.5 * this.#pingMs) {
        this.#dropped();
        return;
      }
      this.#raw({ type: 'ping' });
      this.#pingTimer = setTimeout(tick, this.#pingMs);
    };
    this.#pingTimer = setTimeout(tick, this.#pingMs);
  }

  // --- messages --------------------------------------------------------------------------------

  #send(type, members, timeoutMs, onAnswer = null) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new SfuError('timeout', `${type} was not answered`));
      }, timeoutMs);
      const accept = (answer) => {
        onAnswer?.(answer);
        resolve(answer);
      };
      this.#pending.set(id, { resolve: accept, reject, timer });
      this.#raw({ ...members, type, id });
    });
  }

  #raw(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #receive(text) {
    this.#heardAt = performance.now();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    const pending = this.#pending.get(message.id);
    if (pending) {
      this.#pending.delete(message.id);
      clearTimeout(pending.timer);
      if (message.type === 'error') pending.reject(new SfuError(message.code, message.message, message));
      else pending.resolve(message);
    } else if (message.type === 'closed') {
      if (this.#first && this.state !== 'lobby') return; // the error before it says why
      if (this.#first) this.#failFirst(new SfuError(message.code, message.message));
      else if (message.reconnect) this.#dropped();
      else this.#close(message.code, message.message);
    } else if (message.type === 'joined') {
      this.#joined(message);
    } else if (message.type === 'going_away') {
      this.#retryAfterMs = message.retry_after_ms ?? 0;
      this.#emit('message', message);
    } else if (message.type !== 'pong') {
      this.#emit('message', message);
    }
  }

  #opened(timeoutMs) {
    if (this.state === 'closed') return Promise.reject(new SfuError('disconnected'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new SfuError('disconnected', 'the connection did not come back in time'));
      }, timeoutMs);
      const settle = (outcome) => (value) => {
        clearTimeout(timer);
        outcome(value);
      };
      const waiter = { resolve: settle(resolve), reject: settle(reject) };
      this.#waiters.add(waiter);
    });
  }

  #set(state, detail = {}) {
    this.state = state;
    this.#emit('state', { state, ...detail });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
