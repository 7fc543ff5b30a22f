import { t } from '../texts/index.js';
import { el } from './dom.js';
import { readable } from './gauges.js';
import { icon } from './icons.js';

/** Why a device goes without being missed. */
const GONE_WELL = new Set(['left', 'replaced', 'removed', 'shutdown']);

/**
 * Alarms that nobody has acknowledged, above everything else in the call, read aloud as they come. Each stays until it is
 * acknowledged or over; that a device was lost stays until it is put away.
 */
export class AlarmBar {
  #rows = new Map();
  #actions;
  /** Always in the page: what comes into it later is read aloud. */
  element = el('div', { class: 'alarms', testid: 'alarms', role: 'region', 'aria-label': t('alarms.title') });

  /** @param {{open: (participant: string) => void, acknowledge: ((participant: string, series: string) => void)}} actions */
  constructor(actions) {
    this.#actions = actions;
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
  }

  /**
   * A device has gone with its alarm.
   * @param {import('../sdk/telemetry.js').Alarm} alarm
   * @param {string} name
   * @returns {boolean} whether that is shown here: it was lost
   */
  ended(alarm, name) {
    this.#remove(keyOf(alarm));
    if (GONE_WELL.has(alarm.reason ?? '')) return false;
    const key = `${keyOf(alarm)} lost`;
    this.#remove(key);
    const text = t('alarms.lost', { name, title: alarm.title, value: valueOf(alarm) });
    this.#add(key, { ...this.#row(text, t('alarms.dismiss'), 'alarm-dismiss', () => this.#remove(key)), lost: true });
    return true;
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
    this.element.append(row.element);
  }

  #remove(key) {
    this.#rows.get(key)?.echo?.remove();
    this.#rows.get(key)?.element.remove();
    this.#rows.delete(key);
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
  return value === null ? t('gauges.none') : `${readable(value)} ${unit}`.trim();
}

function keyOf({ participant, series, side }) {
  return `${participant} ${side} ${series}`;
}
