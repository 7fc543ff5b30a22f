import { t } from '../texts/index.js';
import { el } from './dom.js';
import { icon } from './icons.js';

const ICONS = { camera: 'camera', microphone: 'mic', speaker: 'sound' };

/**
 * Lists of cameras, microphones and speakers that follow what is plugged in.
 * @param {import('./local-media.js').LocalMedia} media
 * @param {{onSpeaker?: (deviceId: string) => void, onError?: (code: string) => void}} [options]
 * @returns {{element: HTMLElement, dispose: () => void}}
 */
export function devicePickers(media, { onSpeaker, onError } = {}) {
  const canRoute = 'setSinkId' in HTMLMediaElement.prototype;
  const kinds = ['camera', 'microphone', ...(canRoute ? ['speaker'] : [])];
  const selects = kinds.map((kind) => [
    kind,
    el('select', {
      testid: `device-${kind}`,
      'aria-label': t(`device.${kind}`),
      on: {
        change: async (event) => {
          await media.choose(kind, event.target.value);
          if (kind === 'speaker') onSpeaker?.(event.target.value);
          else if (media.on[kind] && media.errors[kind]) onError?.(media.errors[kind].code);
        },
      },
    }),
  ]);
  const refresh = () => selects.forEach(([kind, select]) => fill(media, kind, select));
  media.addEventListener('change', refresh);
  refresh();
  const rows = selects.map(([kind, select]) => el('label', { class: 'picker' }, icon(ICONS[kind]), select));
  return {
    element: el('div', { class: 'pickers' }, ...rows),
    dispose: () => media.removeEventListener('change', refresh),
  };
}

function fill(media, kind, select) {
  const devices = media.list(kind);
  const name = t(`device.${kind}`);
  // Without permission browsers tell neither names nor ids.
  const known = devices.filter((each) => each.deviceId);
  const used = media.chosen[kind] ? '' : (media.tracks[kind]?.label ?? '');
  // Firefox lists no speaker before it was asked for one; there is sound all the same.
  const some = devices.length || kind === 'speaker';
  const first = some ? [t('device.default'), used].filter(Boolean).join(' · ') : t('device.none');
  const options = [
    { value: '', text: first },
    ...known.map((each, index) => ({
      value: each.deviceId,
      text: each.label || t('device.number', { kind: name, number: index + 1 }),
    })),
  ];
  const signature = JSON.stringify(options);
  if (select.dataset.options !== signature) {
    select.dataset.options = signature;
    select.replaceChildren(...options.map(({ value, text }) => el('option', { value, text })));
  }
  select.disabled = !known.length;
  select.value = known.some((each) => each.deviceId === media.chosen[kind]) ? media.chosen[kind] : '';
}
