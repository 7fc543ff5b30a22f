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
  let shown = null;
  const draw = () => {
    const { breakouts } = room.classroom.room;
    const groups = JSON.stringify(breakouts);
    if (shown?.groups !== groups) {
      // Made once for these groups: what is being written or chosen stays under the hands of who does it.
      const focused = body.contains(document.activeElement);
      shown = { groups, ...(breakouts.length ? running(room, breakouts, act) : planning(room, act)) };
      body.replaceChildren(...shown.nodes);
      if (focused) body.querySelector('input, select, button')?.focus();
    }
    shown.update();
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
  const lead = el('p');
  const count = el('input', { type: 'number', min: 1, max: MOST, value: 2, testid: 'breakout-count', 'aria-label': t('breakouts.count') });
  const start = async () => {
    const people = movable(room);
    const rooms = Math.min(MOST, Math.max(1, Number(count.value) || 1));
    const names = Array.from({ length: rooms }, (_, index) => t('breakouts.name', { number: index + 1 }));
    if (!(await act('open_breakouts', { names }))) return;
    for (let index = 0; index < rooms; index += 1) {
      const participants = people.filter((_, place) => place % rooms === index).map((each) => each.id);
      if (participants.length) await act('assign_breakout', { participants, breakout: index + 1 });
    }
  };
  return {
    nodes: [
      lead,
      el('label', { class: 'field' }, el('span', { text: t('breakouts.count') }), count),
      el('button', { type: 'button', class: 'primary', testid: 'breakout-start', text: t('breakouts.start'), on: { click: start } }),
    ],
    update: () => (lead.textContent = t('breakouts.lead', { people: movable(room).length })),
  };
}

function running(room, breakouts, act) {
  const list = el('ul', { class: 'breakout-people' });
  /** @type {Map<string, {item: HTMLElement, name: HTMLElement, select: HTMLSelectElement}>} */
  const lines = new Map();
  const line = (id) => {
    const select = el(
      'select',
      { testid: 'breakout-of' },
      el('option', { value: '', text: t('breakouts.main') }),
      ...breakouts.map((each) => el('option', { value: String(each.id), text: each.name })),
    );
    select.addEventListener('change', () =>
      act('assign_breakout', { participants: [id], breakout: select.value ? Number(select.value) : null }),
    );
    const name = el('span');
    return { item: el('li', {}, name, select), name, select };
  };
  const visit = (id, label) =>
    el('button', {
      type: 'button',
      class: 'quiet',
      testid: 'breakout-visit',
      text: label,
      on: { click: () => act('assign_breakout', { participants: [room.self.id], breakout: id }) },
    });
  const visits = new Map([[null, visit(null, t('breakouts.main'))], ...breakouts.map((each) => [each.id, visit(each.id, each.name)])]);
  const input = el('input', { testid: 'breakout-text', maxlength: 500, placeholder: t('breakouts.broadcast'), 'aria-label': t('breakouts.broadcast') });
  const submit = async (event) => {
    event.preventDefault();
    if (input.value.trim() && (await act('broadcast', { text: input.value.trim() }))) input.value = '';
  };
  const update = () => {
    const people = movable(room);
    const there = new Set(people.map((each) => each.id));
    for (const [id, { item }] of lines) {
      if (there.has(id)) continue;
      item.remove();
      lines.delete(id);
    }
    for (const [place, { id, name: called, breakout }] of people.entries()) {
      if (!lines.has(id)) lines.set(id, line(id));
      const { item, name, select } = lines.get(id);
      name.textContent = called;
      select.setAttribute('aria-label', called);
      select.value = breakout === null ? '' : String(breakout);
      // Who stands where it should is not touched: that would take the focus away.
      if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    }
    for (const [id, button] of visits) button.setAttribute('aria-pressed', String((room.self.breakout ?? null) === id));
  };
  return {
    nodes: [
      list,
      el('h3', { text: t('breakouts.visit') }),
      el('div', { class: 'breakout-visits' }, ...visits.values()),
      el(
        'form',
        { class: 'class-form', on: { submit } },
        input,
        el('button', { type: 'submit', class: 'quiet', testid: 'breakout-broadcast', text: t('breakouts.send') }),
      ),
      el('button', { type: 'button', class: 'primary', testid: 'breakout-close', text: t('breakouts.close'), on: { click: () => act('close_breakouts') } }),
    ],
    update,
  };
}
