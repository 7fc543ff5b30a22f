import { mediaError, SfuError } from '../sdk/errors.js';

/** @typedef {import('../sdk/room.js').Room} Room */
/** @typedef {import('../sdk/room.js').LocalPublication} LocalPublication */
/** @typedef {import('./local-media.js').LocalMedia} LocalMedia */

/**
 * @param {Record<string, any> | undefined} grants
 * @param {string} source
 * @returns {boolean}
 */
export function mayPublish(grants, source) {
  const publish = grants?.hidden ? false : (grants?.publish ?? true);
  return Array.isArray(publish) ? publish.includes(source) : publish;
}

/**
 * Keeps what is published in step with the devices, and the shared screen.
 *
 * `onError(what, error)` hears of what could not be sent; `what` is a key of a text.
 */
export class CallMedia {
  #room;
  #media;
  #onError;
  /** @type {Record<string, LocalPublication | null>} */
  #published = { camera: null, microphone: null };
  #busy = new Set();
  #again = new Set();
  /** @type {LocalPublication[]} */
  #screen = [];
  #changed = () => this.sync();
  #onMuted = ({ detail }) => this.#turnOff(detail.publication);
  #onRefused = ({ detail }) => this.#refused(detail.publication, detail.error);

  /**
   * @param {Room} room
   * @param {LocalMedia} media
   * @param {(what: string, error: Error) => void} onError
   */
  constructor(room, media, onError) {
    this.#room = room;
    this.#media = media;
    this.#onError = onError;
    media.addEventListener('change', this.#changed);
    room.addEventListener('refused', this.#onRefused);
    room.addEventListener('mutedbyother', this.#onMuted);
    this.sync();
  }

  get sharing() {
    return this.#screen.length > 0;
  }

  /** @returns {boolean} whether this browser can share a screen at all */
  static get canShare() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** Publish, replace or mute so that the room has what the devices give. */
  sync() {
    this.#sync('camera');
    this.#sync('microphone');
  }

  /** @returns {Promise<void>} rejects with `SfuError` */
  async toggleScreen() {
    if (this.sharing) {
      await this.stopScreen();
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { ideal: 15, max: 30 } },
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch (error) {
      const cancelled = error instanceof DOMException && error.name === 'NotAllowedError';
      throw cancelled ? new SfuError('screen_cancelled') : mediaError(error);
    }
    const [video] = stream.getVideoTracks();
    const [audio] = stream.getAudioTracks();
    video.contentHint = 'detail';
    if (audio) audio.contentHint = 'music';
    video.addEventListener('ended', () => this.stopScreen().catch(() => undefined));
    const sound =
      audio &&
      this.#room.publish(audio, 'screen_audio').catch((error) => {
        audio.stop();
        this.#onError('device.screen_audio', error);
      });
    try {
      this.#screen = [await this.#room.publish(video, 'screen')];
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
    const withSound = await sound;
    if (withSound) this.#screen.push(withSound);
    if (video.readyState === 'ended') await this.stopScreen();
  }

  async stopScreen() {
    const sent = this.#screen;
    this.#screen = [];
    for (const publication of sent) publication.track?.stop();
    await Promise.all(sent.map((each) => this.#room.unpublish(each)));
  }

  dispose() {
    this.#media.removeEventListener('change', this.#changed);
    this.#room.removeEventListener('refused', this.#onRefused);
    this.#room.removeEventListener('mutedbyother', this.#onMuted);
    for (const publication of this.#screen) publication.track?.stop();
  }

  /** One change at a time for each device; what changes meanwhile is looked at again. */
  async #sync(kind) {
    if (this.#busy.has(kind)) {
      this.#again.add(kind);
      return;
    }
    this.#busy.add(kind);
    try {
      do {
        this.#again.delete(kind);
        await this.#apply(kind);
      } while (this.#again.has(kind));
    } catch (error) {
      if (error.code === 'not_allowed') this.#media.set(kind, false).catch(() => undefined);
      const told = error.code === 'left' || error.code === 'not_allowed';
      if (!told && this.#room.state !== 'closed') this.#onError(`device.${kind}`, error);
    } finally {
      this.#busy.delete(kind);
    }
  }

  async #apply(kind) {
    const track = this.#media.tracks[kind];
    const muted = !this.#media.on[kind] || !track;
    const publication = this.#published[kind];
    if (!publication) {
      if (track && this.#allowed(kind)) await this.#publish(kind, track, muted);
      return;
    }
    if (publication.track !== track) await this.#room.replaceTrack(publication, track);
    if (publication.muted !== muted) await this.#room.setMuted(publication, muted);
  }

  /** Before the room is joined nobody knows: the server's answer tells then. */
  #allowed(kind) {
    return !this.#room.self || mayPublish(this.#room.self.grants, kind);
  }

  async #publish(kind, track, muted) {
    if (kind === 'camera') track.contentHint = 'motion';
    this.#published[kind] = await this.#room.publish(track, kind, { muted });
  }

  /** The device goes off as if one had done it oneself. */
  #turnOff(publication) {
    for (const [kind, each] of Object.entries(this.#published)) {
      if (each === publication) this.#media.set(kind, false).catch(() => undefined);
    }
  }

  #refused(publication, error) {
    for (const [kind, each] of Object.entries(this.#published)) {
      if (each !== publication) continue;
      this.#turnOff(publication);
      this.#published[kind] = null;
      // Who may not send sees it on the button; that is no failure to be told of.
      if (error.code !== 'not_allowed') this.#onError(`device.${kind}`, error);
    }
    if (this.#screen.includes(publication)) this.stopScreen().catch(() => undefined);
  }
}
