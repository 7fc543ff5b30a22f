import { ageMs, isStale, presentMs } from '../sdk/telemetry.js';
import { t } from '../texts/index.js';
import { el, setButton } from './dom.js';
import { plot } from './plot.js';

const MOST_ON_TILE = 3;

/** @param {number} value as people read it: three or four digits */
export function readable(value) {
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** What one participant measures, small on its tile: value and line of the last minute. Pressed, it opens `onOpen`. */
export class TileGauges {
  #rows = new Map();

  /** @param {() => void} onOpen */
  constructor(onOpen) {
    this.element = el('button', {
      type: 'button',
      class: 'gauges',
      testid: 'gauges',
      // Pinning is the tile's, by a double click.
      on: { click: onOpen, dblclick: (event) => event.stopPropagation() },
    });
  }

  /**
   * @param {Map<string, import('../sdk/telemetry.js').Gauge>} gauges
   * @param {string} name whose they are
   */
  update(gauges, name) {
    const shown = shownFirst([...gauges.values()].filter((each) => each.samples.length || each.alarm)).slice(0, MOST_ON_TILE);
    const names = new Set(shown.map((each) => each.series.name));
    for (const [key, row] of this.#rows) {
      if (names.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    for (const gauge of shown) this.#row(gauge.series.name).update(gauge);
    this.element.hidden = shown.length === 0;
    const spoken = shown.map((each) => `${each.series.title} ${summary(each)}`).join(', ');
    setButton(this.element, { label: t('gauges.open', { name, values: spoken }) });
  }

  #row(key) {
    if (!this.#rows.has(key)) {
      const row = new Row();
      this.#rows.set(key, row);
      this.element.append(row.element);
    }
    return this.#rows.get(key);
  }
}

/** @param {import('../sdk/telemetry.js').Gauge} gauge present value, unit, how old it is, and whether it is an alarm */
export function summary(gauge) {
  const { alarm } = gauge;
  const words = [valueOf(gauge), ageText(gauge), alarm && alarmWord(alarm)].filter(Boolean);
  return words.length > 1 ? `${words[0]} (${words.slice(1).join(', ')})` : words[0];
}

/** @param {import('../sdk/telemetry.js').Gauge} gauge */
export function ageText(gauge) {
  if (!isStale(gauge)) return '';
  const seconds = Math.round(ageMs(gauge) / 1000);
  return seconds < 120 ? t('gauges.seconds_ago', { seconds }) : t('gauges.minutes_ago', { minutes: Math.floor(seconds / 60) });
}

/** @param {import('../sdk/telemetry.js').Alarm} alarm */
export function alarmWord({ side, state }) {
  const word = t(`gauges.alarm.${side}`);
  return state === 'acknowledged' ? t('gauges.alarm.acknowledged', { alarm: word }) : word;
}

function valueOf({ series, samples }) {
  return samples.length ? `${readable(samples.at(-1)[1])} ${series.unit}`.trim() : t('gauges.none');
}

/** What is an alarm is in nobody's shadow. */
function shownFirst(gauges) {
  return gauges.sort((a, b) => Number(Boolean(b.alarm)) - Number(Boolean(a.alarm)));
}

class Row {
  #title = el('span', { class: 'gauge-title' });
  #value = el('span', { class: 'gauge-value', testid: 'gauge-value' });
  #alarm = el('span', { class: 'gauge-alarm', testid: 'gauge-alarm', hidden: true });
  #line = plot(96, 24);
  element = el('span', { class: 'gauge', testid: 'gauge' }, this.#title, this.#line.element, this.#value, this.#alarm);

  update(gauge) {
    const { series, samples, alarm } = gauge;
    this.#title.textContent = series.title;
    this.#value.textContent = [valueOf(gauge), ageText(gauge)].filter(Boolean).join(' · ');
    this.#alarm.hidden = !alarm;
    this.#alarm.textContent = alarm ? t(`gauges.alarm.${alarm.side}`) : '';
    this.element.dataset.alarm = alarm?.state ?? '';
    this.element.dataset.stale = String(isStale(gauge));
    this.#line.draw(samples, series, presentMs(gauge));
  }
}
