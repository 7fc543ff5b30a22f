import { el } from './dom.js';

/** A bar that follows how loud a track is. */
export class LevelMeter {
  #context = /** @type {AudioContext | null} */ (null);
  #source = /** @type {MediaStreamAudioSourceNode | null} */ (null);
  #analyser = /** @type {AnalyserNode | null} */ (null);
  #samples = new Float32Array(512);
  #frame = 0;
  #track = /** @type {MediaStreamTrack | null} */ (null);
  #level = 0;
  #bar;

  /** @param {string} label */
  constructor(label) {
    this.#bar = el('span', { class: 'meter-bar' });
    this.element = el(
      'span',
      {
        class: 'meter',
        testid: 'mic-level',
        role: 'meter',
        'aria-label': label,
        'aria-valuemin': 0,
        'aria-valuemax': 100,
      },
      this.#bar,
    );
  }

  /** @param {MediaStreamTrack | null} track */
  follow(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#source?.disconnect();
    this.#source = null;
    if (!track) {
      this.#show(0);
      return;
    }
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#measure());
  }

  dispose() {
    cancelAnimationFrame(this.#frame);
    this.#source?.disconnect();
    this.#context?.close();
    this.#context = null;
  }

  #measure() {
    if (this.#context?.state === 'suspended') this.#context.resume().catch(() => undefined);
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, each) => sum + each * each, 0) / this.#samples.length;
    const decibels = 10 * Math.log10(power + 1e-9);
    const level = this.#track?.enabled ? Math.min(1, Math.max(0, (decibels + 60) / 50)) : 0;
    // Rises at once and falls slowly, as the eye likes it.
    this.#show(Math.max(level, this.#level - 0.03));
    this.#frame = requestAnimationFrame(() => this.#measure());
  }

  #show(level) {
    this.#level = level;
    this.#bar.style.setProperty('transform', `scaleX(${level.toFixed(3)})`);
    this.element.setAttribute('aria-valuenow', String(Math.round(level * 100)));
  }
}
