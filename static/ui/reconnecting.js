import { t } from '../texts/index.js';
import { el } from './dom.js';

/** Says that the connection is lost and when the next try is. What still flows is still seen behind it. */
export class ReconnectingOverlay {
  #timer = 0;
  #line;

  /** @param {() => void} retry */
  constructor(retry) {
    this.#line = el('p', {});
    this.element = el(
      'div',
      { class: 'reconnecting', testid: 'reconnecting', role: 'alert', hidden: true },
      el('span', { class: 'spinner', 'aria-hidden': 'true' }),
      el('div', {}, el('strong', { text: t('reconnecting.title') }), this.#line),
      el('button', {
        type: 'button',
        class: 'quiet',
        testid: 'reconnect-now',
        text: t('reconnecting.retry'),
        on: { click: retry },
      }),
    );
  }

  /** @param {number} [inMs] until the next try; it runs now without */
  show(inMs = 0) {
    clearInterval(this.#timer);
    this.element.hidden = false;
    const at = performance.now() + inMs;
    const draw = () => {
      const seconds = Math.ceil((at - performance.now()) / 1000);
      this.#line.textContent = seconds > 0 ? t('reconnecting.in', { seconds }) : t('reconnecting.now');
    };
    draw();
    this.#timer = setInterval(draw, 500);
  }

  hide() {
    clearInterval(this.#timer);
    this.element.hidden = true;
  }
}
