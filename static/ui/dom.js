import { icon } from './icons.js';

/**
 * Make an element. Texts go in as text nodes only: nothing that people write is ever read as HTML.
 *
 * @param {string} tag
 * @param {Record<string, any>} [properties] `class`, `text`, `testid`, `data` (data attributes), `on` (listeners);
 *   booleans set or leave out an attribute, everything else is an attribute
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name === 'text') element.textContent = value;
    else if (name === 'testid') element.dataset.testid = value;
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'on') for (const [type, act] of Object.entries(value)) element.addEventListener(type, act);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * A button with an icon; its label is read aloud and shown as a tooltip.
 * @param {{testid: string, icon: string, label: string, shortcut?: string, class?: string, pressed?: boolean,
 *   caption?: string, short?: string, on: () => void}} options `pressed` makes it a toggle; `caption` is seen in
 *   menus, `short` below the icon in a wide bar
 * @returns {HTMLButtonElement}
 */
export function iconButton({ testid, icon: name, label, shortcut, class: extra = '', pressed, caption, short, on }) {
  const button = el(
    'button',
    {
      type: 'button',
      class: `icon-button ${extra}`,
      testid,
      'aria-keyshortcuts': shortcut,
      'aria-pressed': pressed === undefined ? undefined : String(pressed),
      on: { click: on },
    },
    icon(name),
    caption && el('span', { class: 'caption', text: caption }),
    short && el('span', { class: 'short', text: short }),
  );
  setLabel(button, label, shortcut);
  return button;
}

/**
 * @param {HTMLElement} button
 * @param {string} label
 * @param {string} [shortcut]
 */
export function setLabel(button, label, shortcut) {
  button.setAttribute('aria-label', label);
  button.title = shortcut ? `${label} (${shortcut})` : label;
}

/**
 * @param {HTMLElement} button of `iconButton`
 * @param {{pressed?: boolean, icon?: string, label?: string, shortcut?: string}} state
 */
export function setButton(button, { pressed, icon: name, label, shortcut }) {
  if (pressed !== undefined) button.setAttribute('aria-pressed', String(pressed));
  if (name) button.querySelector('svg')?.replaceWith(icon(name));
  if (label) setLabel(button, label, shortcut);
}

/**
 * Put other children into an element; who has the focus in there keeps it, on the element that takes the place of the
 * one that had it: with the same `testid`, in the entry with the same `data-key`.
 * @param {HTMLElement} parent
 * @param {...(Node | string)} children
 */
export function refill(parent, ...children) {
  const focused = document.activeElement;
  if (!(focused instanceof HTMLElement) || focused === parent || !parent.contains(focused)) {
    parent.replaceChildren(...children);
    return;
  }
  const { key } = focused.closest('[data-key]')?.dataset ?? {};
  const scope = () => (key === undefined ? parent : parent.querySelector(`[data-key="${CSS.escape(key)}"]`));
  const alike = () => [...(scope()?.querySelectorAll(`[data-testid="${focused.dataset.testid}"]`) ?? [])];
  const place = alike().indexOf(focused);
  parent.replaceChildren(...children);
  if (parent.contains(document.activeElement)) return; // the same elements, put back
  const others = alike();
  const next = [others[place] ?? others.at(-1), ...[...(scope()?.querySelectorAll('button, input') ?? [])].reverse()];
  const takes = next.find((each) => each && !each.disabled) ?? parent.closest('.panel')?.querySelector('.panel-head h2');
  takes?.focus();
}

/** @param {Element} element @returns {boolean} whether it is drawn */
export function isShown(element) {
  return element.isConnected && element.getClientRects().length > 0;
}

/** Takes the focus into something that opens, and back to where it was when that closes. */
export class FocusReturn {
  #from = /** @type {Element | null} */ (null);

  /** @param {HTMLElement} target is shown and takes it */
  enter(target) {
    this.#from = document.activeElement;
    target.focus();
  }

  /**
   * @param {Element} closed what has closed; who has moved on meanwhile stays there
   * @param {HTMLElement} instead takes it where the one that had it is no longer seen
   */
  leave(closed, instead) {
    const { activeElement: now, body } = document;
    if (now && now !== body && !closed.contains(now)) return;
    const from = this.#from instanceof HTMLElement && this.#from !== body && isShown(this.#from) ? this.#from : instead;
    from.focus();
  }
}

/**
 * A hue that always belongs to the same name, spread over the wheel.
 * @param {string} name
 * @returns {number} degrees
 */
export function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return Math.round((hash * 137.508) % 360);
}

/**
 * @param {string} name
 * @returns {string} one or two letters for an avatar
 */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : ''].map((word) => [...(word ?? '')][0] ?? '');
  return letters.join('').toUpperCase() || '?';
}

/**
 * @param {string} name
 * @returns {HTMLElement}
 */
export function avatar(name) {
  const circle = el('span', { class: 'avatar', 'aria-hidden': 'true', text: initials(name) });
  circle.style.setProperty('--hue', String(hueOf(name)));
  return circle;
}
