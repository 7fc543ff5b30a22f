import { chooseLanguage, language, t } from '../texts/index.js';
import { devicePickers } from './device-pickers.js';
import { ask } from './dialogs.js';
import { el } from './dom.js';
import { languagePicker } from './page-head.js';
import { recall, remember } from './preferences.js';

/**
 * What one chooses for oneself in a call: devices, shortcuts, language.
 * @param {import('./local-media.js').LocalMedia} media
 * @param {{onSpeaker: (deviceId: string) => void, onError: (code: string) => void}} options
 * @returns {Promise<boolean>} whether another language was chosen, so that the page is drawn anew
 */
export async function settingsDialog(media, options) {
  const before = language();
  const pickers = devicePickers(media, options);
  const single = el('input', {
    type: 'checkbox',
    testid: 'settings-shortcuts',
    on: { change: () => remember('shortcuts', single.checked) },
  });
  single.checked = recall('shortcuts', true);
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
      el('label', { class: 'settings-check' }, single, el('span', { text: t('settings.shortcuts') })),
      languagePicker(choose),
    ],
    actions: [{ label: t('dialog.close'), value: '', testid: 'dialog-close', primary: true }],
  });
  pickers.dispose();
  return language() !== before;
}
