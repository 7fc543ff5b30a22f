/**
 * @typedef {object} RoomInfo the room itself
 * @property {string} name
 * @property {'meeting' | 'classroom' | 'webinar' | 'consultation' | 'monitoring'} template
 * @property {boolean} locked
 * @property {boolean} lobby
 * @property {boolean} silenced whether students have no microphone
 * @property {{participant: string, publication: string | null} | null} spotlight
 * @property {{id: number, name: string}[]} breakouts
 * @property {string[]} recording participants that record
 *
 * @typedef {{id: string, author: string, color: string, width: number, points: [number, number][]}} Stroke
 */

/**
 * Working together in a room: hands, questions, polls, lobby, whiteboard, and what moderators do.
 *
 * Kept by the server's messages. Every change is told as one `change` {what}; besides, `reaction` {participant,
 * reaction}, `broadcast` {name, text}, `recording` {participant, on}, `drawn` {stroke} (new points only) and `erased` {stroke} (null: all).
 * What is asked rejects with `SfuError` where the server refuses.
 */
export class Classroom extends EventTarget {
  /** @type {RoomInfo} */
  room = { name: '', template: 'meeting', locked: false, lobby: false, silenced: false, spotlight: null, breakouts: [], recording: [] };
  /** In the order of raising. @type {{participant: string, raised_at_ms: number}[]} */
  hands = [];
  /** How often somebody was called on, by identity. @type {Record<string, number>} */
  answered = {};
  /** @type {Map<number, Record<string, any>>} */
  questions = new Map();
  /** @type {Map<number, Record<string, any>>} */
  polls = new Map();
  /** Who waits to be let in; empty for who does not moderate. @type {{id: string, name: string}[]} */
  lobby = [];
  /** Null until `loadBoard`. @type {Map<string, Stroke> | null} */
  strokes = null;
  /** How many strokes the board had at joining, for who has not looked yet. */
  strokesThere = 0;

  #request;

  /** @param {(type: string, members?: object) => Promise<Record<string, any>>} request asks the server */
  constructor(request) {
    super();
    this.#request = request;
  }

  // --- what everybody may do -------------------------------------------------------------------

  /** @param {boolean} raised */
  raiseHand(raised) {
    return this.#request('raise_hand', { raised });
  }

  /** @param {string} text */
  ask(text) {
    return this.#request('ask', { text });
  }

  /**
   * @param {number} question
   * @param {boolean} voted
   */
  async voteQuestion(question, voted) {
    await this.#request('vote_question', { question, voted });
    this.#vote(this.questions.get(question), voted, 'questions');
  }

  /** @param {number} question one's own, or any for who moderates */
  removeQuestion(question) {
    return this.#request('remove_question', { question });
  }

  /**
   * @param {number} poll
   * @param {number[]} choices indices of options; none takes the vote back
   */
  async votePoll(poll, choices) {
    await this.#request('vote_poll', { poll, choices });
    this.#vote(this.polls.get(poll), choices, 'polls');
  }

  /** @param {string} reaction one of `REACTIONS` */
  react(reaction) {
    return this.#request('react', { reaction });
  }

  /** @returns {Promise<void>} once `strokes` holds the whole board, and follows it from then on */
  async loadBoard() {
    if (this.strokes) return;
    const { strokes } = await this.#request('board');
    this.strokes = new Map(strokes.map((each) => [each.id, each]));
    this.#changed('board');
  }

  /** @param {{stroke: string, color: string, width: number, points: [number, number][]}} part of a stroke */
  draw(part) {
    return this.#request('draw', part);
  }

  /** @param {string} stroke */
  erase(stroke) {
    return this.#request('erase', { stroke });
  }

  // --- what moderators do ----------------------------------------------------------------------

  /**
   * Any request of docs/protocol.md's moderation, by its type.
   * @param {string} type
   * @param {object} [members]
   */
  moderate(type, members = {}) {
    return this.#request(type, members);
  }

  // --- what the server says --------------------------------------------------------------------

  /** @param {Record<string, any>} joined */
  sync({ room, class: work }) {
    if (room) this.room = { ...this.room, ...room };
    if (!work) return;
    this.#setHands(work.hands);
    this.questions = new Map(work.questions.map((each) => [each.id, each]));
    this.polls = new Map(work.polls.map((each) => [each.id, each]));
    this.lobby = work.lobby ?? [];
    this.strokes = null;
    this.strokesThere = work.strokes;
    this.#changed('all');
  }

  /**
   * @param {Record<string, any>} message
   * @returns {boolean} whether it was one of the class
   */
  received(message) {
    switch (message.type) {
      case 'room_updated':
        this.room = message.room;
        return this.#changed('room');
      case 'hands':
        this.#setHands(message.hands);
        return this.#changed('hands');
      case 'question':
        keep(this.questions, message.question);
        return this.#changed('questions');
      case 'question_removed':
        this.questions.delete(message.question);
        return this.#changed('questions');
      case 'poll':
        keep(this.polls, message.poll);
        return this.#changed('polls');
      case 'poll_removed':
        this.polls.delete(message.poll);
        return this.#changed('polls');
      case 'lobby':
        this.lobby = message.waiting;
        return this.#changed('lobby');
      case 'drawn':
        return this.#drawn(message.stroke);
      case 'erased':
        if (message.stroke) this.strokes?.delete(message.stroke);
        else this.strokes?.clear();
        return this.#emit('erased', { stroke: message.stroke });
      case 'recording': {
        const others = this.room.recording.filter((each) => each !== message.participant);
        this.room = { ...this.room, recording: message.on ? [...others, message.participant] : others };
        this.#emit('recording', message);
        return this.#changed('room');
      }
      case 'reaction':
      case 'broadcast':
        return this.#emit(message.type, message);
      default:
        return false;
    }
  }

  #drawn(stroke) {
    const known = this.strokes?.get(stroke.id);
    if (known) known.points.push(...stroke.points);
    else this.strokes?.set(stroke.id, { ...stroke, points: [...stroke.points] });
    return this.#emit('drawn', { stroke });
  }

  #setHands({ queue, answered }) {
    this.hands = queue;
    this.answered = answered;
  }

  #vote(thing, voted, what) {
    if (thing) thing.voted = voted;
    this.#changed(what);
  }

  #changed(what) {
    return this.#emit('change', { what });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
    return true;
  }
}

/** What the server offers as reactions. */
export const REACTIONS = Object.freeze(['👍', '👏', '❤️', '😂', '😮', '🎉', '🤔', '👎']);

/** What changes in messages to everybody has no `voted`: one's own vote stays as it is known here. */
function keep(map, thing) {
  map.set(thing.id, { voted: map.get(thing.id)?.voted, ...thing });
}
