import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { devicePickers } from './device-pickers.js';
import { explain } from './dialogs.js';
import { avatar, el, iconButton, setButton } from './dom.js';
import { LevelMeter } from './meter.js';
import { pageHead } from './page-head.js';
import { recall, remember } from './preferences.js';

/** The server takes names of this length. */
const MOST_NAME = 64;

/**
 * Before the call: who one is, how one looks, which devices.
 * @param {{room: string, media: import('./local-media.js').LocalMedia, join: (name: string) => Promise<void>,
 *   home: () => void, relanguage: () => void}} options `join` settles when the call is there or has been
 *   refused
 * @returns {{element: HTMLElement, dispose: () => void}}
 */
export function prejoinPage({ room, media, join, home, relanguage }) {
  const page = new Prejoin(room, media, join);
  page.element.prepend(pageHead({ home, relanguage }));
  return page;
}

class Prejoin {
  #media;
  #join;
  #starting = true;
  #onChange = () => this.#refresh();
  #video;
  #cover;
  #meter;
  #microphone;
  #camera;
  #trouble;
  #name;
  #button;
  #pickers;

  constructor(room, media, join) {
    this.#media = media;
    this.#join = join;
    this.#video = el('video', {
      autoplay: true,
      playsinline: true,
      testid: 'prejoin-video',
      'aria-hidden': 'true',
    });
    this.#video.muted = true;
    this.#cover = el('div', { class: 'preview-cover' });
    this.#meter = new LevelMeter(t('prejoin.level'));
    this.#microphone = this.#toggle('microphone', 'prejoin-mic');
    this.#camera = this.#toggle('camera', 'prejoin-camera');
    this.#trouble = el('p', { class: 'trouble', role: 'alert', testid: 'prejoin-trouble', hidden: true });
    this.#name = el('input', {
      id: 'name',
      testid: 'prejoin-name',
      value: recall('name', ''),
      maxlength: MOST_NAME,
      autocomplete: 'name',
      placeholder: t('prejoin.name.placeholder'),
      on: { input: () => this.#refresh() },
    });
    this.#button = el('button', {
      type: 'submit',
      class: 'primary big wide',
      testid: 'prejoin-join',
      text: t('prejoin.join'),
    });
    this.#pickers = devicePickers(media);
    this.element = el(
      'div',
      { class: 'page prejoin', testid: 'prejoin' },
      el(
        'main',
        { class: 'prejoin-main' },
        el(
          'section',
          { class: 'preview', 'aria-label': t('device.camera') },
          this.#video,
          this.#cover,
          el('div', { class: 'preview-bar' }, this.#microphone, this.#camera, this.#meter.element),
        ),
        el(
          'form',
          { class: 'card', on: { submit: (event) => this.#submit(event) } },
          el('h1', { text: t('prejoin.title') }),
          el(
            'p',
            { class: 'prejoin-room' },
            el('span', { text: t('prejoin.room') }),
            el('strong', { testid: 'prejoin-room', text: room }),
          ),
          el('label', { class: 'field', for: 'name' }, el('span', { text: t('prejoin.name') }), this.#name),
          this.#pickers.element,
          this.#trouble,
          this.#button,
        ),
      ),
    );
    media.addEventListener('change', this.#onChange);
    this.#refresh();
    media.start().finally(() => {
      this.#starting = false;
      this.#refresh();
      if (!window.isSecureContext) explain('insecure_context');
    });
  }

  dispose() {
    this.#media.removeEventListener('change', this.#onChange);
    this.#pickers.dispose();
    this.#meter.dispose();
    this.#video.srcObject = null;
  }

  #toggle(kind, testid) {
    return iconButton({
      testid,
      icon: kind === 'camera' ? 'camera' : 'mic',
      label: t(`control.${kind}.on`),
      class: 'device',
      pressed: false,
      on: async () => {
        try {
          await this.#media.set(kind, !this.#isOn(kind));
        } catch (error) {
          await explain(error.code);
        }
      },
    });
  }

  #isOn(kind) {
    return this.#media.on[kind] && this.#media.tracks[kind] !== null;
  }

  #refresh() {
    const { tracks, errors, on } = this.#media;
    for (const [kind, button, icon] of [
      ['microphone', this.#microphone, 'mic'],
      ['camera', this.#camera, 'camera'],
    ]) {
      const isOn = this.#isOn(kind);
      const label = t(`control.${kind}.${isOn ? 'off' : 'on'}`);
      setButton(button, { pressed: isOn, icon: isOn ? icon : `${icon}-off`, label });
    }
    const camera = this.#isOn('camera') ? tracks.camera : null;
    if ((this.#video.srcObject?.getVideoTracks()[0] ?? null) !== camera) {
      this.#video.srcObject = camera ? new MediaStream([camera]) : null;
    }
    this.#cover.hidden = camera !== null;
    const text = this.#starting && on.camera && !errors.camera ? t('prejoin.starting') : t('prejoin.camera.off');
    this.#cover.replaceChildren(avatar(this.#name.value || t('guest')), el('p', { text }));
    this.#meter.follow(this.#isOn('microphone') ? tracks.microphone : null);
    this.#showTrouble((on.camera && errors.camera) || (on.microphone && errors.microphone));
  }

  #showTrouble(error) {
    const nothing = Boolean(error) && !this.#media.tracks.camera && !this.#media.tracks.microphone;
    this.#trouble.hidden = !error;
    this.#trouble.textContent = error ? t(messageKey(error.code)) : '';
    this.#trouble.dataset.code = error ? error.code : '';
    if (!this.#button.disabled) this.#button.textContent = t(nothing ? 'prejoin.watch' : 'prejoin.join');
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#button.disabled) return;
    const name = this.#name.value.trim();
    remember('name', name);
    this.#button.disabled = true;
    this.#button.textContent = t('prejoin.joining');
    try {
      await this.#join(name || t('guest'));
    } finally {
      this.#button.disabled = false;
      this.#refresh();
    }
  }
}
