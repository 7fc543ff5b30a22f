import { t } from '../texts/index.js';
import { ask } from './dialogs.js';
import { el } from './dom.js';

/**
 * Ask where the alarms of a series are.
 * @param {import('../sdk/telemetry.js').Series} series
 * @returns {Promise<{low: number | null, high: number | null} | null>} null where it was left as it is
 */
export async function askLimits(series) {
  const field = (testid, name) =>
    el('input', {
      type: 'number',
      step: 'any',
      testid,
      value: series[name] === null ? '' : String(series[name]),
      'aria-describedby': 'limits-hint limits-fault',
      on: { keydown: (event) => event.key === 'Enter' && (event.preventDefault(), low.closest('dialog').close('save')) },
    });
  const low = field('limit-low', 'low');
  const high = field('limit-high', 'high');
  const labelled = (label, input) => el('label', { class: 'field' }, el('span', { text: `${label} ${series.unit && `(${series.unit})`}` }), input);
  const fault = el('p', { id: 'limits-fault', class: 'limits-fault', role: 'alert', testid: 'limits-fault' });
  for (;;) {
    const choosing = ask({
      title: t('limits.title', { title: series.title }),
      code: 'limits',
      icon: 'warning',
      body: [
        el('p', { id: 'limits-hint', text: t('limits.hint') }),
        labelled(t('limits.low'), low),
        labelled(t('limits.high'), high),
        fault,
      ],
      actions: [
        { label: t('dialog.cancel'), value: '', testid: 'limits-cancel' },
        { label: t('limits.save'), value: 'save', testid: 'limits-save', primary: true },
      ],
    });
    low.focus();
    if ((await choosing) !== 'save') return null;
    const chosen = { low: numberOf(low), high: numberOf(high) };
    if (Number.isNaN(chosen.low) || Number.isNaN(chosen.high)) fault.textContent = t('limits.number');
    else if (chosen.low !== null && chosen.high !== null && chosen.low >= chosen.high) fault.textContent = t('limits.order');
    else return chosen;
  }
}

/** @param {HTMLInputElement} input */
function numberOf(input) {
  if (input.validity.badInput) return NaN;
  return input.value === '' ? null : Number(input.value);
}
