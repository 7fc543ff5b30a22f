import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { Board } from './board.js';
import { ClassNews } from './class-news.js';
import { breakoutsDialog } from './breakouts.js';
import { ClassPanel } from './class-panel.js';
import { el, FocusReturn } from './dom.js';
import { Reactions } from './reactions.js';
import { removedDialog } from './removed.js';
import { saveReport } from './reports.js';

/** What a call has besides media and chat: it follows the room's class and asks the server for what is pressed. */
export class ClassTools {
  #room;
  #toasts;
  #controls;
  #listeners = new AbortController();
  #news;
  #focus = new FocusReturn();
  #seen = { questions: 0, polls: 0, strokes: 0, hands: 0, lobby: 0 };
  #banner = el('div', { class: 'breakout-banner', testid: 'breakout-banner', role: 'status', hidden: true });
  #recording = el('div', { class: 'recording-mark', testid: 'recording-mark', role: 'status', hidden: true });

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{toasts: import('./toasts.js').Toasts, controls: import('./controls.js').Controls, redraw: () => void,
   *   openPanel: (panel: string) => void, panel: () => string}} options
   */
  constructor(room, { toasts, controls, redraw, openPanel, panel }) {
    this.#room = room;
    this.#toasts = toasts;
    this.#controls = controls;
    this.#news = new ClassNews(room, (text) => toasts.tell(text));
    this.panel = new ClassPanel(room, {
      close: () => openPanel(''),
      act: (type, members) => this.act(type, members),
      vote: (ask) => ask().catch((error) => this.#failed(error)),
    });
    this.board = new Board(room, { close: () => this.toggleBoard(false), onError: (error) => this.#failed(error) });
    this.reactions = new Reactions((reaction) => this.act('react', { reaction }), (open) => controls.showReactions(open));
    const marks = el('div', { class: 'stage-marks' }, this.#recording, this.#banner);
    this.layers = [this.board.element, this.reactions.element, marks];
    const { signal } = this.#listeners;
    const { classroom } = room;
    const on = (type, act) => classroom.addEventListener(type, ({ detail }) => act(detail), { signal });
    on('change', ({ what }) => {
      this.#changed(what, panel());
      redraw();
    });
    on('reaction', ({ reaction, participant }) => this.reactions.show(reaction, this.#nameOf(participant)));
    on('broadcast', ({ participant, name, text }) => {
      const said = t('class.broadcast', { name, text });
      if (participant === room.self?.id) toasts.show(said);
      else toasts.keep(said);
    });
    on('recording', ({ participant, on: begins }) => {
      if (begins) toasts.show(t('toast.recording', { name: this.#nameOf(participant) || t('guest') }));
    });
    on('drawn', () => this.#drawn());
    on('erased', () => this.board.redraw());
    room.addEventListener('selfupdated', () => (this.#news.update(), this.board.update(), this.update()), { signal });
    room.addEventListener('mutedbyother', () => toasts.show(t('toast.muted')), { signal });
    this.#changed('all', '');
  }

  dispose() {
    this.#listeners.abort();
    this.board.dispose();
  }

  /** Show everything as it is now. */
  update() {
    const { self, classroom } = this.#room;
    if (!self) return;
    this.panel.update();
    this.#controls.showHand(classroom.hands.some((each) => each.participant === self.id));
    this.#controls.showRights(self.grants);
    const group = classroom.room.breakouts.find((each) => each.id === self.breakout);
    this.#banner.hidden = !group;
    const recorders = classroom.room.recording.map((each) => this.#nameOf(each)).filter(Boolean);
    this.#recording.hidden = !classroom.room.recording.length;
    this.#recording.textContent = recorders.length ? t('recording.by', { names: recorders.join(', ') }) : t('recording.on');
    this.#banner.textContent = group ? t('breakouts.inside', { name: group.name }) : '';
  }

  /**
   * Ask the server; what it refuses is told.
   * @param {string} type
   * @param {object} [members]
   * @returns {Promise<boolean>} whether it agreed
   */
  async act(type, members = {}) {
    try {
      await this.#room.classroom.moderate(type, members);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  toggleHand() {
    const { self, classroom } = this.#room;
    const up = classroom.hands.some((each) => each.participant === self?.id);
    if (up) this.#news.lowersHand();
    this.act('raise_hand', { raised: !up });
  }

  /** @param {boolean} [open] the opposite of now without */
  toggleBoard(open = !this.board.open) {
    if (open === this.board.open) return;
    this.board.show(open);
    this.#controls.showBoard(this.board.open);
    if (open) this.#focus.enter(this.board.element);
    else this.#focus.leave(this.board.element, this.#controls.opener('board'));
    if (open) this.#controls.showClassUnread('board', 0);
  }

  /** The panel of questions and polls has been opened: nothing in it is new any more. */
  opened() {
    this.#seen.questions = highest(this.#room.classroom.questions);
    this.#seen.polls = highest(this.#room.classroom.polls);
    this.#controls.showClassUnread('class', 0);
  }

  breakouts() {
    breakoutsDialog(this.#room, (type, members) => this.act(type, members));
  }

  /** Save the attendance report. */
  async attendance() {
    const { name } = this.#room;
    if (await saveReport(this.#room, 'attendance.csv', `attendance-${name}.csv`)) return;
    this.#toasts.show(t(messageKey('not_allowed')), 'bad');
  }

  /** Show who was removed and stays out. */
  removed() {
    return removedDialog(this.#room, (error) => this.#failed(error));
  }

  #changed(what, panel) {
    const { classroom, self } = this.#room;
    if (what === 'all') this.#news.reset();
    else this.#news.update();
    if (what === 'board' || what === 'all') this.board.update();
    if (what === 'all') {
      this.#seen.hands = classroom.hands.length;
      if (this.board.open) classroom.loadBoard().catch(() => undefined);
      this.#controls.showClassUnread('board', classroom.strokesThere && !this.board.open ? 1 : 0);
    }
    if (what === 'questions' || what === 'polls' || what === 'all') {
      if (panel === 'class') this.opened();
      else this.#showUnread();
    }
    if (what === 'hands' && self?.grants.moderate && classroom.hands.length > this.#seen.hands) {
      const { participant } = classroom.hands.at(-1);
      if (participant !== self.id) this.#toasts.show(t('toast.hand', { name: this.#nameOf(participant) }));
    }
    if (what === 'hands') this.#seen.hands = classroom.hands.length;
    if (what === 'lobby' && classroom.lobby.length > this.#seen.lobby) {
      this.#toasts.show(t('toast.lobby', { name: classroom.lobby.at(-1).name || t('guest') }));
    }
    this.#seen.lobby = classroom.lobby.length;
    this.#controls.showPeopleUnread(self?.grants.moderate ? classroom.hands.length + classroom.lobby.length : 0);
    this.update();
  }

  #showUnread() {
    const { questions, polls } = this.#room.classroom;
    const fresh = (map, seen) => [...map.keys()].filter((id) => id > seen).length;
    this.#controls.showClassUnread('class', fresh(questions, this.#seen.questions) + fresh(polls, this.#seen.polls));
  }

  #drawn() {
    this.board.redraw();
    if (!this.board.open) this.#controls.showClassUnread('board', 1);
  }

  #nameOf(participant) {
    const { self, participants } = this.#room;
    return participant === self?.id ? self.name : (participants.get(participant)?.name ?? '');
  }

  #failed(error) {
    if (error.code !== 'left') this.#toasts.show(t(messageKey(error.code)), 'bad');
  }
}

function highest(map) {
  return Math.max(0, ...map.keys());
}
