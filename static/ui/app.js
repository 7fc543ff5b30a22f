import { Room } from '../sdk/room.js';
import { detectLanguage, t } from '../texts/index.js';
import { CallMedia } from './call-media.js';
import { CallPage } from './call.js';
import { explain } from './dialogs.js';
import { takeToken } from './invitation.js';
import { messageKey } from '../sdk/errors.js';
import { landingPage } from './landing.js';
import { leftPage } from './left.js';
import { lobbyScreen } from './lobby.js';
import { LocalMedia } from './local-media.js';
import { roomOf } from './names.js';
import { prejoinPage } from './prejoin.js';
import { rememberRoom } from './preferences.js';
import { takeSeat } from './seats.js';
import { Toasts } from './toasts.js';

const RETRY_S = 5;
const KINDS = ['meeting', 'classroom', 'webinar', 'consultation', 'monitoring'];

/** Which page is shown, and what it needs. */
class App {
  #root = document.getElementById('app');
  #toasts = new Toasts();
  #page = /** @type {{element: HTMLElement, dispose: () => void} | null} */ (null);
  #media = /** @type {LocalMedia | null} */ (null);
  #room = /** @type {Room | null} */ (null);
  #name = '';
  #seat = /** @type {import('./seats.js').Seat | null} */ (null);
  #query = new URLSearchParams(location.search);
  #token = '';

  start() {
    detectLanguage(location.search);
    document.body.append(this.#toasts.element);
    addEventListener('popstate', () => this.#route());
    // A closed tab says goodbye, so that the others do not wait for it to come back.
    addEventListener('pagehide', () => this.#room?.leave());
    this.#route();
    if (!supported()) explain('browser_unsupported');
  }

  #route() {
    this.#end();
    const room = location.pathname.startsWith('/r/') ? roomOf(location.pathname) : '';
    this.#token = takeToken(room);
    if (room) this.#showPrejoin(room);
    else this.#showLanding();
  }

  #go(path) {
    history.pushState(null, '', path);
    this.#route();
  }

  #home = () => this.#go('/');
  #enter = (room, kind = '') => {
    const query = new URLSearchParams(location.search);
    // In the address, so that a reload makes the same kind of room.
    if (kind) query.set('kind', kind);
    else query.delete('kind');
    this.#go(`/r/${encodeURIComponent(room)}${query.size ? `?${query}` : ''}${location.hash}`);
  };

  #show(page, title) {
    this.#page?.dispose();
    this.#page = page;
    this.#root.replaceChildren(page.element);
    document.title = title ? `${title} · ${t('app.name')}` : `${t('app.name')} · ${t('app.tagline')}`;
  }

  #showLanding() {
    this.#releaseMedia();
    const again = () => this.#showLanding();
    this.#show(landingPage({ enter: this.#enter, home: this.#home, relanguage: again }), '');
  }

  #showPrejoin(room) {
    this.#media ??= new LocalMedia();
    const media = this.#media;
    const join = (name) => this.#join(room, name);
    const again = () => this.#showPrejoin(room);
    this.#show(prejoinPage({ room, media, join, home: this.#home, relanguage: again }), room);
  }

  /** @param {boolean} [waited] in the lobby, and no further */
  #showLeft(room, waited = false) {
    this.#end();
    this.#releaseMedia();
    const rejoin = () => this.#rejoin(room);
    const again = () => this.#showLeft(room, waited);
    const title = t(waited ? 'left.waited.title' : 'left.title');
    this.#show(leftPage({ room, waited, rejoin, home: this.#home, relanguage: again }), title);
  }

  /** Back into the call as one was, without asking again. */
  async #rejoin(room) {
    this.#media ??= new LocalMedia();
    await this.#media.start();
    const joined = await this.#join(room, this.#name || t('guest'));
    if (!joined) this.#showPrejoin(room);
  }

  /** @returns {Promise<boolean>} whether a page is there: the call, or where one goes who leaves; a refusal was explained */
  async #join(roomName, name) {
    this.#name = name;
    this.#seat?.release();
    this.#seat = await takeSeat(roomName, name);
    for (;;) {
      const room = this.#newRoom(roomName, name);
      // What is published before joining goes into the first offer.
      const callMedia = new CallMedia(room, this.#media, (what, error) => {
        this.#toasts.show(t('toast.publish.failed', { what: t(what), reason: t(messageKey(error.code)) }), 'bad');
      });
      const draw = (before) =>
        new CallPage({
          room,
          media: this.#media,
          callMedia,
          toasts: this.#toasts,
          before,
          actions: {
            left: () => this.#showLeft(roomName, room.self === null),
            closed: (code) => this.#closed(roomName, code),
            relanguage: () => {
              page = draw(page);
              present();
              page.settingsClosed();
            },
          },
        });
      let page = draw();
      const present = () => {
        this.#show(page, roomName);
        page.shown();
      };
      const lobby = lobbyScreen(room);
      try {
        await room.join();
        this.#seat?.keep(room.pass);
        rememberRoom(roomName);
        present();
        return true;
      } catch (error) {
        page.dispose();
        this.#room = null;
        if (error.code === 'left') return true;
        if ((await this.#refused(error.code)) !== 'retry') return false;
      } finally {
        lobby.dispose();
      }
    }
  }

  #newRoom(roomName, name) {
    const kind = new URLSearchParams(location.search).get('kind');
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const room = new Room({
      url: `${scheme}//${location.host}/signal`,
      room: roomName,
      name,
      token: this.#token,
      pass: this.#token ? '' : this.#seat?.pass,
      template: KINDS.includes(kind) ? kind : undefined,
      codec: this.#query.get('codec') ?? undefined,
      iceTransportPolicy: this.#query.get('ice') === 'relay' ? 'relay' : 'all',
      client: 'web/1',
    });
    this.#room = room;
    window.__sfu = { room };
    return room;
  }

  #refused(code) {
    const later = code === 'server_unreachable' || code === 'room_full' || code === 'timeout';
    return explain(code, {
      countdown: code === 'server_unreachable' ? { seconds: RETRY_S, value: 'retry' } : undefined,
      actions: [
        { label: t('dialog.close'), value: '', testid: 'dialog-close', primary: !later },
        ...(later ? [{ label: t('dialog.retry'), value: 'retry', testid: 'dialog-retry', primary: true }] : []),
      ],
    });
  }

  async #closed(roomName, code) {
    this.#showLeft(roomName);
    const choice = await explain(code, {
      actions: [
        { label: t('dialog.home'), value: 'home', testid: 'dialog-home' },
        { label: t('dialog.rejoin'), value: 'rejoin', testid: 'dialog-rejoin', primary: true },
      ],
    });
    if (choice === 'rejoin') this.#rejoin(roomName);
    if (choice === 'home') this.#home();
  }

  #end() {
    const room = this.#room;
    this.#room = null;
    this.#seat?.release();
    this.#seat = null;
    if (room && room.state !== 'closed') {
      this.#page?.dispose();
      this.#page = null;
      room.leave();
    }
  }

  #releaseMedia() {
    this.#media?.dispose();
    this.#media = null;
  }
}

function supported() {
  return (
    typeof RTCPeerConnection === 'function' &&
    'addTransceiver' in RTCPeerConnection.prototype &&
    typeof HTMLDialogElement === 'function' &&
    typeof ResizeObserver === 'function'
  );
}

new App().start();
