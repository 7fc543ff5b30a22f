import { messageKey } from '../sdk/errors.js';
import { isStale, presentMs } from '../sdk/telemetry.js';
import { t } from '../texts/index.js';
import { AlarmBar } from './alarms.js';
import { ask } from './dialogs.js';
import { el } from './dom.js';
import { readable, summary, TileGauges } from './gauges.js';
import { askLimits } from './limits.js';
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
  #ticking;
  /** Alarms, for the top of the call. @type {AlarmBar} */
  alarms;
  #opened = /** @type {{participant: string, draw: () => void} | null} */ (null);

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{toasts: import('./toasts.js').Toasts, stage: import('./stage.js').Stage, speaker: string,
   *   before?: TelemetryView}} options `speaker` is where alarms sound; this view takes the place of `before`
   */
  constructor(room, { toasts, stage, speaker, before }) {
    this.#room = room;
    this.#toasts = toasts;
    this.#stage = stage;
    this.alarms = new AlarmBar({
      open: (participant) => this.#open(participant),
      acknowledge: (participant, series) => this.#acknowledge(participant, series),
      speaker,
      before: before?.alarms,
    });
    const { signal } = this.#listeners;
    room.telemetry.addEventListener('change', () => this.#plan(), { signal });
    room.telemetry.addEventListener('alarm', ({ detail }) => this.#alarm(detail.alarm), { signal });
    room.addEventListener('selfupdated', () => this.#plan(), { signal });
    // What does not come any more grows old.
    this.#ticking = setInterval(() => room.telemetry.gauges.size && this.#plan(), 1000);
    this.#plan();
  }

  dispose() {
    clearInterval(this.#ticking);
    this.#listeners.abort();
    cancelAnimationFrame(this.#drawing);
    this.alarms.dispose();
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
    this.#showAlarms();
  }

  #showAlarms() {
    const raised = this.#room.telemetry.raised.map((alarm) => ({ alarm, name: this.#nameOf(alarm.participant) }));
    this.alarms.update(raised, this.#moderates);
  }

  get #moderates() {
    return Boolean(this.#room.self?.grants.moderate && !this.#room.self.grants.hidden);
  }

  #alarm(alarm) {
    const { participant, title, unit, state, value } = alarm;
    const name = this.#nameOf(participant);
    if (state === 'cleared') {
      const last = value === null ? t('gauges.none') : `${readable(value)} ${unit}`.trim();
      this.#toasts.show(t('toast.alarm.cleared', { name, title, value: last }), 'good');
    } else if (state === 'ended' && !this.alarms.ended(alarm, name)) {
      this.#toasts.show(t('toast.alarm.ended', { name, title }));
    }
    // At once, not with the next picture: a page in the background draws none.
    this.#showAlarms();
  }

  async #open(participant) {
    const rows = new Map();
    const list = el('div', { class: 'telemetry-list', testid: 'telemetry-list' });
    const moderates = this.#moderates;
    const acts = (name) => ({
      acknowledge: () => this.#acknowledge(participant, name),
      limits: () => this.#setLimits(participant, name),
    });
    const draw = () => {
      for (const [name, gauge] of this.#room.telemetry.gauges.get(participant) ?? []) {
        if (!rows.has(name)) {
          rows.set(name, new SeriesRow(moderates ? acts(name) : null));
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

  async #setLimits(participant, name) {
    const gauge = this.#room.telemetry.gauges.get(participant)?.get(name);
    const chosen = gauge && (await askLimits(gauge.series));
    if (!chosen) return;
    try {
      await this.#room.telemetry.setThresholds(participant, name, chosen);
    } catch (error) {
      this.#toasts.show(t(messageKey(error.code)), 'bad');
    }
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
  #setLimits;

  /** @param {{acknowledge: () => void, limits: () => void} | null} acts of who may moderate */
  constructor(acts) {
    const button = (testid, text, on) => el('button', { type: 'button', class: 'quiet', testid, text, on: { click: on } });
    this.#acknowledge = acts && button('alarm-acknowledge', t('gauges.acknowledge'), acts.acknowledge);
    this.#setLimits = acts && button('series-set-limits', t('limits.open'), acts.limits);
    this.element = el(
      'section',
      { class: 'series', testid: 'series' },
      this.#title,
      this.#value,
      this.#line.element,
      this.#limits,
      acts && el('div', { class: 'series-acts' }, this.#acknowledge, this.#setLimits),
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
    this.element.dataset.stale = String(isStale(gauge));
    if (this.#acknowledge) this.#acknowledge.hidden = alarm?.state !== 'raised';
    this.#setLimits?.setAttribute('aria-label', t('limits.title', { title: series.title }));
    this.#line.draw(samples, series, presentMs(gauge));
  }
}
