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
    const shown = [...gauges.values()].filter((each) => each.samples.length).slice(0, MOST_ON_TILE);
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

/** @param {import('../sdk/telemetry.js').Gauge} gauge present value, unit, and whether it is an alarm */
export function summary({ series, samples, alarm }) {
  const value = samples.length ? `${readable(samples.at(-1)[1])} ${series.unit}`.trim() : t('gauges.none');
  return alarm ? `${value} (${t(`gauges.alarm.${alarm.side}`)})` : value;
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
    this.#value.textContent = `${readable(samples.at(-1)[1])} ${series.unit}`.trim();
    this.#alarm.hidden = !alarm;
    this.#alarm.textContent = alarm ? t(`gauges.alarm.${alarm.side}`) : '';
    this.element.dataset.alarm = alarm?.state ?? '';
    this.#line.draw(samples, series);
  }
}
