import { SfuError } from './errors.js';

const RETRIES_MS = [500, 1000, 2000, 4000, 8000];
/** The longest pause that a server may ask for. */
const LONGEST_MS = 60_000;
/** Failures that another try may not meet. */
const PASSING = new Set(['disconnected', 'bad_offset', 'storage_failed', 'overloaded', 'rate_limited']);

/** @typedef {{id: string, name: string, type: string, bytes: number, width: number | null}} FileInfo */

/** The files of a room: uploads that go on after a loss, downloads with the participant's secret. */
export class Files {
  /** Bytes of the largest file that the server takes. */
  largest = Infinity;
  #base;
  #credential;

  /**
   * @param {string} url of the server's WebSocket
   * @param {string} room
   * @param {() => string} credential `participant:secret` as `joined` gave them
   */
  constructor(url, room, credential) {
    const root = url.replace(/^ws/, 'http').replace(/\/signal$/, '');
    this.#base = `${root}/api/v1/rooms/${encodeURIComponent(room)}/files`;
    this.#credential = credential;
  }

  /**
   * Uploads a file; where that is aborted or fails, nothing of it stays.
   *
   * @param {Blob & {name?: string}} file
   * @param {{onProgress?: (sent: number) => void, signal?: AbortSignal}} [options]
   * @returns {Promise<FileInfo>}
   */
  async upload(file, { onProgress = () => undefined, signal } = {}) {
    const name = file.name || 'file';
    const begun = await this.#begin(JSON.stringify({ name, bytes: file.size }), signal);
    try {
      return await this.#append(begun, file, onProgress, signal);
    } catch (error) {
      // It would take one of the few places for an hour. Without the signal, which may be why.
      this.#fetch(`/${begun.id}`, { method: 'DELETE' }).catch(() => undefined);
      throw error;
    }
  }

  /** Where the answer is lost, another try gets the same one. */
  async #begin(body, signal) {
    const key = crypto.getRandomValues(new Uint32Array(4)).join('-');
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.#json('', { method: 'POST', body, signal, headers: { 'Idempotency-Key': key } });
      } catch (error) {
        await again(error, failures, signal);
      }
    }
  }

  async #append(begun, file, onProgress, signal) {
    let offset = 0;
    let failures = 0;
    for (;;) {
      try {
        const body = file.slice(offset, offset + begun.chunk_bytes);
        const answer = await this.#json(`/${begun.id}?offset=${offset}`, { method: 'PATCH', body, signal });
        offset = answer.offset;
        failures = 0;
        onProgress(offset);
        if (answer.file) return answer.file;
      } catch (error) {
        await again(error, failures, signal);
        failures += 1;
        offset = await this.#offset(begun.id, offset, signal);
      }
    }
  }

  /** @param {string} id @returns {Promise<FileInfo>} */
  async info(id) {
    return (await this.#json(`/${id}/info`)).file;
  }

  /** @param {string} id @returns {Promise<Blob>} */
  async content(id) {
    return (await this.#fetch(`/${id}`)).blob();
  }

  /** @param {string} id @returns {Promise<Blob>} a small picture */
  async thumbnail(id) {
    return (await this.#fetch(`/${id}/thumbnail`)).blob();
  }

  /** How far the server is: where it cannot be asked just now, what was known. */
  async #offset(id, known, signal) {
    try {
      return (await this.#json(`/${id}/upload`, { signal })).offset;
    } catch (error) {
      if (PASSING.has(error.code)) return known;
      throw error;
    }
  }

  async #json(path, options) {
    return (await this.#fetch(path, options)).json();
  }

  async #fetch(path, options = {}) {
    let answer;
    try {
      answer = await fetch(this.#base + path, {
        ...options,
        headers: { ...options.headers, Authorization: `Participant ${this.#credential()}` },
      });
    } catch (error) {
      throw new SfuError(options.signal?.aborted ? 'cancelled' : 'disconnected', String(error));
    }
    if (answer.ok) return answer;
    const { error = {} } = await answer.json().catch(() => ({}));
    const waits = Number(answer.headers.get('Retry-After')) * 1000 || 0;
    throw new SfuError(error.code ?? 'internal', error.message, { retry_after_ms: waits });
  }
}

/** Waits before another try, as long as the server asks for; throws `error` where there is none. */
async function again(error, failures, signal) {
  if (!PASSING.has(error.code) || failures >= RETRIES_MS.length) throw error;
  const asked = Math.min(error.details.retry_after_ms ?? 0, LONGEST_MS);
  await new Promise((resolve) => {
    setTimeout(resolve, Math.max(asked, RETRIES_MS[failures]));
    signal?.addEventListener('abort', resolve, { once: true });
  });
  if (signal?.aborted) throw new SfuError('cancelled');
}
