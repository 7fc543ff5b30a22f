import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { AudioSinks } from './audio.js';
import { CallMedia, mayPublish } from './call-media.js';
import { ChatPanel } from './chat.js';
import { ClassTools } from './class-tools.js';
import { Controls } from './controls.js';
import { GameSection, KEY as GAME } from './data-game.js';
import { MessagesSection } from './data-messages.js';
import { DataPanel } from './data-panel.js';
import { StateSection } from './data-state.js';
import { explain, showHelp } from './dialogs.js';
import { el, FocusReturn } from './dom.js';
import { icon } from './icons.js';
import { OpenServerNote } from './open-server.js';
import { PeoplePanel } from './people.js';
import { ReconnectingOverlay } from './reconnecting.js';
import { settingsDialog } from './settings.js';
import { shortcuts } from './shortcuts.js';
import { Stage } from './stage.js';
import { TelemetryView } from './telemetry.js';
import { describeTiles } from './tile-model.js';

/** @typedef {import('../sdk/room.js').Room} Room */

const STATS_MS = 1_000;
/** The large picture stays at least this long with one speaker. */
const SPEAKER_HOLD_MS = 2_000;
const SPEAKING_LEVEL = 0.02;

/** The call: everything that is seen of a joined room. */
export class CallPage {
  #room;
  #media;
  #toasts;
  #actions;
  #listeners = new AbortController();
  #seen = { tracks: new Map(), sounds: new Map(), subscriptions: new Map(), speaking: new Set() };
  #panel = '';
  #focus = new FocusReturn();
  #unread = 0;
  #dataNews = 0;
  #statsOn = false;
  #timers = [];
  #drawing = 0;
  #handedOver = false;
  #joinedAt = performance.now();
  #activeSince = 0;
  #callMedia;
  #stage;
  #audio;
  #chat;
  #people;
  #class;
  #data;
  #controls;
  #telemetry;
  #overlay;
  #openServer = new OpenServerNote();
  #hear;
  #alone;
  #stopShortcuts = () => undefined;

  /**
   * @param {{room: Room, media: import('./local-media.js').LocalMedia, callMedia: CallMedia,
   *   toasts: import('./toasts.js').Toasts, actions: {left: () => void, closed: (code: string) => void, relanguage: () => void},
   *   before?: CallPage}} options `room` is joined or joining; this page takes the place of `before`
   */
  constructor({ room, media, callMedia, toasts, actions, before }) {
    this.#room = room;
    this.#media = media;
    this.#callMedia = callMedia;
    this.#toasts = toasts;
    this.#actions = actions;
    this.#stage = new Stage({
      onWish: (publications, wish) => room.subscribe(publications, wish).catch(() => undefined),
      onView: (view) => this.#controls?.showView(view),
    });
    this.#audio = new AudioSinks();
    this.#audio.setSpeaker(media.chosen.speaker);
    this.#chat = new ChatPanel(room, { close: () => this.#open(''), onError: (text) => toasts.show(text, 'bad') });
    this.#people = new PeoplePanel(room, {
      close: () => this.#open(''),
      onMessage: (id) => this.#writeTo(id),
      redraw: () => this.#plan(),
      act: (type, members) => this.#class.act(type, members),
      breakouts: () => this.#class.breakouts(),
      attendance: () => this.#class.attendance(),
      removed: () => this.#class.removed(),
    });
    this.#data = this.#dataPanel();
    this.#controls = new Controls(room.name, this.#controlActions());
    this.#class = new ClassTools(room, {
      toasts,
      controls: this.#controls,
      redraw: () => this.#plan(),
      openPanel: (panel) => this.#open(panel),
      panel: () => this.#panel,
    });
    this.#telemetry = new TelemetryView(room, {
      toasts,
      stage: this.#stage,
      speaker: media.chosen.speaker,
      before: before?.#telemetry,
    });
    this.#overlay = new ReconnectingOverlay(() => room.retryNow());
    this.#openServer.show(room.open);
    this.#hear = el(
      'button',
      {
        type: 'button',
        class: 'primary hear',
        testid: 'tap-to-hear',
        hidden: true,
        on: { click: () => this.#audio.unblock() },
      },
      icon('sound'),
      t('stage.hear'),
    );
    this.#alone = this.#invitation();
    this.element = el(
      'div',
      { class: 'call', testid: 'call', data: { panel: '' } },
      this.#telemetry.alarms.element,
      el('div', { class: 'call-stage' }, this.#stage.element, this.#alone, ...this.#class.layers, this.#overlay.element, this.#openServer.element, this.#hear),
      this.#chat.element,
      this.#people.element,
      this.#class.panel.element,
      this.#data.element,
      this.#controls.element,
      this.#audio.element,
    );
    if (before) this.#takeOver(before);
    this.#wire();
    this.#start();
  }

  /** The call is on the page now: before, in the lobby, no key is meant for it. */
  shown() {
    this.#stopShortcuts = shortcuts(this.#keys());
  }

  dispose() {
    this.#listeners.abort();
    this.#stopShortcuts();
    for (const timer of this.#timers) clearInterval(timer);
    cancelAnimationFrame(this.#drawing);
    if (!this.#handedOver) this.#callMedia.dispose();
    this.#stage.dispose();
    this.#class.dispose();
    this.#chat.dispose();
    this.#data.dispose();
    this.#telemetry.dispose();
    this.#audio.dispose();
    this.#overlay.hide();
  }

  /** The same call drawn anew: what the room told only once comes from the page before. */
  #takeOver(before) {
    before.#handedOver = true;
    this.#seen = before.#seen;
    this.#joinedAt = before.#joinedAt;
    for (const [publication, track] of this.#seen.sounds) this.#audio.add(publication, track);
  }

  #start() {
    this.#chat.reset();
    this.#countUnread();
    this.#timers.push(
      setInterval(() => this.#controls.showTime(Math.floor((performance.now() - this.#joinedAt) / 1000)), 1000),
      setInterval(() => this.#statsOn && this.#refreshStats(), STATS_MS),
    );
    this.#draw();
  }

  // --- the room's events -----------------------------------------------------------------------

  #wire() {
    const { signal } = this.#listeners;
    const on = (types, act) => {
      for (const type of types.split(' ')) {
        this.#room.addEventListener(type, ({ detail }) => (act(detail), this.#plan()), { signal });
      }
    };
    on('participantupdated publicationupdated publicationadded localchanged selfupdated transport', () => undefined);
    on('participantjoined', ({ participant }) => this.#joined(participant));
    on('participantleft', ({ participant }) => this.#leftRoom(participant));
    on('publicationadded', (detail) => this.#announceScreen(detail));
    on('publicationremoved', ({ publication }) => this.#seen.subscriptions.delete(publication.id));
    on('track', ({ publication, track }) => this.#track(publication, track));
    on('trackgone', ({ publication }) => {
      this.#seen.tracks.delete(publication);
      this.#seen.sounds.delete(publication);
      this.#audio.remove(publication);
    });
    on('subscription', ({ publication, state, reason }) =>
      this.#seen.subscriptions.set(publication, { state, reason }),
    );
    on('chat', ({ message }) => this.#received(message));
    on('chatupdated', ({ message }) => this.#chat.update(message));
    on('chatreset', () => (this.#chat.reset(), this.#countUnread()));
    on('chatseen', () => this.#chat.showSeen());
    on('chattyping', ({ participant }) => this.#chat.showTyping(participant));
    on('state', (detail) => this.#stateChanged(detail));
    on('goingaway', () => this.#toasts.show(t('toast.going_away')));
    on('closed', ({ code }) => (code === 'left' ? this.#actions.left() : this.#actions.closed(code)));
    this.#room.addEventListener('speakers', ({ detail }) => this.#speakers(detail.speakers), { signal });
    this.#media.addEventListener('change', () => this.#plan(), { signal });
    this.#media.addEventListener('lost', ({ detail }) => this.#deviceLost(detail.kind), { signal });
    this.#audio.addEventListener('blocked', ({ detail }) => (this.#hear.hidden = !detail.blocked), { signal });
    document.addEventListener('pointerdown', (event) => this.#closeMore(event), { signal });
  }

  #joined(participant) {
    this.#chat.updateRecipients();
    this.#toasts.announce(t('announce.joined', { name: participant.name }));
  }

  #leftRoom(participant) {
    this.#chat.updateRecipients();
    this.#seen.speaking.delete(participant.id);
    this.#toasts.announce(t('announce.left', { name: participant.name }));
  }

  #announceScreen({ participant, publication }) {
    if (publication.source === 'screen') this.#toasts.announce(t('announce.screen', { name: participant.name }));
  }

  #track(publication, track) {
    if (track.kind === 'audio') {
      this.#seen.sounds.set(publication, track);
      this.#audio.add(publication, track);
    } else this.#seen.tracks.set(publication, track);
  }

  #received(message) {
    this.#chat.add(message);
    if (message.from === this.#room.self?.id) return;
    this.#announceMessage(message);
    if (this.#panel !== 'chat') this.#controls.showUnread((this.#unread += 1));
  }

  async #announceMessage({ name, text, file }) {
    if (text) this.#toasts.announce(t('announce.chat', { name, text }));
    if (!file) return;
    const info = await this.#room.files.info(file).catch(() => null); // as soon gone as come
    if (info) this.#toasts.announce(t('announce.file', { name, file: info.name }));
  }

  #countUnread() {
    this.#controls.showUnread((this.#unread = this.#panel === 'chat' ? 0 : this.#chat.unread));
  }

  #stateChanged({ state, retryInMs }) {
    if (state === 'reconnecting') {
      this.#overlay.show(retryInMs);
    } else if (state === 'connected') {
      this.#openServer.show(this.#room.open);
      if (!this.#overlay.element.hidden) this.#toasts.show(t('toast.back'), 'good');
      this.#overlay.hide();
    }
  }

  #speakers(speakers) {
    const loud = speakers.filter((each) => each.level > SPEAKING_LEVEL);
    this.#seen.speaking = new Set(loud.map((each) => each.participant));
    const active = loud.find((each) => each.participant !== this.#room.self?.id);
    const now = performance.now();
    if (active && now - this.#activeSince > SPEAKER_HOLD_MS) {
      this.#activeSince = now;
      this.#stage.setActive(active.participant);
    }
    this.#plan();
  }

  #deviceLost(kind) {
    this.#toasts.show(t('device.gone', { kind: t(`device.${kind}`) }), 'bad');
  }

  // --- drawing ---------------------------------------------------------------------------------

  /** Many events in one frame are one drawing. */
  #plan() {
    if (!this.#drawing) this.#drawing = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = 0;
    const views = describeTiles(this.#room, this.#seen);
    const { spotlight } = this.#room.classroom.room;
    this.#stage.setSpotlight(spotlight?.participant ?? '', spotlight?.publication ?? '');
    this.#stage.update(views);
    this.#people.update(views);
    this.#data.update();
    this.#chat.showRights();
    this.#alone.hidden = this.#room.participants.size > 0;
    const { on, tracks } = this.#media;
    this.#controls.showDevices({
      microphone: on.microphone && tracks.microphone !== null,
      camera: on.camera && tracks.camera !== null,
      sharing: this.#room.publications.some((each) => each.source === 'screen'),
    });
  }

  async #refreshStats() {
    const [stats, server] = await Promise.all([
      this.#room.stats(),
      this.#room.serverStats().catch(() => null), // while the connection is down, the page's own view is all
    ]);
    for (const [publication, sent] of Object.entries(server?.subscriptions ?? {})) {
      const received = stats.get(publication);
      if (received) stats.set(publication, { ...received, estimateBps: sent.estimate_bps, sent: sent.current_rid, reason: sent.reason });
    }
    if (this.#statsOn) this.#stage.showStats(stats);
  }

  #dataPanel() {
    const panel = new DataPanel({ close: () => this.#open('') });
    const redraw = () => this.#plan();
    const onError = (text) => this.#toasts.show(text, 'bad');
    const news = () => panel.element.hidden && this.#controls.showClassUnread('data', (this.#dataNews += 1));
    panel.add(new StateSection(this.#room, { onError, redraw, news, except: [GAME] }));
    panel.add(new MessagesSection(this.#room, { onError, redraw, news }));
    panel.add(new GameSection(this.#room, { onError, redraw }), { open: false });
    return panel;
  }

  #invitation() {
    const link = inviteLink();
    return el(
      'div',
      { class: 'alone card', testid: 'alone', hidden: true },
      el('strong', { text: t('stage.alone.title') }),
      el('p', { text: t('stage.alone.text') }),
      el(
        'div',
        { class: 'alone-link' },
        el('code', { text: link.replace(/^https?:\/\//, '') }),
        el(
          'button',
          { type: 'button', class: 'primary', testid: 'alone-copy', on: { click: () => this.#copyInvite() } },
          icon('link'),
          t('control.invite'),
        ),
      ),
    );
  }

  // --- what people do --------------------------------------------------------------------------

  #controlActions() {
    return {
      microphone: () => this.#toggle('microphone'),
      camera: () => this.#toggle('camera'),
      screen: () => this.#toggleScreen(),
      chat: () => this.#open(this.#panel === 'chat' ? '' : 'chat'),
      people: () => this.#open(this.#panel === 'people' ? '' : 'people'),
      hand: () => this.#class.toggleHand(),
      react: () => this.#class.reactions.toggle(),
      class: () => this.#open(this.#panel === 'class' ? '' : 'class'),
      board: () => this.#class.toggleBoard(),
      data: () => this.#open(this.#panel === 'data' ? '' : 'data'),
      view: () => this.#stage.toggleView(),
      stats: () => this.#toggleStats(),
      settings: () => this.#settings(),
      invite: () => this.#copyInvite(),
      help: () => showHelp(),
      leave: () => this.#room.leave(),
    };
  }

  #keys() {
    const actions = this.#controlActions();
    const { microphone, camera, screen, chat, people, view, help, hand, react, board } = actions;
    const escape = () => {
      this.#controls.showMore(false);
      this.#class.reactions.toggle(false);
      if (this.#panel) this.#open('');
      else this.#class.toggleBoard(false);
    };
    const talk = { m: microphone, v: camera, s: screen, h: hand, r: react };
    return { ...talk, c: chat, p: people, q: actions.class, w: board, d: actions.data, g: view, '?': help, Escape: escape };
  }

  async #toggle(kind) {
    if (this.#room.self && !mayPublish(this.#room.self.grants, kind)) return;
    const isOn = this.#media.on[kind] && this.#media.tracks[kind] !== null;
    try {
      await this.#media.set(kind, !isOn);
    } catch (error) {
      await explain(error.code);
    }
  }

  async #toggleScreen() {
    if (!CallMedia.canShare || !mayPublish(this.#room.self?.grants, 'screen')) return;
    try {
      await this.#callMedia.toggleScreen();
      if (this.#callMedia.sharing) this.#toasts.show(t('toast.screen.started'), 'good');
    } catch (error) {
      if (error.code === 'left') return;
      this.#toasts.show(t(messageKey(error.code)), error.code === 'screen_cancelled' ? 'info' : 'bad');
    }
  }

  #open(panel) {
    if (panel === this.#panel) return;
    const panels = { chat: this.#chat, people: this.#people, class: this.#class.panel, data: this.#data };
    const before = this.#panel;
    this.#panel = panel;
    this.element.dataset.panel = panel;
    for (const [name, each] of Object.entries(panels)) each.element.hidden = name !== panel;
    this.#controls.showPanels({ chat: panel === 'chat', people: panel === 'people', class: panel === 'class', data: panel === 'data' });
    if (panel === 'class') this.#class.opened();
    if (panel === 'data') {
      this.#data.update();
      this.#controls.showClassUnread('data', (this.#dataNews = 0));
    }
    if (panel === 'chat') {
      this.#controls.showUnread((this.#unread = 0));
      this.#chat.opened();
    }
    if (before) this.#focus.leave(panels[before].element, this.#controls.opener(before));
    if (panel) this.#focus.enter(panel === 'chat' ? this.#chat.start : panels[panel].element.querySelector('.panel-head h2'));
  }

  #writeTo(participant) {
    this.#open('chat');
    this.#chat.writeTo(participant);
  }

  #toggleStats() {
    this.#statsOn = !this.#statsOn;
    this.#controls.showStats(this.#statsOn);
    if (this.#statsOn) this.#refreshStats();
    else this.#stage.showStats(null);
  }

  async #settings() {
    const { sound } = this.#telemetry.alarms;
    const inAnother = await settingsDialog(this.#media, {
      alarms: sound,
      onSpeaker: (deviceId) => [this.#audio, sound].forEach((each) => each.setSpeaker(deviceId)),
      onError: (code) => this.#toasts.show(t(messageKey(code)), 'bad'),
    });
    if (inAnother && this.#room.state !== 'closed') this.#actions.relanguage();
  }

  /** The focus goes back to where the settings were opened. */
  settingsClosed() {
    this.#controls.opener('settings').focus();
  }

  async #copyInvite() {
    const link = inviteLink();
    try {
      await navigator.clipboard.writeText(link);
      this.#toasts.show(t('toast.copied'), 'good');
    } catch {
      this.#toasts.show(t('toast.copy.failed', { link }));
    }
  }

  #closeMore(event) {
    if (!event.target.closest?.('.controls-side')) this.#controls.showMore(false);
  }
}

/** The address of the room without what is one's own: token and options. */
function inviteLink() {
  return `${location.origin}${location.pathname}`;
}
