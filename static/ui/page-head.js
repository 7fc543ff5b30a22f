import { chooseLanguage, language, languages, t } from '../texts/index.js';
import { el } from './dom.js';
import { icon, logo } from './icons.js';

/**
 * The head of every page outside a call: home and language.
 * @param {{home: () => void, relanguage: () => void}} actions `relanguage` draws the page again
 * @returns {HTMLElement}
 */
export function pageHead({ home, relanguage }) {
  const goHome = (event) => {
    event.preventDefault();
    home();
  };
  const choose = (event) => {
    chooseLanguage(event.target.value);
    relanguage();
  };
  return el(
    'header',
    { class: 'page-head' },
    el(
      'a',
      { href: '/', class: 'brand', testid: 'home', on: { click: goHome } },
      logo(),
      el('span', { text: t('app.name') }),
    ),
    languagePicker(choose),
  );
}

/**
 * @param {(event: Event) => void} onChange its target's value is the language's code
 * @returns {HTMLElement}
 */
export function languagePicker(onChange) {
  const picker = el(
    'select',
    { testid: 'language', 'aria-label': t('language.pick'), on: { change: onChange } },
    ...languages.map(({ code, name }) => el('option', { value: code, text: name, selected: code === language() })),
  );
  return el('label', { class: 'language' }, icon('globe'), picker);
}
