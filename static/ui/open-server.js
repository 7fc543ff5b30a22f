import { t } from '../texts/index.js';
import { el } from './dom.js';

/** Says that anybody who reaches the server may enter, until it is put away. */
export class OpenServerNote {
  constructor() {
    this.element = el(
      'div',
      { class: 'open-server', testid: 'open-server', role: 'status', hidden: true },
      el('p', {}, el('strong', { text: t('open.title') }), ' ', t('open.text')),
      el('button', {
        type: 'button',
        class: 'quiet',
        testid: 'open-server-close',
        text: t('open.close'),
        on: { click: () => this.element.remove() },
      }),
    );
  }

  /** @param {boolean} open */
  show(open) {
    this.element.hidden = !open;
  }
}
