const DEBOUNCE_MS = 250;
/** Sizes are told in steps, so that moving a window by a pixel is not news. */
const STEP_PIXELS = 32;
/** A look at another tab and back should not cost a keyframe. */
const HIDDEN_MS = 4_000;

/**
 * Tells the server how large each picture is drawn, and which are not seen at all.
 */
export class Wishes {
  /** @type {Map<string, {width: number, height: number, visible: boolean, priority: number}>} */
  #wanted = new Map();
  #told = new Map();
  #send;
  #timer = 0;
  #hiddenTimer = 0;
  #hidden = false;
  #onVisibility = () => this.#visibilityChanged();

  /** @param {(publications: string[], wish: object) => void} send */
  constructor(send) {
    this.#send = send;
    document.addEventListener('visibilitychange', this.#onVisibility);
  }

  /**
   * @param {string} publication
   * @param {{width: number, height: number, visible: boolean, priority: number}} wish size in CSS pixels
   */
  set(publication, wish) {
    this.#wanted.set(publication, wish);
    this.#plan();
  }

  /** @param {(publication: string) => boolean} exists */
  prune(exists) {
    for (const publication of [...this.#wanted.keys()]) {
      if (!exists(publication)) {
        this.#wanted.delete(publication);
        this.#told.delete(publication);
      }
    }
  }

  dispose() {
    clearTimeout(this.#timer);
    clearTimeout(this.#hiddenTimer);
    document.removeEventListener('visibilitychange', this.#onVisibility);
  }

  #visibilityChanged() {
    clearTimeout(this.#hiddenTimer);
    const apply = () => {
      this.#hidden = document.visibilityState === 'hidden';
      this.#flush();
    };
    if (document.visibilityState === 'hidden') this.#hiddenTimer = setTimeout(apply, HIDDEN_MS);
    else apply();
  }

  #plan() {
    if (!this.#timer) this.#timer = setTimeout(() => this.#flush(), DEBOUNCE_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const groups = new Map();
    for (const [publication, wanted] of this.#wanted) {
      const wish = this.#wish(wanted, this.#told.get(publication));
      const text = JSON.stringify(wish);
      if (JSON.stringify(this.#told.get(publication)) === text) continue;
      this.#told.set(publication, wish);
      const group = groups.get(text) ?? { wish, publications: [] };
      group.publications.push(publication);
      groups.set(text, group);
    }
    for (const { wish, publications } of groups.values()) this.#send(publications, wish);
  }

  #wish({ width, height, visible, priority }, told) {
    // What is not drawn has no size: it keeps the one it had.
    if (!visible || this.#hidden) return { width: 0, height: 0, priority, ...told, paused: true };
    const density = Math.min(2, window.devicePixelRatio || 1);
    const step = (pixels) => Math.max(STEP_PIXELS, Math.ceil((pixels * density) / STEP_PIXELS) * STEP_PIXELS);
    return { width: step(width), height: step(height), priority, paused: false };
  }
}
