import { t } from '../texts/index.js';
import { mayPublish } from './call-media.js';

const SOURCES = ['microphone', 'camera', 'screen'];

/**
 * Tells who is in a class what others change for them: a turn, a right, a role, an answer, a new poll.
 *
 * Each look compares with the last; what one did oneself is no news.
 */
export class ClassNews {
  #room;
  #tell;
  #before = null;
  #lowering = false;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {(text: string) => void} tell shows it and has it read aloud
   */
  constructor(room, tell) {
    this.#room = room;
    this.#tell = tell;
  }

  /** How it is now is where news begin. */
  reset() {
    this.#before = this.#look();
  }

  /** The hand goes down because one wants it to. */
  lowersHand() {
    this.#lowering = true;
  }

  /** Something may have changed. */
  update() {
    const now = this.#look();
    const before = this.#before;
    this.#before = now;
    if (!before || !now || before.id !== now.id) return;
    const news = [...this.#turn(before, now), ...rights(before, now), ...this.#others(before, now)];
    if (news.length) this.#tell(news.join(' '));
  }

  #look() {
    const { self, classroom } = this.#room;
    if (!self) return null;
    const { grants, role } = self;
    const mine = [...classroom.questions.values()].filter((each) => each.identity === self.identity && each.answered);
    return {
      id: self.id,
      role,
      moderates: grants.moderate,
      may: {
        ...Object.fromEntries(SOURCES.map((each) => [each, mayPublish(grants, each)])),
        chat: grants.chat,
        record: grants.record,
      },
      hand: classroom.hands.some((each) => each.participant === self.id),
      turns: classroom.answered[self.identity] ?? 0,
      spotlit: classroom.room.spotlight?.participant === self.id,
      answers: new Map(mine.map(({ id, text, answer }) => [id, { text, answer }])),
      polls: new Map([...classroom.polls.values()].filter((each) => each.open).map(({ id, question }) => [id, question])),
    };
  }

  #turn(before, now) {
    if (now.turns > before.turns) return [t('news.turn')];
    if (!before.hand || now.hand) return [];
    const own = this.#lowering;
    this.#lowering = false;
    return own ? [] : [t('news.hand_lowered')];
  }

  *#others(before, now) {
    if (before.spotlit !== now.spotlit) yield t(now.spotlit ? 'news.spotlight' : 'news.spotlight.end');
    for (const [id, { text, answer }] of now.answers) {
      if (before.answers.has(id) && before.answers.get(id).answer === answer) continue;
      yield answer ? t('news.answer', { text, answer }) : t('news.answered', { text });
    }
    if (now.moderates) return; // who may open polls knows of them
    for (const [id, question] of now.polls) {
      if (!before.polls.has(id)) yield t('news.poll', { question });
    }
  }
}

/** A new role says enough: what it may do follows from it. */
function* rights(before, now) {
  if (before.role !== now.role) {
    yield t(`news.role.${now.role}`);
    return;
  }
  for (const [right, may] of Object.entries(now.may)) {
    if (may !== before.may[right]) yield t(`news.${right}.${may ? 'allow' : 'deny'}`);
  }
}
