import { t } from '../texts/index.js';
import { CallMedia, mayPublish } from './call-media.js';
import { el, iconButton, isShown, setButton } from './dom.js';

/**
 * @typedef {object} ControlActions
 * @property {() => void} microphone
 * @property {() => void} camera
 * @property {() => void} screen
 * @property {() => void} chat
 * @property {() => void} people
 * @property {() => void} hand
 * @property {() => void} react
 * @property {() => void} class
 * @property {() => void} board
 * @property {() => void} data
 * @property {() => void} view
 * @property {() => void} stats
 * @property {() => void} settings
 * @property {() => void} invite
 * @property {() => void} help
 * @property {() => void} leave
 */

/** The bar below the stage. */
export class Controls {
  #microphone;
  #camera;
  #screen;
  #chat;
  #people;
  #hand;
  #react;
  #class;
  #board;
  #data;
  #more;
  #menu;
  #view;
  #stats;
  #settings;
  #clock;
  #shown = /** @type {{microphone: boolean, camera: boolean, sharing: boolean} | null} */ (null);

  /**
   * @param {string} room its name
   * @param {ControlActions} actions
   */
  constructor(room, actions) {
    const button = (testid, icon, label, on, more = {}) => iconButton({ testid, icon, label, on, ...more });
    this.#microphone = button('toggle-mic', 'mic', '', actions.microphone, { pressed: false, class: 'device' });
    this.#camera = button('toggle-camera', 'camera', '', actions.camera, { pressed: false, class: 'device' });
    this.#screen = button('toggle-screen', 'screen', '', actions.screen, { pressed: false });
    this.#screen.hidden = !CallMedia.canShare;
    const leave = button('leave', 'leave', t('control.leave'), actions.leave, { class: 'danger' });
    const short = (name) => t(`control.short.${name}`);
    this.#chat = button('toggle-chat', 'chat', '', actions.chat, { pressed: false, short: short('chat') });
    this.#chat.append(el('span', { class: 'badge', testid: 'chat-unread', hidden: true }));
    this.#people = button('toggle-people', 'people', t('control.people'), actions.people, { pressed: false, short: short('people') });
    this.#people.append(el('span', { class: 'badge', testid: 'people-unread', hidden: true }));
    this.#hand = button('toggle-hand', 'hand', '', actions.hand, { pressed: false });
    this.showHand(false);
    this.#more = button(
      'toggle-more',
      'more',
      t('control.more'),
      () => this.showMore(this.#menu.dataset.open !== 'true'),
      { class: 'only-narrow' },
    );
    this.#more.setAttribute('aria-expanded', 'false');
    const choose = (act) => () => {
      this.showMore(false);
      act();
    };
    const entry = (testid, icon, name, act, more = {}) =>
      button(testid, icon, t(`control.${name}`), choose(act), { caption: t(`control.${name}`), short: short(name), ...more });
    this.#view = entry('toggle-view', 'speaker', 'view.speaker', actions.view, { pressed: false, short: short('view') });
    this.#stats = entry('toggle-stats', 'stats', 'stats', actions.stats, { pressed: false });
    const badged = (made, testid) => {
      made.append(el('span', { class: 'badge', testid, hidden: true }));
      return made;
    };
    this.#react = entry('toggle-reactions', 'smile', 'react', actions.react, { shortcut: 'r' });
    this.#react.setAttribute('aria-expanded', 'false');
    this.#class = badged(
      entry('toggle-class', 'question', 'class', actions.class, { pressed: false, shortcut: 'q' }),
      'class-unread',
    );
    this.#board = badged(
      entry('toggle-board', 'pen', 'board', actions.board, { pressed: false, shortcut: 'w' }),
      'board-unread',
    );
    this.#data = badged(entry('toggle-data', 'data', 'data', actions.data, { pressed: false, shortcut: 'd' }), 'data-unread');
    this.#settings = entry('open-settings', 'settings', 'settings', actions.settings);
    this.#menu = el(
      'div',
      { class: 'controls-menu' },
      this.#react,
      this.#class,
      this.#board,
      this.#data,
      this.#view,
      this.#stats,
      this.#settings,
      entry('copy-link', 'link', 'invite', actions.invite),
      entry('open-help', 'help', 'help', actions.help, { shortcut: '?' }),
    );
    this.element = el(
      'footer',
      { class: 'controls', role: 'toolbar', 'aria-label': t('control.bar') },
      el(
        'div',
        { class: 'controls-room' },
        el('strong', { testid: 'room-name', text: room }),
        el('time', { testid: 'call-time' }),
      ),
      el('div', { class: 'controls-main' }, this.#microphone, this.#camera, this.#screen, this.#hand, leave),
      el('div', { class: 'controls-side' }, this.#menu, this.#people, this.#chat, this.#more),
    );
    this.#clock = this.element.querySelector('time');
  }

  /** @param {boolean} open the menu of a narrow screen */
  showMore(open) {
    const was = this.#menu.dataset.open === 'true';
    const inside = this.#menu.contains(document.activeElement);
    this.#menu.dataset.open = String(open);
    this.#more.setAttribute('aria-expanded', String(open));
    if (open) this.#menu.querySelector('button').focus();
    else if (was && inside) this.#more.focus();
  }

  /**
   * @param {string} what has been opened from here
   * @returns {HTMLElement} the button that does that, or the one of the menu it is in
   */
  opener(what) {
    const panels = { chat: this.#chat, people: this.#people, class: this.#class, data: this.#data };
    const buttons = { ...panels, board: this.#board, react: this.#react, settings: this.#settings };
    return isShown(buttons[what]) ? buttons[what] : this.#more;
  }

  /** @param {boolean} open the row of reactions */
  showReactions(open) {
    this.#react.setAttribute('aria-expanded', String(open));
    return this.opener('react');
  }

  /** @param {{microphone: boolean, camera: boolean, sharing: boolean}} on */
  showDevices(on) {
    this.#shown = on;
    const { microphone, camera, sharing } = on;
    const set = (button, on, key, icon, shortcut) => {
      const label = t(`control.${key}.${on ? 'off' : 'on'}`);
      if (button.disabled) setButton(button, { pressed: on, icon, label: t('control.denied', { label }) });
      else setButton(button, { pressed: on, icon, label, shortcut });
    };
    set(this.#microphone, microphone, 'microphone', microphone ? 'mic' : 'mic-off', 'm');
    set(this.#camera, camera, 'camera', camera ? 'camera' : 'camera-off', 'v');
    set(this.#screen, sharing, 'screen', sharing ? 'screen-off' : 'screen', 's');
  }

  /** @param {boolean} raised */
  showHand(raised) {
    const label = t(raised ? 'control.hand.off' : 'control.hand.on');
    setButton(this.#hand, { pressed: raised, label, shortcut: 'h' });
  }

  /** @param {Record<string, any>} grants what one may not do cannot be pressed */
  showRights(grants) {
    const devices = { microphone: this.#microphone, camera: this.#camera, screen: this.#screen };
    for (const [source, button] of Object.entries(devices)) {
      button.disabled = !mayPublish(grants, source);
    }
    if (this.#shown) this.showDevices(this.#shown);
    for (const button of [this.#hand, this.#react]) button.disabled = !grants.chat || grants.hidden;
  }

  /** @param {boolean} open */
  showBoard(open) {
    setButton(this.#board, { pressed: open });
  }

  /**
   * @param {'class' | 'board' | 'data'} which
   * @param {number} unread
   */
  showClassUnread(which, unread) {
    const buttons = { class: this.#class, board: this.#board, data: this.#data };
    showBadge(buttons[which], unread);
    const any = Object.values(buttons).some((each) => !each.querySelector('.badge').hidden);
    this.#more.classList.toggle('has-news', any);
  }

  /** @param {number} waiting hands and people in the lobby */
  showPeopleUnread(waiting) {
    showBadge(this.#people, waiting);
  }

  /** @param {{chat: boolean, people: boolean, class: boolean, data: boolean}} open */
  showPanels({ chat, people, class: work, data }) {
    setButton(this.#data, { pressed: data });
    setButton(this.#class, { pressed: work });
    setButton(this.#chat, { pressed: chat });
    setButton(this.#people, { pressed: people });
  }

  /** @param {number} unread messages */
  showUnread(unread) {
    showBadge(this.#chat, unread);
    setButton(this.#chat, { label: t(unread ? 'control.chat.unread' : 'control.chat'), shortcut: 'c' });
  }

  /** @param {string} view which is shown */
  showView(view) {
    const large = view === 'speaker';
    const label = t(large ? 'control.view.grid' : 'control.view.speaker');
    setButton(this.#view, { pressed: large, icon: large ? 'grid' : 'speaker', label, shortcut: 'g' });
    this.#view.querySelector('.caption').textContent = label;
  }

  /** @param {boolean} on */
  showStats(on) {
    setButton(this.#stats, { pressed: on });
  }

  /** @param {number} seconds since joining */
  showTime(seconds) {
    const two = (number) => String(number).padStart(2, '0');
    const hours = Math.floor(seconds / 3600);
    const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    this.#clock.textContent = hours ? `${hours}:${rest}` : rest;
  }
}

function showBadge(button, count) {
  const badge = button.querySelector('.badge');
  badge.hidden = count === 0;
  badge.textContent = count > 9 ? '9+' : String(count);
}
