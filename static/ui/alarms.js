import { t } from '../texts/index.js';
import { AlarmSound } from './alarm-sound.js';
import { el, setButton } from './dom.js';
import { readable } from './gauges.js';
import { icon } from './icons.js';

/** Why a device goes without being missed. */
const GONE_WELL = new Set(['left', 'replaced', 'removed', 'shutdown']);

/**
 * Alarms that nobody has acknowledged, above everything else in the call, read aloud as they come, and heard. Each stays
 * until it is acknowledged or over; that a device was lost stays until it is put away.
 */
export class AlarmBar {
  /** @type {AlarmSound} */
  sound;
  #rows = new Map();
  #actions;
  #listeners = new AbortController();
  #handedOver = false;
  #list = el('div', {});
  #soundText = el('span', {});
  #soundButton = el(
    'button',
    { type: 'button', class: 'alarm-sound', testid: 'alarm-sound', on: { click: () => this.#muteOrNot() } },
    icon('sound'),
    this.#soundText,
  );

  /** @param {{open: (participant: string) => void, acknowledge: (participant: string, series: string) => void,
   *   speaker: string, before?: AlarmBar}} options this bar takes the place of `before`, with what sounds */
  constructor({ before, speaker, ...actions }) {
    this.#actions = actions;
    this.sound = before?.sound ?? new AlarmSound(speaker);
    this.sound.addEventListener('change', () => this.#showSound(), { signal: this.#listeners.signal });
    // Always in the page: what comes into it later is read aloud.
    this.element = el(
      'div',
      { class: 'alarms', testid: 'alarms', role: 'region', 'aria-label': t('alarms.title') },
      this.#list,
      this.#soundButton,
    );
    if (before) {
      before.#handedOver = true;
      for (const { lost } of before.#rows.values()) if (lost) this.#addLost(lost.alarm, lost.name);
    }
    this.#showSound();
    this.#soundButton.hidden = this.#rows.size === 0;
  }

  dispose() {
    this.#listeners.abort();
    if (!this.#handedOver) this.sound.dispose();
  }

  /**
   * Show these and no others, besides what was lost.
   * @param {{alarm: import('../sdk/telemetry.js').Alarm, name: string}[]} standing not acknowledged
   * @param {boolean} moderates whether this person may acknowledge
   */
  update(standing, moderates) {
    const keys = new Set(standing.map(({ alarm }) => keyOf(alarm)));
    for (const [key, row] of this.#rows) {
      if (row.lost || keys.has(key)) continue;
      this.#remove(key);
    }
    for (const { alarm, name } of standing) {
      const key = keyOf(alarm);
      if (!this.#rows.has(key)) this.#add(key, this.#standing(alarm, name));
      this.#rows.get(key).button.hidden = !moderates;
    }
    this.#follow();
  }

  /**
   * A device has gone with its alarm.
   * @param {import('../sdk/telemetry.js').Alarm} alarm
   * @param {string} name
   * @returns {boolean} whether that is shown here: it was lost
   */
  ended(alarm, name) {
    this.#remove(keyOf(alarm));
    const lost = !GONE_WELL.has(alarm.reason ?? '');
    if (lost) this.#addLost(alarm, name);
    this.#follow();
    return lost;
  }

  #addLost(alarm, name) {
    const key = `${keyOf(alarm)} lost`;
    this.#remove(key);
    const text = t('alarms.lost', { name, title: alarm.title, value: valueOf(alarm) });
    const dismiss = () => (this.#remove(key), this.#follow());
    this.#add(key, { ...this.#row(text, t('alarms.dismiss'), 'alarm-dismiss', dismiss), lost: { alarm, name } });
  }

  /** What stands here is what sounds. */
  #follow() {
    this.sound.update([...this.#rows.keys()]);
    this.#soundButton.hidden = this.#rows.size === 0;
  }

  #muteOrNot() {
    // Where the browser waits for a press, this was it.
    if (!this.sound.blocked) this.sound.muted = !this.sound.muted;
  }

  #showSound() {
    const { muted, blocked } = this.sound;
    const label = t(blocked ? 'alarms.blocked' : muted ? 'alarms.unmute' : 'alarms.mute');
    setButton(this.#soundButton, { icon: muted || blocked ? 'sound-off' : 'sound', label });
    this.#soundText.textContent = label;
    this.#soundButton.dataset.sound = blocked ? 'blocked' : muted ? 'muted' : 'on';
  }

  #standing(alarm, name) {
    const { participant, series } = alarm;
    const row = this.#row(alarmText(alarm, name), t('alarms.acknowledge'), 'alarm-bar-acknowledge', () =>
      this.#actions.acknowledge(participant, series),
    );
    const show = el('button', { type: 'button', testid: 'alarm-show', text: t('alarms.show'), on: { click: () => this.#actions.open(participant) } });
    row.button.before(show);
    return row;
  }

  #row(text, label, testid, on) {
    const button = el('button', { type: 'button', testid, text: label, 'aria-label': `${label}: ${text}`, on: { click: on } });
    const element = el(
      'div',
      { class: 'alarm', testid: 'alarm' },
      icon('warning'),
      el('p', { role: 'alert', text }),
      button,
    );
    return { element, button, text };
  }

  #add(key, row) {
    // All that is behind a modal dialog is inert, and read to nobody: there it is said as well.
    const dialog = [...document.querySelectorAll('dialog:modal')].at(-1);
    row.echo = dialog && el('p', { class: 'alarm alarm-echo', testid: 'alarm-echo', role: 'alert', text: row.text });
    dialog?.append(row.echo);
    this.#rows.set(key, row);
    this.#list.append(row.element);
  }

  #remove(key) {
    const row = this.#rows.get(key);
    if (!row) return;
    const focused = row.element.contains(document.activeElement);
    row.echo?.remove();
    row.element.remove();
    this.#rows.delete(key);
    if (focused) this.#list.querySelector('button:not([hidden])')?.focus();
  }
}

/**
 * @param {import('../sdk/telemetry.js').Alarm} alarm
 * @param {string} name of who measures
 */
function alarmText(alarm, name) {
  const values = { name, title: alarm.title, value: valueOf(alarm), seconds: alarm.limit };
  return t(`toast.alarm.${alarm.side}`, values);
}

function valueOf({ value, unit }) {
  // Its unit stays on the line of the value.
  return value === null ? t('gauges.none') : `${readable(value)}\u00a0${unit}`.trim();
}

function keyOf({ participant, series, side }) {
  return `${participant} ${side} ${series}`;
}
