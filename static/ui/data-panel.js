import { t } from '../texts/index.js';
import { panelHead } from './dialogs.js';
import { el } from './dom.js';

/**
 * One thing that the data panel shows. `element` is its content; `update` is called when the panel opens, and
 * while it is open whenever the room has changed; `dispose` at the end.
 *
 * @typedef {{name: string, title: string, element: HTMLElement, update?: () => void, dispose?: () => void}} DataSection
 */

/** What tools, games and devices share: a column of sections that fold. */
export class DataPanel {
  #body = el('div', { class: 'data-body' });
  /** @type {DataSection[]} */
  #sections = [];

  /** @param {{close: () => void}} options */
  constructor({ close }) {
    const head = panelHead(t('data.title'), close);
    this.element = el(
      'aside',
      { class: 'panel data', testid: 'data-panel', 'aria-label': t('data.title'), hidden: true },
      head.element,
      this.#body,
    );
  }

  /**
   * Show one more section, below the others.
   * @param {DataSection} section
   * @param {{open?: boolean}} [options] unfolded at first
   */
  add(section, { open = true } = {}) {
    this.#sections.push(section);
    this.#body.append(
      el(
        'details',
        { class: 'data-section', testid: `data-section-${section.name}`, open },
        el('summary', {}, el('h3', { text: section.title })),
        section.element,
      ),
    );
  }

  /** Something has changed; what nobody sees waits until the panel opens. */
  update() {
    if (this.element.hidden) return;
    for (const section of this.#sections) section.update?.();
  }

  dispose() {
    for (const section of this.#sections) section.dispose?.();
  }
}
