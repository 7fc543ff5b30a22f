/** From one burst to the next while an alarm stands: often enough for who is away, and one can talk in between. */
export const REPEAT_MS = 8_000;
/** From one burst to that of a newer alarm: many alarms at once are still bursts. */
export const APART_MS = 2_000;

/** When alarms sound: at once when one is raised, and again and again while one stands that nobody has acknowledged. */
export class AlarmRhythm {
  #standing = new Set();
  #muted;
  #last = -Infinity;
  #next = Infinity;

  /** @param {boolean} muted */
  constructor(muted) {
    this.#muted = muted;
  }

  /** @returns {boolean} whether there is anything to sound for */
  get active() {
    return this.#standing.size > 0 && !this.#muted;
  }

  /**
   * @param {string[]} standing keys of the alarms that nobody has acknowledged
   * @param {number} now milliseconds
   * @returns {boolean} whether they are others than before
   */
  update(standing, now) {
    const raised = standing.some((key) => !this.#standing.has(key));
    if (raised) this.#soon(now);
    const others = raised || standing.length < this.#standing.size;
    this.#standing = new Set(standing);
    return others;
  }

  /**
   * @param {boolean} muted
   * @param {number} now milliseconds
   */
  mute(muted, now) {
    if (this.#muted && !muted) this.#soon(now);
    this.#muted = muted;
  }

  /**
   * @param {number} now milliseconds
   * @returns {number} milliseconds until the next burst; infinite where none is due
   */
  wait(now) {
    return this.active ? Math.max(0, this.#next - now) : Infinity;
  }

  /** A burst begins. @param {number} now milliseconds */
  sounded(now) {
    this.#last = now;
    this.#next = now + REPEAT_MS;
  }

  #soon(now) {
    this.#next = Math.min(this.#next, Math.max(now, this.#last + APART_MS));
  }
}
