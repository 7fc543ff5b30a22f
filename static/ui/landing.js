import { t } from '../texts/index.js';
import { el, hueOf, iconButton, initials, refill } from './dom.js';
import { icon } from './icons.js';
import { randomRoomName, roomOf } from './names.js';
import { pageHead } from './page-head.js';
import { forgetRoom, recentRooms } from './preferences.js';

const KINDS = ['meeting', 'classroom', 'webinar', 'consultation', 'monitoring'];

/**
 * The first page: make a room of a kind, or enter one.
 * @param {{enter: (room: string, kind?: string) => void, home: () => void, relanguage: () => void}} actions
 * @returns {{element: HTMLElement, dispose: () => void}}
 */
export function landingPage({ enter, home, relanguage }) {
  const input = el('input', {
    id: 'room',
    name: 'room',
    testid: 'landing-room',
    placeholder: t('landing.placeholder'),
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: 'false',
    maxlength: 300,
    'aria-label': t('landing.room'),
  });
  const kind = el(
    'select',
    { testid: 'landing-kind', 'aria-label': t('landing.kind') },
    ...KINDS.map((each) => el('option', { value: each, text: t(`landing.kind.${each}`) })),
  );
  const submit = (event) => {
    event.preventDefault();
    const room = roomOf(input.value);
    if (room) enter(room);
    else input.focus();
  };
  const recent = el('section', { class: 'recent', testid: 'landing-recent' });
  const showRecent = () => fillRecent(recent, enter, showRecent);
  showRecent();
  const element = el(
    'div',
    { class: 'page landing', testid: 'landing' },
    pageHead({ home, relanguage }),
    el(
      'main',
      { class: 'landing-main' },
      el(
        'div',
        { class: 'landing-text' },
        el('h1', { text: t('landing.title') }),
        el('p', { class: 'lead', text: t('landing.lead') }),
        el(
          'div',
          { class: 'landing-actions' },
          el(
            'div',
            { class: 'landing-make' },
            el(
              'button',
              {
                type: 'button',
                class: 'primary big',
                testid: 'landing-new',
                on: { click: () => enter(randomRoomName(), kind.value) },
              },
              icon('plus'),
              t('landing.new'),
            ),
            kind,
          ),
          el('span', { class: 'or', text: t('landing.or') }),
          el(
            'form',
            { class: 'landing-form', on: { submit } },
            input,
            el(
              'button',
              { type: 'submit', class: 'quiet big', testid: 'landing-go' },
              t('landing.go'),
              icon('arrow'),
            ),
          ),
        ),
        recent,
        el(
          'ul',
          { class: 'facts' },
          ...['account', 'install', 'own'].map((fact) => el('li', {}, icon('check'), t(`landing.fact.${fact}`))),
        ),
      ),
      picture(),
    ),
  );
  return { element, dispose: () => undefined };
}

function fillRecent(section, enter, refresh) {
  const rooms = recentRooms();
  section.hidden = !rooms.length;
  const chip = (room) =>
    el(
      'li',
      { data: { key: room } },
      el('button', {
        type: 'button',
        class: 'chip',
        testid: 'recent-room',
        text: room,
        on: { click: () => enter(room) },
      }),
      iconButton({
        testid: 'recent-forget',
        icon: 'close',
        label: t('landing.forget', { room }),
        class: 'bare',
        on: () => {
          forgetRoom(room);
          refresh();
        },
      }),
    );
  refill(section, el('h2', { text: t('landing.recent') }), el('ul', {}, ...rooms.map(chip)));
}

/** A call in miniature, as decoration. */
function picture() {
  const names = ['Ada L', 'Ben O', 'Chen W', 'Emil R'];
  const tiles = names.map((name, index) => {
    const tile = el('span', { class: `mini mini-${index + 1}` }, el('b', { text: initials(name) }), el('i'));
    tile.style.setProperty('--hue', String(hueOf(name)));
    return tile;
  });
  const bar = el(
    'span',
    { class: 'mini-bar' },
    el('span', {}, icon('mic')),
    el('span', {}, icon('camera')),
    el('span', {}, icon('screen')),
    el('span', { class: 'red' }, icon('leave')),
  );
  return el('div', { class: 'landing-picture', 'aria-hidden': 'true' }, ...tiles, bar);
}
