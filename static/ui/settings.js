import { chooseLanguage, language, t } from '../texts/index.js';
import { devicePickers } from './device-pickers.js';
import { ask } from './dialogs.js';
import { el } from './dom.js';
import { languagePicker } from './page-head.js';
import { recall, remember } from './preferences.js';

/**
 * What one chooses for oneself in a call: devices, shortcuts, whether alarms sound, language.
 * @param {import('./local-media.js').LocalMedia} media
 * @param {{alarms: import('./alarm-sound.js').AlarmSound, onSpeaker: (deviceId: string) => void,
 *   onError: (code: string) => void}} options
 * @returns {Promise<boolean>} whether another language was chosen, so that the page is drawn anew
 */
export async function settingsDialog(media, { alarms, ...options }) {
  const before = language();
  const pickers = devicePickers(media, options);
  const choose = (event) => {
    chooseLanguage(event.target.value);
    event.target.closest('dialog').close('language');
  };
  await ask({
    title: t('settings.title'),
    code: 'settings',
    icon: 'settings',
    body: [
      pickers.element,
      entry('settings-shortcuts', t('settings.shortcuts'), recall('shortcuts', true), (on) => remember('shortcuts', on)),
      entry('settings-alarm-sound', t('settings.alarms'), !alarms.muted, (on) => (alarms.muted = !on)),
      languagePicker(choose),
    ],
    actions: [{ label: t('dialog.close'), value: '', testid: 'dialog-close', primary: true }],
  });
  pickers.dispose();
  return language() !== before;
}

function entry(testid, text, checked, choose) {
  const box = el('input', { type: 'checkbox', testid, checked, on: { change: () => choose(box.checked) } });
  return el('label', { class: 'settings-check' }, box, el('span', { text }));
}
