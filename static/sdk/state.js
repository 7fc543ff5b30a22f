import { SfuError } from './errors.js';

/** Conflicts in a row after which `update` gives up: others write all the time then. */
const UPDATE_ATTEMPTS = 20;

/**
 * @typedef {{value: any, version: number}} StateEntry
 */

/**
 * The room's shared state: keys with JSON values that everybody sees the same. See docs/protocol.md.
 *
 * Events: `change` {key, entry, participant}: `entry` is null where the key was deleted; `key` is null where the
 * whole state is new, after joining and after coming back.
 */
export class SharedState extends EventTarget {
  /** @type {ReadonlyMap<string, StateEntry>} */
  entries = new Map();

  #request;

  /** @param {(type: string, members?: object) => Promise<Record<string, any>>} request asks the server */
  constructor(request) {
    super();
    this.#request = request;
  }

  /**
   * @param {string} key
   * @returns {any} its value, undefined where there is none; not to be changed in place
   */
  get(key) {
    return this.entries.get(key)?.value;
  }

  /**
   * @param {string} key
   * @returns {number} the version of its value, 0 where there is none
   */
  version(key) {
    return this.entries.get(key)?.version ?? 0;
  }

  /**
   * @param {string} key
   * @param {any} value
   * @param {{ifVersion?: number}} [options] only where the key is at that version (0: absent)
   * @returns {Promise<number>} the new version; rejects with `SfuError`: `conflict` (its `details` are the present
   *   `version` and `value`), `not_allowed`, `too_large`, `rate_limited`, or what the server's rules say
   */
  async set(key, value, { ifVersion } = {}) {
    return (await this.#request('state_set', { key, value, ...condition(ifVersion) })).version;
  }

  /**
   * @param {string} key
   * @param {{ifVersion?: number}} [options]
   * @returns {Promise<number>} rejects as `set`, and with `not_found`
   */
  async delete(key, { ifVersion } = {}) {
    return (await this.#request('state_delete', { key, ...condition(ifVersion) })).version;
  }

  /**
   * Set what `change` makes of the present value, whoever else writes; it is called again where somebody was faster.
   * @param {string} key
   * @param {(value: any) => any} change
   */
  async update(key, change) {
    let { value, version } = this.entries.get(key) ?? { value: undefined, version: 0 };
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.set(key, change(value), { ifVersion: version });
      } catch (error) {
        if (!(error instanceof SfuError) || error.code !== 'conflict' || attempt === UPDATE_ATTEMPTS) throw error;
        ({ value, version } = /** @type {StateEntry} */ ({ value: undefined, ...error.details }));
      }
    }
  }

  /** @param {Record<string, any>} joined */
  sync({ state }) {
    this.entries = new Map(Object.entries(state?.entries ?? {}));
    this.#changed(null, null, '');
  }

  /** @param {Record<string, any>} message of the server */
  received({ type, key, version, value, deleted, participant }) {
    if (type !== 'state_patch') return;
    const entries = new Map(this.entries);
    if (deleted) entries.delete(key);
    else entries.set(key, { value, version });
    this.entries = entries;
    this.#changed(key, entries.get(key) ?? null, participant);
  }

  #changed(key, entry, participant) {
    this.dispatchEvent(new CustomEvent('change', { detail: { key, entry, participant } }));
  }
}

function condition(ifVersion) {
  return ifVersion === undefined ? {} : { if_version: ifVersion };
}
