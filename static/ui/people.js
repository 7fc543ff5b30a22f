import { t } from '../texts/index.js';
import { panelHead } from './dialogs.js';
import { avatar, el, iconButton } from './dom.js';
import { icon } from './icons.js';

/** The list of who is there. */
export class PeoplePanel {
  #onMessage;
  #signature = '';
  #title;
  #list;

  /** @param {{close: () => void, onMessage: (participant: string) => void}} options */
  constructor({ close, onMessage }) {
    this.#onMessage = onMessage;
    const head = panelHead(t('people.title', { count: 0 }), close);
    this.#title = head.title;
    this.#list = el('ul', { class: 'people-list', testid: 'people-list' });
    this.element = el(
      'aside',
      { class: 'panel people', testid: 'people-panel', 'aria-label': t('control.people'), hidden: true },
      head.element,
      this.#list,
    );
  }

  /** @param {import('./tile-model.js').TileView[]} views of the stage */
  update(views) {
    const faces = views.filter((each) => each.key.endsWith('/face'));
    const sharing = new Set(views.filter((each) => each.source === 'screen').map((each) => each.participant));
    const people = [...faces.filter((each) => each.local), ...faces.filter((each) => !each.local)].map((each) => ({
      id: each.participant,
      name: each.name,
      local: each.local,
      muted: each.muted,
      video: each.video,
      reconnecting: each.reconnecting,
      sharing: sharing.has(each.participant),
    }));
    const signature = JSON.stringify(people);
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#title.textContent = t('people.title', { count: people.length });
    this.#list.replaceChildren(...people.map((each) => this.#row(each)));
  }

  #row({ id, name, local, muted, video, reconnecting, sharing }) {
    const status = (key, name) => el('span', { role: 'img', 'aria-label': t(key), title: t(key) }, icon(name));
    return el(
      'li',
      { testid: 'person', data: { participant: id, muted: String(muted) } },
      avatar(name),
      el(
        'span',
        { class: 'person-name' },
        el('span', { text: name }),
        local && el('small', { text: t('people.you') }),
        reconnecting && el('small', { class: 'warn', text: t('people.reconnecting') }),
      ),
      !local &&
        iconButton({
          testid: 'person-message',
          icon: 'chat',
          label: t('people.message', { name }),
          class: 'bare',
          on: () => this.#onMessage(id),
        }),
      sharing && status('people.screen', 'screen'),
      status(video ? 'people.camera.on' : 'people.camera.off', video ? 'camera' : 'camera-off'),
      status(muted ? 'people.microphone.off' : 'people.microphone.on', muted ? 'mic-off' : 'mic'),
    );
  }
}
