import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { el, iconButton } from './dom.js';
import { icon } from './icons.js';

/** Port of plain HTTP and of HTTPS where nothing else is configured. */
const DEFAULT_PORTS = { http: '7880', https: '7881' };

/**
 * Show a modal dialog and wait for what is chosen.
 * @param {object} options
 * @param {string} options.title
 * @param {string} [options.code] what it is about, for tests: `data-code`
 * @param {(Node | string)[]} options.body
 * @param {{label: string, value: string, testid: string, primary?: boolean}[]} options.actions
 * @param {string} [options.icon]
 * @param {{seconds: number, value: string}} [options.countdown] chooses by itself
 * @returns {Promise<string>} the action's value; empty when it was dismissed
 */
export function ask({ title, code = '', body, actions, icon: name, countdown }) {
  const dialog = el('dialog', { class: 'dialog', testid: 'dialog', data: { code }, 'aria-label': title });
  const finish = (value) => () => dialog.close(value);
  const ticking = el('p', { class: 'dialog-countdown' });
  dialog.append(
    el('header', {}, name && el('span', { class: 'dialog-icon' }, icon(name)), el('h2', { text: title })),
    ...body.map((each) => (typeof each === 'string' ? el('p', { text: each }) : each)),
    ...(countdown ? [ticking] : []),
    el(
      'footer',
      {},
      ...actions.map(({ label, value, testid, primary }) =>
        el('button', {
          type: 'button',
          class: primary ? 'primary' : 'quiet',
          testid,
          text: label,
          on: { click: finish(value) },
        }),
      ),
    ),
  );
  const stop = countdown ? countDown(countdown, ticking, finish(countdown.value)) : () => undefined;
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector('.primary')?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      stop();
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/**
 * Ask before what cannot be taken back; a second press of the same key does not agree to it.
 * @param {{title: string, text: string, action: string, code: string}} options `action` is what agreeing does
 * @returns {Promise<boolean>}
 */
export async function confirmed({ title, text, action, code }) {
  const actions = [
    { label: t('dialog.cancel'), value: '', testid: 'dialog-cancel', primary: true },
    { label: action, value: 'yes', testid: 'dialog-confirm' },
  ];
  return (await ask({ title, code, icon: 'warning', body: [text], actions })) === 'yes';
}

function countDown({ seconds }, line, done) {
  let left = seconds;
  const show = () => (line.textContent = t('dialog.countdown', { seconds: left }));
  show();
  const timer = setInterval(() => {
    left -= 1;
    show();
    if (left <= 0) done();
  }, 1000);
  return () => clearInterval(timer);
}

/**
 * Explain a failure.
 * @param {string} code
 * @param {{actions?: {label: string, value: string, testid: string, primary?: boolean}[],
 *   countdown?: {seconds: number, value: string}}} [options]
 * @returns {Promise<string>}
 */
export function explain(code, { actions, countdown } = {}) {
  const title = t(`failure.${code}`);
  const secure = code === 'insecure_context' ? secureLink(location) : null;
  const link = secure && el('p', {}, el('a', { href: secure, text: t('dialog.secure.open', { link: secure }) }));
  return ask({
    code,
    countdown,
    icon: 'warning',
    title: title === `failure.${code}` ? t('failure.title') : title,
    body: [t(messageKey(code)), ...(link ? [link] : [])],
    actions: actions ?? [{ label: t('dialog.ok'), value: 'ok', testid: 'dialog-ok', primary: true }],
  });
}

/**
 * Where the same page is most likely served over HTTPS: the port beside the default one.
 * @param {Location | URL} address
 * @returns {string | null} null where it cannot be guessed
 */
export function secureLink({ protocol, hostname, port, pathname, search, hash }) {
  if (protocol !== 'http:') return null;
  if (port !== DEFAULT_PORTS.http && port !== '') return null;
  const secure = port ? `:${DEFAULT_PORTS.https}` : '';
  return `https://${hostname}${secure}${pathname}${search}${hash}`;
}

/** The keyboard shortcuts. */
export function showHelp() {
  const keys = ['m', 'v', 's', 'h', 'r', 'c', 'p', 'q', 'w', 'd', 'g', '?', 'esc'];
  const rows = keys.flatMap((key) => [
    el('dt', {}, el('kbd', { text: key === 'esc' ? 'Esc' : key.toUpperCase() })),
    el('dd', { text: t(`help.${key}`) }),
  ]);
  return ask({
    title: t('help.title'),
    code: 'help',
    icon: 'help',
    body: [el('dl', { class: 'keys' }, ...rows)],
    actions: [{ label: t('dialog.close'), value: '', testid: 'dialog-close', primary: true }],
  });
}

/**
 * A panel's head with its close button.
 * @param {string} title
 * @param {() => void} close
 * @returns {{element: HTMLElement, title: HTMLElement}}
 */
export function panelHead(title, close) {
  // The focus goes there when the panel opens, so that its name is read.
  const heading = el('h2', { text: title, tabindex: -1 });
  const button = iconButton({ testid: 'panel-close', icon: 'close', label: t('dialog.close'), on: close });
  return { element: el('header', { class: 'panel-head' }, heading, button), title: heading };
}
