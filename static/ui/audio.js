import { el } from './dom.js';

/**
 * The sound of the others: one element for each track, because some browsers refuse to mix.
 *
 * Event `blocked` (`{blocked}`): whether the browser wants a tap before it plays.
 */
export class AudioSinks extends EventTarget {
  /** @type {Map<string, HTMLAudioElement>} */
  #elements = new Map();
  #speaker = '';
  #blocked = false;

  constructor() {
    super();
    this.element = el('div', { hidden: true });
  }

  /**
   * @param {string} id of the publication
   * @param {MediaStreamTrack} track
   */
  add(id, track) {
    this.remove(id);
    const audio = el('audio', { autoplay: true, data: { publication: id } });
    audio.srcObject = new MediaStream([track]);
    this.#elements.set(id, audio);
    this.element.append(audio);
    this.#route(audio);
    this.#play(audio);
  }

  /** @param {string} id */
  remove(id) {
    const audio = this.#elements.get(id);
    if (!audio) return;
    audio.srcObject = null;
    audio.remove();
    this.#elements.delete(id);
  }

  /** @param {string} deviceId empty for the system's own choice */
  setSpeaker(deviceId) {
    this.#speaker = deviceId;
    for (const audio of this.#elements.values()) this.#route(audio);
  }

  /** Play what was refused; to be called from a tap. */
  unblock() {
    this.#setBlocked(false);
    for (const audio of this.#elements.values()) this.#play(audio);
  }

  dispose() {
    for (const id of [...this.#elements.keys()]) this.remove(id);
    this.element.remove();
  }

  #play(audio) {
    audio.play().catch((error) => {
      if (error.name === 'NotAllowedError') this.#setBlocked(true);
    });
  }

  #route(audio) {
    // A speaker that has gone leaves the sound where it was.
    if (audio.sinkId !== undefined && audio.sinkId !== this.#speaker) {
      audio.setSinkId(this.#speaker).catch(() => undefined);
    }
  }

  #setBlocked(blocked) {
    if (this.#blocked === blocked) return;
    this.#blocked = blocked;
    this.dispatchEvent(new CustomEvent('blocked', { detail: { blocked } }));
  }
}
