/** The app's texts in the chosen language. */
import en from './en.js';
import zh from './zh.js';

const LANGUAGES = { en, zh };
const STORED = 'sfu.language';
let current = 'en';

/** Code and own name of every language there is. */
export const languages = Object.freeze(
  Object.entries(LANGUAGES).map(([code, texts]) => Object.freeze({ code, name: texts['language.name'] })),
);

/** @returns {string} the code of the language in use */
export function language() {
  return current;
}

/**
 * Choose by `?lang=`, else by what was chosen before, else by the browser's languages, else English.
 * @param {string} search of the page's address
 */
export function detectLanguage(search) {
  const wishes = [new URLSearchParams(search).get('lang'), stored(), ...(navigator.languages ?? [])];
  const known = wishes.map((each) => each?.toLowerCase().split('-')[0]).find((each) => each in LANGUAGES);
  apply(known ?? 'en');
}

/** @param {string} code of a language, kept for the next visit */
export function chooseLanguage(code) {
  apply(code);
  try {
    localStorage.setItem(STORED, code);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

function apply(code) {
  current = code;
  document.documentElement.lang = code;
}

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values] for the `{places}` in the text
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = LANGUAGES[current][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}
