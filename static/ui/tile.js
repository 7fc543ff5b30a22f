import { t } from '../texts/index.js';
import { avatar, el, iconButton, setButton } from './dom.js';
import { icon } from './icons.js';
import { statsText } from './stats-text.js';

/** @typedef {import('./tile-model.js').TileView} TileView */

/** One rectangle of the stage: a person, a screen, another camera. */
export class Tile {
  #view = /** @type {TileView | null} */ (null);
  #playing = false;
  #shownName = '';
  #face;
  #name;
  #micOff;
  #dot;
  #note;
  #stats;
  #pin;
  #spot = el('span', { class: 'tile-spot', testid: 'tile-spotlight', text: t('tile.spotlight'), hidden: true });
  #hand = el('span', { class: 'tile-hand', testid: 'tile-hand', role: 'img', 'aria-label': t('tile.hand'), hidden: true }, icon('hand'));

  /** @param {{onPin: (key: string) => void}} options */
  constructor({ onPin }) {
    this.video = el('video', { autoplay: true, playsinline: true, 'aria-hidden': 'true' });
    this.video.muted = true; // sound has elements of its own
    for (const type of ['loadeddata', 'resize']) this.video.addEventListener(type, () => this.#drawn());
    this.#face = el('div', { class: 'tile-face' });
    this.#name = el('span', { class: 'tile-name' });
    this.#micOff = el('span', { class: 'tile-mic', role: 'img', 'aria-label': t('tile.muted') }, icon('mic-off'));
    this.#dot = el('span', { class: 'tile-dot', role: 'img' });
    this.#note = el('div', { class: 'tile-note', testid: 'tile-note', hidden: true });
    this.#stats = el('pre', { class: 'tile-stats', testid: 'tile-stats', hidden: true });
    this.#pin = iconButton({
      testid: 'tile-pin',
      icon: 'pin',
      label: '',
      class: 'tile-pin',
      pressed: false,
      on: () => onPin(this.key),
    });
    this.element = el(
      'article',
      { class: 'tile', testid: 'tile', on: { dblclick: () => onPin(this.key) } },
      this.#face,
      this.video,
      this.#note,
      this.#stats,
      el('div', { class: 'tile-label' }, this.#dot, this.#name, this.#spot, this.#micOff),
      this.#hand,
      this.#pin,
    );
  }

  get key() {
    return this.#view?.key ?? '';
  }

  /** @returns {TileView | null} */
  get view() {
    return this.#view;
  }

  /** @param {TileView} view */
  update(view) {
    const before = this.#view;
    this.#view = view;
    const { dataset } = this.element;
    Object.assign(dataset, {
      participant: view.participant,
      source: view.source,
      local: String(view.local),
      publication: view.publication ?? '',
      connection: view.connection,
      muted: String(view.muted),
      speaking: String(view.speaking),
    });
    if (this.#setTrack(view) || before?.video !== view.video) this.#awaitPicture(view);
    this.#showName(view);
    this.#micOff.hidden = !view.muted || view.source !== 'camera';
    this.#hand.hidden = !view.hand || view.source !== 'camera';
    this.#dot.setAttribute('aria-label', t(`tile.connection.${view.connection}`));
    this.#dot.title = t(`tile.connection.${view.connection}`);
    this.#showState();
  }

  /** @param {HTMLElement | null} gauges what the participant measures */
  setGauges(gauges) {
    const shown = this.element.querySelector('.gauges');
    if (shown === gauges) return;
    shown?.remove();
    if (gauges) this.element.append(gauges);
  }

  /** @param {boolean} pinned */
  setPinned(pinned) {
    const key = pinned ? 'tile.unpin' : 'tile.pin';
    setButton(this.#pin, { pressed: pinned, label: t(key, { name: this.#shownName }) });
  }

  /** @param {boolean} spotlit shown large to all */
  setSpotlit(spotlit) {
    this.element.dataset.spotlight = String(spotlit);
    this.#spot.hidden = !spotlit;
  }

  /** @param {import('../sdk/stats.js').StreamStats | null} stats null hides them */
  showStats(stats) {
    this.#stats.hidden = stats === null;
    if (stats) this.#stats.textContent = statsText(stats, this.#view?.local ?? false);
  }

  /** Let go of the media. */
  dispose() {
    this.video.srcObject = null;
    this.element.remove();
  }

  #setTrack({ track }) {
    const current = this.video.srcObject?.getVideoTracks()[0] ?? null;
    if (current === track) return false;
    this.video.srcObject = track ? new MediaStream([track]) : null;
    // Some browsers leave a paused element paused when its stream is replaced.
    if (track) this.video.play().catch(() => undefined);
    return true;
  }

  /** A track that was muted comes back without an event of its own: only a frame tells. */
  #awaitPicture(view) {
    this.#playing = false;
    if (view.video && view.track) this.video.requestVideoFrameCallback?.(() => this.#drawn());
  }

  #drawn() {
    if (!this.#view?.video || this.video.videoWidth === 0 || !this.#view.track) return;
    this.#playing = true;
    this.element.classList.toggle('portrait', this.video.videoHeight > this.video.videoWidth);
    this.#showState();
  }

  #showName(view) {
    let name = view.local ? t('tile.you', { name: view.name }) : view.name;
    if (view.source === 'screen') {
      name = view.local ? t('tile.screen.you') : t('tile.screen', { name: view.name });
    }
    if (name === this.#shownName) return;
    this.#shownName = name;
    this.#name.textContent = name;
    this.element.setAttribute('aria-label', name);
    this.#face.replaceChildren(avatar(view.name));
    this.setPinned(this.#pin.getAttribute('aria-pressed') === 'true');
  }

  #showState() {
    const state = this.#state();
    if (this.element.dataset.state !== state) this.element.dataset.state = state;
    const view = this.#view;
    const text = state === 'reconnecting' ? 'tile.reconnecting' : state === 'connecting' ? 'tile.connecting' : '';
    const note = view.note || text;
    this.#note.hidden = !note;
    this.#note.textContent = note ? t(note) : '';
  }

  /** @returns {'reconnecting' | 'failed' | 'paused' | 'off' | 'playing' | 'connecting'} */
  #state() {
    const { reconnecting, video, note } = this.#view;
    if (reconnecting) return 'reconnecting';
    if (!video) return 'off';
    if (note) return note.startsWith('tile.failed') ? 'failed' : 'paused';
    return this.#playing ? 'playing' : 'connecting';
  }
}
