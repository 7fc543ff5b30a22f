import { Chat } from './chat.js';
import { Classroom } from './classroom.js';
import { SfuError } from './errors.js';
import { Files } from './files.js';
import { LiveData } from './live-data.js';
import { LocalPublication } from './local-publication.js';
import { watchNetwork } from './network.js';
import { PublishTransport } from './publish-transport.js';
import { Roster } from './roster.js';
import { Signal } from './signal.js';
import { SharedState } from './state.js';
import { StatsSampler } from './stats.js';
import { SubscribeTransport } from './subscribe-transport.js';
import { Telemetry } from './telemetry.js';

/**
 * @typedef {'idle' | 'connecting' | 'lobby' | 'connected' | 'reconnecting' | 'closed'} RoomState
 */

/**
 * One membership of a room: signalling, both transports, who is there, what is published.
 *
 * It comes back by itself after every loss; `closed` is the end. Events (`CustomEvent`, members in `detail`):
 * `state` {state, retryInMs?} · `participantjoined`, `participantupdated` {participant} · `participantleft`
 * {participant, reason} · `publicationadded`, `publicationupdated`, `publicationremoved` {participant,
 * publication} · `track` {publication, participant, track} · `trackgone` {publication} · `subscription`
 * {publication, state, reason} · `localchanged` {} · `refused` {publication, error} · `mutedbyother`
 * {publication} · `selfupdated` {self} · `speakers` {speakers} ·
 * `chat`, `chatupdated` {message} · `chatreset` {first} · `chatseen` {} · `chattyping` {participant, to} · `data` {label, topic, from, text, payload, error} · `transport` {name, state} ·
 * `goingaway` {} · `closed` {code, message}.
 */
export class Room extends EventTarget {
  /** @type {RoomState} */
  state = 'idle';
  /** Whether anybody who reaches the server may enter, known once joined. */
  open = false;
  /** This participant, once joined. @type {{id: string, name: string, grants: object} | null} */
  self = null;
  /** What is said. */
  messages = new Chat(
    (type, members) => this.#signal.request(type, members),
    (type, detail) => this.#emit(type, detail),
  );
  /** Of this membership: proves over HTTP who asks. */
  secret = '';
  /** On a server without tokens: makes who brings it this person again. */
  pass = '';
  /** Hands, questions, polls, whiteboard, moderation. */
  classroom = new Classroom((type, members) => this.#signal.request(type, members));
  /** Messages to the others that nothing stores. @type {LiveData} */
  data;
  /** A small document that everybody shares. */
  shared = new SharedState((type, members) => this.#signal.request(type, members));
  /** What is measured. */
  telemetry = new Telemetry((type, members) => this.#signal.request(type, members));

  #signal;
  #roster = new Roster((type, detail) => this.#emit(type, detail));
  #publish;
  #subscribe;
  /** @type {Set<LocalPublication>} */
  #local = new Set();
  /** What was asked of subscriptions: said again after coming back. @type {Map<string, object>} */
  #wishes = new Map();
  #sampler = new StatsSampler();
  /** What follows the server's messages by itself. */
  #parts;
  #stopWatching = () => undefined;

  /**
   * @param {object} options
   * @param {string} options.url of the server's WebSocket
   * @param {string} options.room its name
   * @param {string} options.name shown to the others
   * @param {string} [options.token]
   * @param {string} [options.pass] of an earlier membership
   * @param {string} [options.template] kind of the room, where this opens it
   * @param {string} [options.codec] preferred video codec: vp8, vp9, h264, av1
   * @param {string} [options.client] what program this is
   * @param {{subscribe?: boolean, audio?: boolean, video?: boolean}} [options.wants]
   * @param {RTCIceTransportPolicy} [options.iceTransportPolicy] `relay` sends everything through TURN
   */
  constructor(options) {
    super();
    const { url, room, name, token = '', pass = '', client = 'web', wants = {}, codec, iceTransportPolicy, template } = options;
    this.name = room;
    const members = { room, name, client, wants, ...(token ? { token } : {}), ...(template ? { template } : {}) };
    this.files = new Files(url, room, () => `${this.self?.id}:${this.secret}`);
    this.pass = pass;
    this.#signal = new Signal(url, () => ({
      ...members,
      ...(this.pass ? { pass: this.pass } : {}),
      ...this.messages.joinMembers(),
    }));
    this.#publish = new PublishTransport({
      codec,
      iceTransportPolicy,
      negotiate: (sdp, media) => this.#signal.request('offer', { sdp, media }),
    });
    this.data = new LiveData((type, members) => this.#signal.request(type, members), this.#publish);
    this.#subscribe = new SubscribeTransport({
      iceTransportPolicy,
      answer: (seq, sdp) => this.#signal.request('answer', { seq, sdp }),
      restart: () => this.#signal.request('restart_ice', { transport: 'subscribe' }),
    });
    this.#parts = [this.classroom, this.telemetry, this.shared, this.data];
    this.#wire();
  }

  /** The others, by id. @returns {ReadonlyMap<string, import('./roster.js').Participant>} */
  get participants() {
    return this.#roster.participants;
  }

  /** What is published from here. @returns {LocalPublication[]} */
  get publications() {
    return [...this.#local];
  }

  /** @returns {{publish: RTCPeerConnectionState, subscribe: RTCPeerConnectionState}} */
  get transports() {
    return { publish: this.#publish.state, subscribe: this.#subscribe.state };
  }

  /**
   * @returns {Promise<void>} rejects with `SfuError` where the server refuses or is not there; the room is
   *   `closed` then, and another try takes another `Room`
   */
  async join() {
    this.#setState('connecting');
    this.#stopWatching = watchNetwork(() => {
      this.#signal.probe();
      this.#publish.networkChanged();
      this.#subscribe.networkChanged();
    });
    try {
      await this.#signal.connect();
    } catch (error) {
      this.#finish(error);
      throw error;
    }
  }

  /** Leave for good: media ends, tracks stay the caller's. */
  leave() {
    this.#signal.leave();
    this.#end('left', '');
  }

  /** Reconnect now rather than at the end of the back-off. */
  retryNow() {
    this.#signal.retryNow();
  }

  // --- publishing ------------------------------------------------------------------------------

  /**
   * Publish a track. Before `join` it goes into the first offer.
   * @param {MediaStreamTrack} track
   * @param {LocalPublication['source']} source
   * @param {{name?: string, muted?: boolean, simulcast?: boolean}} [options]
   * @returns {Promise<LocalPublication>} rejects with `SfuError` where the room refuses it
   */
  async publish(track, source, options = {}) {
    const publication = new LocalPublication(track, source, options);
    this.#local.add(publication);
    this.#emit('localchanged', {});
    try {
      await this.#publish.add(publication);
    } catch (error) {
      this.#forget(publication);
      throw error;
    }
    return publication;
  }

  /** @param {LocalPublication} publication */
  async unpublish(publication) {
    const { id } = publication;
    this.#forget(publication);
    const removed = this.#publish.remove(publication);
    // The next offer says it as well, should this be lost.
    if (id) await this.#signal.request('unpublish', { publication: id }).catch(() => undefined);
    await removed;
  }

  /**
   * Send another device's track, or nothing, in the same publication.
   * @param {LocalPublication} publication
   * @param {MediaStreamTrack | null} track
   */
  async replaceTrack(publication, track) {
    await this.#publish.replaceTrack(publication, track);
    this.#emit('localchanged', {});
  }

  /**
   * @param {LocalPublication} publication
   * @param {boolean} muted
   */
  async setMuted(publication, muted) {
    publication.muted = muted;
    this.#emit('localchanged', {});
    if (publication.id) await this.#signal.request('mute', { publication: publication.id, muted });
  }

  // --- subscribing -----------------------------------------------------------------------------

  /**
   * Subscribe, or adjust what is subscribed.
   * @param {string[]} publications
   * @param {{priority?: number, width?: number, height?: number, paused?: boolean}} wish sizes in pixels
   */
  async subscribe(publications, wish = {}) {
    for (const id of publications) this.#wishes.set(id, { ...this.#wishes.get(id), ...wish });
    if (this.state === 'connected') await this.#signal.request('subscribe', { publications, ...wish });
  }

  /** @param {string[]} publications */
  async unsubscribe(publications) {
    for (const id of publications) this.#wishes.delete(id);
    await this.#signal.request('unsubscribe', { publications });
  }

  // --- talking ---------------------------------------------------------------------------------

  /**
   * @param {string} text
   * @param {string | null} [to] one participant's id; everybody without
   * @returns {Promise<import('./chat.js').ChatMessage>} as the room has it
   */
  chat(text, to = null) {
    return this.messages.send(text, to);
  }

  /** Short for `data.send`. @param {any} content @param {object} [options] */
  send(content, options = {}) {
    return this.data.send(content, options);
  }

  /**
   * A look at every stream, as rates since the last look.
   * @returns {Promise<Map<string, import('./stats.js').StreamStats>>} by publication id, one's own included
   */
  async stats() {
    const ids = [...this.participants.values()].flatMap((each) => [...each.publications.keys()]);
    const asked = [
      ...ids.map((id) => [id, this.#subscribe.getStats(id)]),
      ...this.publications.map((each) => [each.id, this.#publish.getStats(each)]),
    ];
    const result = new Map();
    for (const [id, report] of asked) {
      if (id && report) result.set(id, this.#sampler.sample(id, await report));
    }
    this.#sampler.prune((key) => result.has(key));
    return result;
  }

  /** @returns {Promise<Record<string, any>>} the server's own view, see `stats` in docs/protocol.md */
  serverStats() {
    return this.#signal.request('stats');
  }

  // --- inside ----------------------------------------------------------------------------------

  #wire() {
    const listen = (source, type, act) => source.addEventListener(type, (event) => act(event.detail));
    listen(this.#signal, 'joined', (joined) => this.#joined(joined));
    listen(this.#signal, 'lobby', () => this.#setState('lobby'));
    listen(this.#signal, 'message', (message) => this.#received(message));
    listen(this.#signal, 'closed', ({ code, message }) => this.#end(code, message));
    listen(this.#signal, 'state', ({ state, retryInMs }) => {
      if (this.state !== 'connected' && this.state !== 'reconnecting') return;
      if (state === 'waiting' || state === 'connecting') this.#setState('reconnecting', { retryInMs });
    });
    listen(this.#publish, 'data', (data) => this.#emit('data', { ...data, ...data.header, text: data.text }));
    listen(this.#publish, 'published', (detail) => this.#published(detail));
    listen(this.#publish, 'refused', ({ publication, error }) => {
      this.#forget(publication);
      this.#emit('refused', { publication, error });
    });
    for (const [name, transport] of [
      ['publish', this.#publish],
      ['subscribe', this.#subscribe],
    ]) {
      listen(transport, 'state', ({ state }) => this.#emit('transport', { name, state }));
    }
    listen(this.#subscribe, 'track', (detail) => this.#emit('track', detail));
    listen(this.#subscribe, 'trackgone', (detail) => this.#emit('trackgone', detail));
  }

  #joined(joined) {
    const { participant, resumed, ice_servers: iceServers } = joined;
    this.self = participant;
    this.secret = joined.secret;
    this.pass = joined.pass ?? '';
    this.open = joined.open ?? false;
    this.files.largest = joined.max_file_bytes ?? Infinity;
    this.messages.joined(joined);
    this.#subscribe.setIceServers(iceServers);
    if (resumed) {
      this.#publish.setIceServers(iceServers);
      this.#resync(participant.publications);
    } else {
      this.#wishes.clear();
      this.#subscribe.reset();
      this.#publish.open(iceServers, this.#local);
    }
    this.#setState('connected', { resumed });
    this.#roster.sync(joined.participants);
    for (const part of this.#parts) part.sync(joined);
    this.#repeatWishes();
    this.#emit('localchanged', {});
  }

  /** After coming back: what the server missed while the connection was down. */
  #resync(known) {
    const muted = new Map(known.map((each) => [each.id, each.muted]));
    for (const publication of this.#local) {
      const was = muted.get(publication.id);
      if (was !== undefined && was !== publication.muted) this.#sayMuted(publication);
      muted.delete(publication.id);
    }
  }

  #repeatWishes() {
    for (const [id, wish] of this.#wishes) {
      if (this.#roster.publication(id)) {
        this.#signal.request('subscribe', { publications: [id], ...wish }).catch(() => undefined);
      } else {
        this.#wishes.delete(id);
      }
    }
  }

  #published({ publication, muted }) {
    // It may have been muted while the offer was on its way.
    if (publication.muted !== muted) this.#sayMuted(publication);
    this.#emit('localchanged', {});
  }

  #sayMuted({ id, muted }) {
    this.#signal.request('mute', { publication: id, muted }).catch(() => undefined);
  }

  #received(message) {
    switch (message.type) {
      case 'offer':
        // A failed answer is the server's to repeat, or to give up on.
        this.#subscribe.apply(message).catch(() => undefined);
        break;
      case 'participant_joined':
        this.#roster.joined(message.participant);
        break;
      case 'participant_updated':
        if (message.participant.id === this.self?.id) this.#emit('selfupdated', { self: (this.self = message.participant) });
        this.#roster.updated(message.participant);
        break;
      case 'participant_left':
        this.telemetry.forget(message.participant);
        this.#roster.left(message.participant, message.reason);
        break;
      case 'publication_added':
      case 'publication_updated':
        if (message.publication.participant === this.self?.id) this.#ownUpdated(message.publication);
        this.#roster.added(message.publication);
        break;
      case 'publication_removed':
        if (message.participant === this.self?.id) this.#withdrawn(message.publication);
        this.#wishes.delete(message.publication);
        this.#roster.removed(message.publication, message.participant);
        break;
      case 'subscription': {
        const { publication, state, reason = '' } = message;
        this.#emit('subscription', { publication, state, reason });
        break;
      }
      case 'layers':
        this.#publish.setLayers(message.publication, message.encodings);
        break;
      case 'speakers':
        this.#emit('speakers', { speakers: message.speakers });
        break;
      case 'chat':
      case 'chat_updated':
        this.messages.received(message.message);
        break;
      case 'chat_seen':
        this.messages.sawUpTo(message.identity, message.message);
        break;
      case 'chat_typing':
        this.#emit('chattyping', { participant: message.participant, to: message.to });
        break;
      case 'ice_servers':
        this.#publish.setIceServers(message.ice_servers);
        this.#subscribe.setIceServers(message.ice_servers);
        break;
      case 'transport_lost':
        if (message.transport === 'subscribe') this.#subscribe.reset();
        else this.#publish.reopen();
        break;
      case 'going_away':
        this.#emit('goingaway', {});
        break;
      default: // what newer servers say besides
        for (const part of this.#parts) part.received(message);
    }
  }

  /** Somebody who moderates has muted what is published here. */
  #ownUpdated({ id, muted }) {
    const publication = this.publications.find((each) => each.id === id);
    if (!publication || !muted || publication.muted) return;
    publication.muted = true;
    this.#emit('mutedbyother', { publication });
    this.#emit('localchanged', {});
  }

  /** The right to send this was taken away. */
  #withdrawn(id) {
    const publication = this.publications.find((each) => each.id === id);
    if (!publication) return;
    this.#forget(publication);
    this.#publish.remove(publication).catch(() => undefined);
    this.#emit('refused', { publication, error: new SfuError('not_allowed') });
  }

  #forget(publication) {
    this.#local.delete(publication);
    this.#emit('localchanged', {});
  }

  #end(code, message) {
    if (this.state === 'closed') return;
    this.#finish(new SfuError(code, message));
    this.#emit('closed', { code, message });
  }

  #finish(error) {
    this.#stopWatching();
    this.#publish.end(error);
    this.data.end(error);
    this.#subscribe.close();
    this.#setState('closed');
  }

  #setState(state, detail = {}) {
    this.state = state;
    this.#emit('state', { state, ...detail });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

export { LocalPublication, SfuError };
