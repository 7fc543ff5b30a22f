import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { ask } from './dialogs.js';
import { el } from './dom.js';
import { readable, summary, TileGauges } from './gauges.js';
import { plot } from './plot.js';
import { saveReport } from './reports.js';

/** What participants measure: small on their tiles, large in a dialog, and alarms for everybody. */
export class TelemetryView {
  #room;
  #toasts;
  #stage;
  #listeners = new AbortController();
  /** @type {Map<string, TileGauges>} */
  #gauges = new Map();
  #drawing = 0;
  #opened = /** @type {{participant: string, draw: () => void} | null} */ (null);

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{toasts: import('./toasts.js').Toasts, stage: import('./stage.js').Stage}} options
   */
  constructor(room, { toasts, stage }) {
    this.#room = room;
    this.#toasts = toasts;
    this.#stage = stage;
    const { signal } = this.#listeners;
    room.telemetry.addEventListener('change', () => this.#plan(), { signal });
    room.telemetry.addEventListener('alarm', ({ detail }) => this.#alarm(detail.alarm), { signal });
    this.#plan();
  }

  dispose() {
    this.#listeners.abort();
    cancelAnimationFrame(this.#drawing);
  }

  /** At most once for each picture of the screen, however many samples come. */
  #plan() {
    if (!this.#drawing) this.#drawing = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = 0;
    const { gauges } = this.#room.telemetry;
    for (const participant of this.#gauges.keys()) {
      if (!gauges.has(participant)) this.#gauges.delete(participant);
    }
    for (const [participant, those] of gauges) {
      if (!this.#gauges.has(participant)) {
        this.#gauges.set(participant, new TileGauges(() => this.#open(participant)));
      }
      this.#gauges.get(participant)?.update(those, this.#nameOf(participant));
    }
    this.#stage.setGauges(new Map([...this.#gauges].map(([participant, { element }]) => [participant, element])));
    this.#opened?.draw();
  }

  #alarm({ participant, title, unit, state, side, value }) {
    const values = { name: this.#nameOf(participant), title, value: `${readable(value)} ${unit}`.trim() };
    if (state === 'raised') this.#toasts.show(t(`toast.alarm.${side}`, values), 'bad');
    else if (state === 'cleared') this.#toasts.show(t('toast.alarm.cleared', values), 'good');
  }

  async #open(participant) {
    const rows = new Map();
    const list = el('div', { class: 'telemetry-list', testid: 'telemetry-list' });
    const moderates = this.#room.self?.grants.moderate && !this.#room.self.grants.hidden;
    const draw = () => {
      for (const [name, gauge] of this.#room.telemetry.gauges.get(participant) ?? []) {
        if (!rows.has(name)) {
          rows.set(name, new SeriesRow(moderates ? () => this.#acknowledge(participant, name) : null));
          list.append(rows.get(name).element);
        }
        rows.get(name).update(gauge);
      }
    };
    this.#opened = { participant, draw };
    draw();
    const close = { label: t('dialog.close'), value: '', testid: 'dialog-close', primary: true };
    const save = { label: t('gauges.csv'), value: 'csv', testid: 'telemetry-csv' };
    const chosen = await ask({
      title: t('gauges.title', { name: this.#nameOf(participant) }),
      code: 'telemetry',
      icon: 'stats',
      body: [list],
      actions: moderates ? [save, close] : [close],
    });
    this.#opened = null;
    if (chosen === 'csv') this.#save(participant);
  }

  async #save(participant) {
    const identity = this.#room.participants.get(participant)?.identity ?? this.#room.self?.identity ?? '';
    const query = new URLSearchParams({ identity });
    const saved = await saveReport(this.#room, `telemetry.csv?${query}`, `telemetry-${this.#nameOf(participant)}.csv`);
    if (!saved) this.#toasts.show(t(messageKey('not_allowed')), 'bad');
  }

  async #acknowledge(participant, series) {
    try {
      await this.#room.telemetry.acknowledge(participant, series);
    } catch (error) {
      this.#toasts.show(t(messageKey(error.code)), 'bad');
    }
  }

  #nameOf(participant) {
    const { self, participants } = this.#room;
    return participant === self?.id ? self.name : (participants.get(participant)?.name ?? '');
  }
}

class SeriesRow {
  #title = el('h3', {});
  #value = el('p', { class: 'series-value', testid: 'series-value' });
  #limits = el('p', { class: 'series-limits' });
  #line = plot(480, 120);
  #acknowledge;

  constructor(acknowledge) {
    this.#acknowledge =
      acknowledge &&
      el('button', {
        type: 'button',
        class: 'quiet',
        testid: 'alarm-acknowledge',
        text: t('gauges.acknowledge'),
        hidden: true,
        on: { click: acknowledge },
      });
    this.element = el(
      'section',
      { class: 'series', testid: 'series' },
      this.#title,
      this.#value,
      this.#line.element,
      this.#limits,
      this.#acknowledge,
    );
  }

  update(gauge) {
    const { series, samples, alarm } = gauge;
    this.#title.textContent = series.title;
    this.#value.textContent = summary(gauge);
    const limits = [
      series.low !== null && t('gauges.low', { value: readable(series.low) }),
      series.high !== null && t('gauges.high', { value: readable(series.high) }),
    ];
    this.#limits.textContent = limits.filter(Boolean).join(' · ');
    this.element.dataset.alarm = alarm?.state ?? '';
    if (this.#acknowledge) this.#acknowledge.hidden = alarm?.state !== 'raised';
    this.#line.draw(samples, series);
  }
}
