import { mediaError, SfuError } from '../sdk/errors.js';
import { recall, remember } from './preferences.js';

/** @typedef {'camera' | 'microphone'} InputKind */

const KINDS = { camera: 'videoinput', microphone: 'audioinput', speaker: 'audiooutput' };
const WANTED = {
  camera: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } },
  microphone: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

/**
 * The camera and microphone of this machine and the choice among them.
 *
 * A camera that is off is released, so that its light goes out; a microphone that is off stays open but silent,
 * so that it comes back without cutting the first word.
 *
 * Events: `change` {}; `lost` {kind}: a device was taken away.
 */
export class LocalMedia extends EventTarget {
  /** @type {Record<InputKind, MediaStreamTrack | null>} */
  tracks = { camera: null, microphone: null };
  /** Whether they are meant to be on. @type {Record<InputKind, boolean>} */
  on = { camera: recall('cameraOn', true), microphone: recall('microphoneOn', true) };
  /** Why one does not work. @type {Record<InputKind, SfuError | null>} */
  errors = { camera: null, microphone: null };
  /** @type {Record<'camera' | 'microphone' | 'speaker', string>} */
  chosen = { camera: recall('camera', ''), microphone: recall('microphone', ''), speaker: recall('speaker', '') };
  /** @type {MediaDeviceInfo[]} */
  devices = [];

  #listing = () => this.#list();

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener('devicechange', this.#listing);
  }

  /** Open what is meant to be on: one question to the person, or two where one of them fails. */
  async start() {
    const kinds = /** @type {InputKind[]} */ (['camera', 'microphone']).filter((kind) => this.on[kind]);
    if (!kinds.length) return this.#list();
    try {
      this.#take(await this.#ask(kinds), kinds);
    } catch {
      for (const kind of kinds) await this.#open(kind);
    }
    return this.#list();
  }

  /**
   * @param {InputKind} kind
   * @param {boolean} on
   * @returns {Promise<void>} rejects with `SfuError` where the device does not come
   */
  async set(kind, on) {
    this.on[kind] = on;
    remember(`${kind}On`, on);
    if (!on && kind === 'camera') this.#stop('camera');
    if (on && !this.tracks[kind]) await this.#open(kind);
    if (this.tracks.microphone) this.tracks.microphone.enabled = this.on.microphone;
    this.#changed();
    await this.#list();
    if (on && this.errors[kind]) throw this.errors[kind];
  }

  /**
   * @param {'camera' | 'microphone' | 'speaker'} kind
   * @param {string} deviceId empty for the system's own choice
   */
  async choose(kind, deviceId) {
    this.chosen[kind] = deviceId;
    remember(kind, deviceId);
    if (kind !== 'speaker' && this.on[kind]) {
      this.#stop(kind); // some systems do not open two cameras at once
      await this.#open(kind);
    } else if (kind === 'microphone') {
      this.#stop(kind);
    }
    this.#changed();
  }

  /**
   * @param {'camera' | 'microphone' | 'speaker'} kind
   * @returns {MediaDeviceInfo[]}
   */
  list(kind) {
    return this.devices.filter((each) => each.kind === KINDS[kind] && each.deviceId !== 'default');
  }

  dispose() {
    navigator.mediaDevices?.removeEventListener('devicechange', this.#listing);
    this.#stop('camera');
    this.#stop('microphone');
  }

  async #open(kind) {
    try {
      this.#take(await this.#ask([kind]), [kind]);
    } catch (error) {
      this.errors[kind] = mediaError(error);
      this.#changed();
    }
  }

  async #ask(kinds) {
    if (!navigator.mediaDevices) throw new SfuError('insecure_context');
    const wanted = (kind, exact) => {
      if (!kinds.includes(kind)) return false;
      const id = this.chosen[kind];
      return { ...WANTED[kind], ...(id && exact ? { deviceId: { exact: id } } : {}) };
    };
    try {
      return await navigator.mediaDevices.getUserMedia({
        video: wanted('camera', true),
        audio: wanted('microphone', true),
      });
    } catch (error) {
      // The chosen device may be gone: any other will do.
      if (!kinds.some((kind) => this.chosen[kind]) || mediaError(error).code === 'media_denied') throw error;
      return navigator.mediaDevices.getUserMedia({
        video: wanted('camera', false),
        audio: wanted('microphone', false),
      });
    }
  }

  #take(stream, kinds) {
    for (const kind of kinds) {
      const [track] = kind === 'camera' ? stream.getVideoTracks() : stream.getAudioTracks();
      if (!track) continue;
      if (!this.on[kind]) {
        track.stop(); // turned off while it was opening
        continue;
      }
      this.#stop(kind);
      this.errors[kind] = null;
      this.tracks[kind] = track;
      track.addEventListener('ended', () => this.#ended(kind, track));
    }
    this.#changed();
  }

  #ended(kind, track) {
    if (this.tracks[kind] !== track) return;
    this.tracks[kind] = null;
    this.on[kind] = false;
    this.#changed();
    this.dispatchEvent(new CustomEvent('lost', { detail: { kind } }));
  }

  #stop(kind) {
    const track = this.tracks[kind];
    this.tracks[kind] = null;
    track?.stop();
  }

  async #list() {
    if (!navigator.mediaDevices) return;
    try {
      this.devices = await navigator.mediaDevices.enumerateDevices();
    } catch {
      this.devices = [];
    }
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent('change'));
  }
}
