import { REACTIONS } from '../sdk/classroom.js';
import { t } from '../texts/index.js';
import { el, FocusReturn } from './dom.js';

const FLIGHT_MS = 3_000;
const MOST_AT_ONCE = 30;

/** Reactions that rise over the stage, and the row to choose one from. */
export class Reactions {
  #sky = el('div', { class: 'reactions', testid: 'reactions', 'aria-hidden': 'true' });
  #row;
  #focus = new FocusReturn();
  #onOpen;

  /**
   * @param {(reaction: string) => void} onChosen
   * @param {(open: boolean) => HTMLElement} onOpen the row opens or closes; returns the button that does that
   */
  constructor(onChosen, onOpen) {
    this.#onOpen = onOpen;
    const choice = (reaction) =>
      el('button', {
        type: 'button',
        class: 'reaction-choice',
        testid: 'reaction-choice',
        text: reaction,
        on: {
          click: () => {
            this.toggle(false);
            onChosen(reaction);
          },
        },
      });
    this.#row = el(
      'div',
      { class: 'reaction-row', testid: 'reaction-row', role: 'group', 'aria-label': t('control.react'), hidden: true },
      ...REACTIONS.map(choice),
    );
    this.element = el('div', { class: 'reactions-layer' }, this.#sky, this.#row);
  }

  /** @param {boolean} [open] the opposite of now without */
  toggle(open = this.#row.hidden) {
    if (open !== this.#row.hidden) return;
    this.#row.hidden = !open;
    const opener = this.#onOpen(open);
    if (open) this.#focus.enter(this.#row.firstElementChild);
    else this.#focus.leave(this.#row, opener);
  }

  /**
   * @param {string} reaction
   * @param {string} name whose
   */
  show(reaction, name) {
    if (this.#sky.childElementCount >= MOST_AT_ONCE) return;
    const flying = el('span', { testid: 'reaction' }, el('b', { text: reaction }), el('small', { text: name }));
    flying.style.setProperty('--at', `${10 + Math.random() * 80}%`);
    this.#sky.append(flying);
    setTimeout(() => flying.remove(), FLIGHT_MS);
  }
}
