import { AlarmRhythm } from './alarm-rhythm.js';
import { recall, remember } from './preferences.js';

/** A burst of three falling notes, as IEC 60601-1-8 has it for what wants a prompt response. */
const NOTES_HZ = [523, 440, 349];
const NOTE_S = 0.18;
const NOTE_EVERY_S = 0.34;
/** So that no click begins or ends it. */
const RISE_S = 0.03;
const LOUDNESS = 0.35;
/** Strengths of the harmonics: small loudspeakers play those, and it is told from voices. */
const HARMONICS = [0, 1, 0.7, 0.5, 0.35, 0.25];
/** A browser that has not begun to play by now waits for somebody to press something. */
const BLOCKED_MS = 500;

/**
 * The sound of alarms. Event `change`: whether it is muted, or blocked by the browser.
 */
export class AlarmSound extends EventTarget {
  /** Whether the browser plays nothing before somebody presses something. */
  blocked = false;

  #muted = !recall('alarmSound', true);
  #rhythm = new AlarmRhythm(this.#muted);
  #context = /** @type {AudioContext | null} */ (null);
  #notes = /** @type {OscillatorNode[]} */ ([]);
  #speaker;
  #played = false;
  #timer = 0;
  #listeners = new AbortController();

  /** @param {string} speaker empty for the system's own choice */
  constructor(speaker) {
    super();
    this.#speaker = speaker;
    // Bubbling: a press on the button that says it is blocked comes here when that button has seen it.
    document.addEventListener('click', () => this.#pressed(), { signal: this.#listeners.signal });
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    remember('alarmSound', !muted);
    this.#rhythm.mute(muted, performance.now());
    this.#follow();
    this.#changed();
  }

  /** @param {string[]} standing keys of the alarms that nobody has acknowledged */
  update(standing) {
    if (this.#rhythm.update(standing, performance.now())) this.#follow();
  }

  /** @param {string} deviceId empty for the system's own choice */
  setSpeaker(deviceId) {
    this.#speaker = deviceId;
    // A speaker that has gone leaves the sound where it was.
    this.#context?.setSinkId?.(deviceId).catch(() => undefined);
  }

  dispose() {
    clearTimeout(this.#timer);
    this.#listeners.abort();
    this.#context?.close();
  }

  #follow() {
    clearTimeout(this.#timer);
    if (this.#rhythm.active) {
      this.#timer = setTimeout(() => this.#due(), this.#rhythm.wait(performance.now()));
      return;
    }
    for (const note of this.#notes) note.stop();
    this.#notes = [];
    if (this.#context?.state === 'running') this.#context.suspend();
    this.#setBlocked(false);
  }

  #due() {
    if (this.#open().state === 'running') {
      this.#burst();
      this.#rhythm.sounded(performance.now());
      this.#follow();
      return;
    }
    this.#resume();
    this.#timer = setTimeout(() => this.#setBlocked(true), BLOCKED_MS);
  }

  #open() {
    if (!this.#context) {
      this.#context = new AudioContext();
      this.#context.addEventListener('statechange', () => this.#stateChanged());
      if (this.#speaker) this.setSpeaker(this.#speaker);
    }
    return this.#context;
  }

  #resume() {
    this.#open().resume().catch(() => undefined);
  }

  #stateChanged() {
    if (this.#context?.state === 'running') {
      this.#played = true;
      this.#setBlocked(false);
      this.#follow();
    } else if (this.#rhythm.active) {
      this.#resume(); // an alarm came while it went to rest
    }
  }

  /** What may play once, from somebody's press, may play from then on. */
  #pressed() {
    if (!this.#played || this.blocked) this.#resume();
  }

  #burst() {
    const context = this.#open();
    const periodicWave = new PeriodicWave(context, { real: HARMONICS.map(() => 0), imag: HARMONICS });
    this.#notes = NOTES_HZ.map((frequency, index) => {
      const from = context.currentTime + index * NOTE_EVERY_S;
      const volume = new GainNode(context, { gain: 0 });
      volume.gain.setValueAtTime(0, from);
      volume.gain.linearRampToValueAtTime(LOUDNESS, from + RISE_S);
      volume.gain.setValueAtTime(LOUDNESS, from + NOTE_S - RISE_S);
      volume.gain.linearRampToValueAtTime(0, from + NOTE_S);
      const note = new OscillatorNode(context, { periodicWave, frequency });
      note.connect(volume).connect(context.destination);
      note.start(from);
      note.stop(from + NOTE_S);
      return note;
    });
  }

  #setBlocked(blocked) {
    if (this.blocked === blocked) return;
    this.blocked = blocked;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent('change'));
  }
}
