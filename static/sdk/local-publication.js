/**
 * A track of one's own on its way to the room. It outlives transports: after a loss it is published again,
 * with another `id`.
 */
export class LocalPublication {
  /** Given by the server; null until published. @type {string | null} */
  id = null;

  /**
   * @param {MediaStreamTrack} track
   * @param {'camera' | 'microphone' | 'screen' | 'screen_audio' | 'other'} source
   * @param {{name?: string, muted?: boolean, simulcast?: boolean}} [options]
   */
  constructor(track, source, { name = '', muted = false, simulcast = true } = {}) {
    /** What is sent now; null while nothing is. @type {MediaStreamTrack | null} */
    this.track = track;
    this.kind = /** @type {'audio' | 'video'} */ (track.kind);
    this.source = source;
    this.name = name;
    this.muted = muted;
    this.simulcast = simulcast;
    const { width = 0, height = 0 } = track.kind === 'video' ? track.getSettings() : {};
    this.width = width;
    this.height = height;
  }
}
