const KEPT_MS = 60_000;
const KEPT = 1200;
/** A value is old after this time where its series does not say so itself. */
const STALE_MS = 15_000;
/** When only samples older than the newest have come for so long, the device's clock was set back. */
const STEPPED_MS = 20_000;

/**
 * @typedef {{name: string, title: string, unit: string, low: number | null, high: number | null,
 *   silent_s: number | null}} Series
 * @typedef {{participant: string, series: string, title: string, unit: string,
 *   state: 'raised' | 'acknowledged' | 'cleared' | 'ended', side: 'low' | 'high' | 'silent', limit: number,
 *   value: number | null, reason: string | null}} Alarm
 * @typedef {{series: Series, samples: [number, number][], alarm: Alarm | null, heard: number}} Gauge `samples`: Unix
 *   milliseconds of the device's clock and value, of the last minute; `heard`: when the newest came, as
 *   `performance.now()` has it
 */

/** @param {Gauge} gauge @returns {number} milliseconds since its newest value came */
export function ageMs({ heard }) {
  return Math.max(0, performance.now() - heard);
}

/** @param {Gauge} gauge @returns {boolean} whether its newest value says nothing of the present */
export function isStale(gauge) {
  const { silent_s: silent } = gauge.series;
  return gauge.samples.length > 0 && ageMs(gauge) > (silent ? silent * 1000 : STALE_MS);
}

/** @param {Gauge} gauge @returns {number} this moment on the clock of its device, Unix milliseconds */
export function presentMs(gauge) {
  return (gauge.samples.at(-1)?.[0] ?? 0) + ageMs(gauge);
}

/** What is measured in a room. Tells `change` {participant} and `alarm` {alarm}. */
export class Telemetry extends EventTarget {
  /** By participant, then by the series' name. @type {Map<string, Map<string, Gauge>>} */
  gauges = new Map();

  #request;

  /** @param {(type: string, members?: object) => Promise<Record<string, any>>} request asks the server */
  constructor(request) {
    super();
    this.#request = request;
  }

  /** @param {object[]} series what will be sent */
  declare(series) {
    return this.#request('telemetry_declare', { series });
  }

  /** @param {[string, number, number][]} samples series, Unix milliseconds, value */
  send(samples) {
    return this.#request('telemetry', { samples });
  }

  /**
   * @param {string} participant
   * @param {string} series
   */
  acknowledge(participant, series) {
    return this.#request('alarm_acknowledge', { participant, series });
  }

  /**
   * @param {string} participant
   * @param {string} series
   * @param {{low: number | null, high: number | null}} thresholds
   */
  setThresholds(participant, series, { low, high }) {
    return this.#request('telemetry_thresholds', { participant, series, low, high });
  }

  /** @returns {Alarm[]} alarms that nobody has acknowledged */
  get raised() {
    const alarms = [...this.gauges.values()].flatMap((those) => [...those.values()].map(({ alarm }) => alarm));
    return alarms.filter((alarm) => alarm?.state === 'raised');
  }

  /** @param {Record<string, any>} joined */
  sync(joined) {
    /** @type {{participant: string, series: Series, samples: [number, number][], alarm: Alarm | null}[]} */
    const snapshot = joined.class?.telemetry ?? [];
    const before = [...this.gauges.keys()];
    this.gauges = new Map();
    for (const { participant, series, samples, alarm } of snapshot) {
      // How old it is, only the clocks can say; the next one corrects it.
      const age = samples.length ? Math.max(0, Date.now() - samples.at(-1)[0]) : 0;
      this.#of(participant).set(series.name, { series, samples, alarm, heard: performance.now() - age });
    }
    for (const participant of new Set([...before, ...this.gauges.keys()])) this.#changed(participant);
  }

  /** @param {string} participant who has left */
  forget(participant) {
    if (this.gauges.delete(participant)) this.#changed(participant);
  }

  /**
   * @param {Record<string, any>} message of the server
   * @returns {boolean} whether it was about telemetry
   */
  received(message) {
    switch (message.type) {
      case 'telemetry_series':
        for (const series of message.series) {
          const known = this.#of(message.participant).get(series.name);
          if (known) known.series = series;
          else this.#of(message.participant).set(series.name, { series, samples: [], alarm: null, heard: performance.now() });
        }
        break;
      case 'telemetry':
        for (const [series, at, value] of message.samples) {
          const known = this.gauges.get(message.participant)?.get(series);
          if (known) keep(known, at, value);
        }
        break;
      case 'alarm':
        return this.#alarm(message.alarm);
      default:
        return false;
    }
    this.#changed(message.participant);
    return true;
  }

  #alarm(alarm) {
    const known = this.gauges.get(alarm.participant)?.get(alarm.series) ?? this.#unknown(alarm);
    known.alarm = ['cleared', 'ended'].includes(alarm.state) ? null : alarm;
    this.dispatchEvent(new CustomEvent('alarm', { detail: { alarm } }));
    this.#changed(alarm.participant);
    return true;
  }

  /** Alarms are told to everybody, series only to those who are together. */
  #unknown({ participant, series: name, title, unit }) {
    const series = { name, title, unit, low: null, high: null, silent_s: null };
    const gauge = { series, samples: [], alarm: null, heard: performance.now() };
    this.#of(participant).set(name, gauge);
    return gauge;
  }

  #of(participant) {
    if (!this.gauges.has(participant)) this.gauges.set(participant, new Map());
    return this.gauges.get(participant);
  }

  #changed(participant) {
    this.dispatchEvent(new CustomEvent('change', { detail: { participant } }));
  }
}

/** In the order of their times; what is older than the last minute was kept without connection, and is not shown. */
function keep(gauge, at, value) {
  const { samples } = gauge;
  const before = samples.at(-1)?.[0] ?? 0;
  if (at < before && ageMs(gauge) > STEPPED_MS) samples.length = 0;
  const newest = Math.max(at, samples.at(-1)?.[0] ?? 0);
  if (at === newest) gauge.heard = performance.now();
  if (newest - at > KEPT_MS) return;
  let place = samples.length;
  while (place > 0 && samples[place - 1][0] > at) place -= 1;
  // What comes twice has the later value.
  const twice = place > 0 && samples[place - 1][0] === at;
  samples.splice(twice ? place - 1 : place, twice ? 1 : 0, [at, value]);
  while (samples.length > KEPT || newest - samples[0][0] > KEPT_MS) samples.shift();
}
