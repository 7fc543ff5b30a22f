const KEPT_MS = 60_000;
const KEPT = 1200;

/**
 * @typedef {{name: string, title: string, unit: string, low: number | null, high: number | null}} Series
 * @typedef {{participant: string, series: string, title: string, unit: string,
 *   state: 'raised' | 'cleared' | 'acknowledged', side: 'low' | 'high', limit: number, value: number}} Alarm
 * @typedef {{series: Series, samples: [number, number][], alarm: Alarm | null}} Gauge `samples`: Unix milliseconds
 *   and value, of the last minute
 */

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

  /** @param {Record<string, any>} joined */
  sync(joined) {
    /** @type {{participant: string, series: Series, samples: [number, number][], alarm: Alarm | null}[]} */
    const snapshot = joined.class?.telemetry ?? [];
    const before = [...this.gauges.keys()];
    this.gauges = new Map();
    for (const { participant, series, samples, alarm } of snapshot) {
      this.#of(participant).set(series.name, { series, samples, alarm });
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
          else this.#of(message.participant).set(series.name, { series, samples: [], alarm: null });
        }
        break;
      case 'telemetry':
        for (const [series, at, value] of message.samples) {
          const known = this.gauges.get(message.participant)?.get(series);
          if (known) keep(known.samples, at, value);
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
    const known = this.gauges.get(alarm.participant)?.get(alarm.series);
    if (known) known.alarm = alarm.state === 'cleared' ? null : alarm;
    this.dispatchEvent(new CustomEvent('alarm', { detail: { alarm } }));
    this.#changed(alarm.participant);
    return true;
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
function keep(samples, at, value) {
  const newest = Math.max(at, samples.at(-1)?.[0] ?? 0);
  if (newest - at > KEPT_MS) return;
  let place = samples.length;
  while (place > 0 && samples[place - 1][0] > at) place -= 1;
  samples.splice(place, 0, [at, value]);
  while (samples.length > KEPT || newest - samples[0][0] > KEPT_MS) samples.shift();
}
