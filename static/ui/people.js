import { t } from '../texts/index.js';
import { confirmed, panelHead } from './dialogs.js';
import { avatar, el, iconButton, refill } from './dom.js';
import { icon } from './icons.js';
import { moderationOf } from './moderation.js';

/**
 * The list of who is there: roles, hands in their order, who waits in the lobby; what moderators do to whom.
 */
export class PeoplePanel {
  #room;
  #options;
  #signature = '';
  #title;
  #tools;
  #lobby;
  #list;
  #opened = '';
  /** Whether only those are listed who have not been called on yet. */
  #waiting = false;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{close: () => void, onMessage: (participant: string) => void, act: (type: string, members?: object) => void,
   *   breakouts: () => void, attendance: () => void, removed: () => void}} options `act` is a request of a moderator
   */
  constructor(room, options) {
    this.#room = room;
    this.#options = options;
    const head = panelHead(t('people.title', { count: 0 }), options.close);
    this.#title = head.title;
    this.#tools = el('div', { class: 'people-tools', testid: 'moderator-tools', hidden: true });
    this.#lobby = el('section', { class: 'people-lobby', testid: 'lobby-list', hidden: true });
    this.#list = el('ul', { class: 'people-list', testid: 'people-list' });
    this.element = el(
      'aside',
      { class: 'panel people', testid: 'people-panel', 'aria-label': t('control.people'), hidden: true },
      head.element,
      el('div', { class: 'people-body' }, this.#tools, this.#lobby, this.#list),
    );
  }

  /** @param {import('./tile-model.js').TileView[]} views of the stage */
  update(views) {
    const { self, classroom, participants } = this.#room;
    if (!self) return;
    const moderates = self.grants.moderate && !self.grants.hidden;
    const faces = new Map(views.filter((each) => each.key.endsWith('/face')).map((each) => [each.participant, each]));
    const sharing = new Set(views.filter((each) => each.source === 'screen').map((each) => each.participant));
    const hands = new Map(classroom.hands.map((each, index) => [each.participant, index + 1]));
    const { room, lobby } = classroom;
    const rows = [self, ...participants.values()].map((each) => ({
      id: each.id,
      name: each.name,
      alike: this.#alike(each.nameKey ?? each.name_key, moderates ? lobby : []),
      role: each.role,
      grants: each.grants,
      breakout: each.breakout,
      local: each.id === self.id,
      muted: faces.get(each.id)?.muted ?? true,
      video: faces.get(each.id)?.video ?? false,
      reconnecting: each.state === 'reconnecting',
      sharing: sharing.has(each.id),
      hand: hands.get(each.id) ?? 0,
      answered: classroom.answered[each.identity] ?? 0,
    }));
    const signature = JSON.stringify([rows, room, lobby, moderates, this.#opened, this.#waiting]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    // Raised hands come first, in their order; the rest as they came.
    rows.sort((a, b) => (a.hand || Infinity) - (b.hand || Infinity) || 0);
    this.#title.textContent = t('people.title', { count: rows.length });
    this.#showTools(moderates, hands.size);
    this.#showLobby(moderates ? lobby : []);
    const teaches = moderates && (room.template === 'classroom' || Object.keys(classroom.answered).length > 0);
    const notYet = (each) => teaches && each.role === 'participant' && !each.grants.moderate && !each.answered;
    if (teaches) this.#showWaiting(rows.filter(notYet).length);
    else this.#waiting = false;
    const listed = this.#waiting ? rows.filter(notYet) : rows;
    refill(this.#list, ...listed.map((each) => this.#row({ ...each, notYet: notYet(each) }, moderates)));
  }

  #showTools(moderates, hands) {
    const { room } = this.#room.classroom;
    const { act } = this.#options;
    this.#tools.hidden = !moderates;
    if (!moderates) return;
    const tool = (testid, name, key, on, pressed) =>
      iconButton({ testid, icon: name, label: t(key), caption: t(key), class: 'tool', pressed, on });
    refill(
      this.#tools,
      tool('mute-all', 'mic-off', 'people.mute_all', () => act('mute_all')),
      tool('silence', 'mic-off', room.silenced ? 'people.silence.off' : 'people.silence.on', () => act('set_room', { silenced: !room.silenced }), Boolean(room.silenced)),
      ...(hands ? [tool('lower-hands', 'hand', 'people.lower_hands', () => act('lower_hand'))] : []),
      tool('lock', 'lock', room.locked ? 'people.unlock' : 'people.lock', () => act('set_room', { locked: !room.locked }), room.locked),
      tool('lobby', 'door', room.lobby ? 'people.lobby.off' : 'people.lobby.on', () => act('set_room', { lobby: !room.lobby }), room.lobby),
      tool('breakouts', 'breakouts', 'breakouts.title', () => this.#options.breakouts(), room.breakouts.length > 0),
      tool('attendance', 'list', 'people.attendance', () => this.#options.attendance()),
      // Who came without a token comes back as a stranger: nobody stays out.
      ...(this.#room.pass ? [] : [tool('removed-people', 'door', 'people.removed', () => this.#options.removed())]),
    );
  }

  /** The tool that lists only who has not had a turn: `count` people. */
  #showWaiting(count) {
    const toggle = () => {
      this.#waiting = !this.#waiting;
      this.#options.redraw();
    };
    const label = t('people.not_yet.only', { count });
    this.#tools.append(
      iconButton({ testid: 'not-yet', icon: 'hand', label, caption: label, class: 'tool', pressed: this.#waiting, on: toggle }),
    );
  }

  /** Whether somebody else here, or among those who wait, has a name that looks like this one. */
  #alike(key, waiting) {
    const { self, participants } = this.#room;
    const keys = [self?.name_key, ...[...participants.values()].map((each) => each.nameKey), ...waiting.map((each) => each.name_key)];
    return Boolean(key) && keys.filter((each) => each === key).length > 1;
  }

  #showLobby(waiting) {
    const { act } = this.#options;
    this.#lobby.hidden = !waiting.length;
    const button = (testid, kind, key, on) => el('button', { type: 'button', class: kind, testid, text: t(key), on: { click: on } });
    const entry = ({ id, name, name_key: key }) =>
      el(
        'li',
        { testid: 'waiting', data: { key: id } },
        avatar(name || '?'),
        el(
          'span',
          { class: 'person-name' },
          el('span', { class: 'person-title', text: name || t('guest') }),
          this.#alike(key, waiting) && el('small', { class: 'warn', testid: 'same-name', text: t('people.same_name') }),
        ),
        button('deny', 'quiet', 'lobby.deny', () => act('deny', { waiting: id })),
        button('admit', 'primary', 'lobby.admit', () => act('admit', { waiting: id })),
      );
    refill(
      this.#lobby,
      el(
        'header',
        {},
        el('h3', { text: t('lobby.waiting', { count: waiting.length }) }),
        waiting.length > 1 && button('admit-all', 'quiet', 'lobby.admit_all', () => act('admit')),
      ),
      el('ul', { class: 'people-list' }, ...waiting.map(entry)),
    );
  }

  #row(person, moderates) {
    const { id, name, local, muted, video, reconnecting, sharing, hand, role, breakout } = person;
    const { room } = this.#room.classroom;
    const status = (key, name) => el('span', { role: 'img', 'aria-label': t(key), title: t(key) }, icon(name));
    const group = room.breakouts.find((each) => each.id === breakout);
    const shownRole = role === 'participant' ? '' : t(`role.${room.template === 'classroom' && role === 'owner' ? 'teacher' : role}`);
    const notes = [local && t('people.you'), shownRole, group?.name, person.answered && t('people.answered', { count: person.answered }), person.notYet && t('people.not_yet')];
    const open = this.#opened === id;
    return el(
      'li',
      { testid: 'person', data: { key: id, participant: id, muted: String(muted), hand: String(hand), role } },
      avatar(name),
      el(
        'span',
        { class: 'person-name' },
        el('span', { class: 'person-title', text: name }),
        el('small', { text: notes.filter(Boolean).join(' · ') }),
        person.alike && el('small', { class: 'warn', testid: 'same-name', text: t('people.same_name') }),
        reconnecting && el('small', { class: 'warn', text: t('people.reconnecting') }),
      ),
      hand > 0 && el('span', { class: 'hand-place', testid: 'hand-place', title: t('people.hand', { place: hand }) }, icon('hand'), String(hand)),
      sharing && status('people.screen', 'screen'),
      status(video ? 'people.camera.on' : 'people.camera.off', video ? 'camera' : 'camera-off'),
      status(muted ? 'people.microphone.off' : 'people.microphone.on', muted ? 'mic-off' : 'mic'),
      !local &&
        iconButton({
          testid: 'person-message',
          icon: 'chat',
          label: t('people.message', { name }),
          class: 'bare',
          on: () => this.#options.onMessage(id),
        }),
      moderates &&
        !local &&
        iconButton({
          testid: 'person-more',
          icon: 'more',
          label: t('people.more', { name }),
          class: 'bare',
          pressed: open,
          on: () => this.#open(this.#opened === id ? '' : id),
        }),
      moderates && open && this.#actions(person),
    );
  }

  #actions(person) {
    const actions = moderationOf(person, this.#room);
    return el(
      'div',
      { class: 'person-actions', role: 'group' },
      ...actions.map(({ testid, label, type, members, danger, confirm: text }) =>
        el('button', {
          type: 'button',
          class: danger ? 'quiet bad' : 'quiet',
          testid,
          text: label,
          on: {
            click: async () => {
              if (text && !(await confirmed({ title: label, text, action: label, code: testid }))) return;
              this.#open('');
              this.#options.act(type, members);
            },
          },
        }),
      ),
    );
  }

  #open(id) {
    this.#opened = id;
    this.#options.redraw();
  }
}
