import { t } from '../texts/index.js';
import { ask } from './dialogs.js';
import { el } from './dom.js';

const MOST = 50;

/**
 * Divide the room, move people, visit a group, write to all groups, call everybody back.
 * @param {import('../sdk/room.js').Room} room
 * @param {(type: string, members?: object) => Promise<boolean>} act a moderator's request
 * @returns {Promise<unknown>} when the dialog is closed
 */
export function breakoutsDialog(room, act) {
  const body = el('div', { class: 'breakouts' });
  const draw = () => {
    const { breakouts } = room.classroom.room;
    body.replaceChildren(...(breakouts.length ? running(room, breakouts, act) : planning(room, act)));
  };
  draw();
  const changes = new AbortController();
  room.classroom.addEventListener('change', ({ detail }) => ['room', 'all'].includes(detail.what) && draw(), changes);
  for (const type of ['participantupdated', 'participantjoined', 'participantleft', 'selfupdated']) {
    room.addEventListener(type, draw, changes);
  }
  return ask({
    title: t('breakouts.title'),
    code: 'breakouts',
    icon: 'breakouts',
    body: [body],
    actions: [{ label: t('dialog.close'), value: '', testid: 'dialog-close' }],
  }).finally(() => changes.abort());
}

/** Students and equals: neither oneself nor devices nor who watches. */
function movable(room) {
  return [...room.participants.values()].filter((each) => ['participant', 'presenter'].includes(each.role));
}

function planning(room, act) {
  const people = movable(room);
  const count = el('input', { type: 'number', min: 1, max: MOST, value: 2, testid: 'breakout-count', 'aria-label': t('breakouts.count') });
  const start = async () => {
    const rooms = Math.min(MOST, Math.max(1, Number(count.value) || 1));
    const names = Array.from({ length: rooms }, (_, index) => t('breakouts.name', { number: index + 1 }));
    if (!(await act('open_breakouts', { names }))) return;
    for (let index = 0; index < rooms; index += 1) {
      const participants = people.filter((_, place) => place % rooms === index).map((each) => each.id);
      if (participants.length) await act('assign_breakout', { participants, breakout: index + 1 });
    }
  };
  return [
    el('p', { text: t('breakouts.lead', { people: people.length }) }),
    el('label', { class: 'field' }, el('span', { text: t('breakouts.count') }), count),
    el('button', { type: 'button', class: 'primary', testid: 'breakout-start', text: t('breakouts.start'), on: { click: start } }),
  ];
}

function running(room, breakouts, act) {
  const choose = (person) => {
    const select = el(
      'select',
      { testid: 'breakout-of', 'aria-label': person.name },
      el('option', { value: '', text: t('breakouts.main') }),
      ...breakouts.map((each) => el('option', { value: String(each.id), text: each.name })),
    );
    select.value = person.breakout === null ? '' : String(person.breakout);
    select.addEventListener('change', () =>
      act('assign_breakout', { participants: [person.id], breakout: select.value ? Number(select.value) : null }),
    );
    return el('li', {}, el('span', { text: person.name }), select);
  };
  const visit = (id, label) =>
    el('button', {
      type: 'button',
      class: 'quiet',
      testid: 'breakout-visit',
      'aria-pressed': String(room.self.breakout === id),
      text: label,
      on: { click: () => act('assign_breakout', { participants: [room.self.id], breakout: id }) },
    });
  const input = el('input', { testid: 'breakout-text', maxlength: 500, placeholder: t('breakouts.broadcast'), 'aria-label': t('breakouts.broadcast') });
  const submit = async (event) => {
    event.preventDefault();
    if (input.value.trim() && (await act('broadcast', { text: input.value.trim() }))) input.value = '';
  };
  return [
    el('ul', { class: 'breakout-people' }, ...movable(room).map(choose)),
    el('h3', { text: t('breakouts.visit') }),
    el('div', { class: 'breakout-visits' }, visit(null, t('breakouts.main')), ...breakouts.map((each) => visit(each.id, each.name))),
    el(
      'form',
      { class: 'class-form', on: { submit } },
      input,
      el('button', { type: 'submit', class: 'quiet', testid: 'breakout-broadcast', text: t('breakouts.send') }),
    ),
    el('button', { type: 'button', class: 'primary', testid: 'breakout-close', text: t('breakouts.close'), on: { click: () => act('close_breakouts') } }),
  ];
}
