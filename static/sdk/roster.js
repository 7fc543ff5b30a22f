/**
 * @typedef {object} Publication as docs/protocol.md has it
 * @property {string} id
 * @property {string} participant
 * @property {'audio' | 'video'} kind
 * @property {'camera' | 'microphone' | 'screen' | 'screen_audio' | 'other'} source
 * @property {string} name
 * @property {boolean} muted
 * @property {string} codec
 * @property {boolean} simulcast
 * @property {number} width
 * @property {number} height
 */

/**
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} name
 * @property {string} nameKey the same for names that look alike, empty for no name
 * @property {string} identity
 * @property {'connected' | 'reconnecting'} state
 * @property {number} joinedAtMs
 * @property {'owner' | 'presenter' | 'participant' | 'observer' | 'device'} role
 * @property {Record<string, any>} grants
 * @property {number | null} breakout
 * @property {Map<string, Publication>} publications
 */

/** Who is in the room and what they publish, kept by the server's messages. Tells `emit` of each change. */
export class Roster {
  /** The others, by id, in the order they joined. @type {Map<string, Participant>} */
  participants = new Map();
  #emit;

  /** @param {(type: string, detail: object) => void} emit */
  constructor(emit) {
    this.#emit = emit;
  }

  /**
   * @param {string} id of a publication
   * @returns {Publication | undefined}
   */
  publication(id) {
    for (const participant of this.participants.values()) {
      const found = participant.publications.get(id);
      if (found) return found;
    }
    return undefined;
  }

  /** @param {object[]} present everybody else, as `joined` lists them; others have gone */
  sync(present) {
    const ids = new Set(present.map((each) => each.id));
    for (const id of [...this.participants.keys()]) if (!ids.has(id)) this.left(id, 'left');
    for (const each of present) {
      if (this.participants.has(each.id)) {
        this.updated(each);
        this.#syncPublications(this.participants.get(each.id), each.publications);
      } else {
        this.joined(each);
      }
    }
  }

  joined(wire) {
    if (this.participants.has(wire.id)) {
      this.updated(wire);
      return;
    }
    const participant = { publications: new Map() };
    assign(participant, wire);
    this.participants.set(participant.id, participant);
    this.#emit('participantjoined', { participant });
    this.#syncPublications(participant, wire.publications);
  }

  updated(wire) {
    const participant = this.participants.get(wire.id);
    if (!participant) return;
    assign(participant, wire);
    this.#emit('participantupdated', { participant });
  }

  left(id, reason) {
    const participant = this.participants.get(id);
    if (!participant) return;
    for (const publication of [...participant.publications.keys()]) this.removed(publication, id);
    this.participants.delete(id);
    this.#emit('participantleft', { participant, reason });
  }

  added(publication) {
    const participant = this.participants.get(publication.participant);
    if (!participant) return;
    const known = participant.publications.has(publication.id);
    participant.publications.set(publication.id, publication);
    this.#emit(known ? 'publicationupdated' : 'publicationadded', { participant, publication });
  }

  removed(id, participantId) {
    const participant = this.participants.get(participantId);
    const publication = participant?.publications.get(id);
    if (!publication) return;
    participant.publications.delete(id);
    this.#emit('publicationremoved', { participant, publication });
  }

  #syncPublications(participant, publications) {
    const ids = new Set(publications.map((each) => each.id));
    for (const id of [...participant.publications.keys()]) if (!ids.has(id)) this.removed(id, participant.id);
    for (const each of publications) this.added(each);
  }
}

function assign(participant, wire) {
  const { id, name, name_key: nameKey = '', identity, state, joined_at_ms: joinedAtMs, role, grants, breakout = null } = wire;
  Object.assign(participant, { id, name, nameKey, identity, state, joinedAtMs, role, grants, breakout });
}
