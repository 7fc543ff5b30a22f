import { t } from '../texts/index.js';
import { panelHead } from './dialogs.js';
import { el, iconButton, refill } from './dom.js';

const MOST_OPTIONS = 10;

/** Questions and polls. */
export class ClassPanel {
  #room;
  #act;
  #questions;
  #polls;
  #making;
  #ask;
  #answer;
  /** The question that is being answered in writing, 0 for none. */
  #answering = 0;
  #options;
  #signature = '';

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{close: () => void, act: (type: string, members?: object) => Promise<boolean>,
   *   vote: (ask: () => Promise<void>) => void}} options `act` asks the server and says whether it agreed
   */
  constructor(room, { close, act, vote }) {
    this.#room = room;
    this.#act = act;
    this.vote = vote;
    const head = panelHead(t('class.title'), close);
    this.#questions = el('ul', { class: 'question-list', testid: 'question-list' });
    this.#polls = el('div', { class: 'poll-list', testid: 'poll-list' });
    this.#making = this.#pollForm();
    this.#ask = this.#questionForm();
    this.#answer = this.#answerForm();
    this.element = el(
      'aside',
      { class: 'panel class', testid: 'class-panel', 'aria-label': t('class.title'), hidden: true },
      head.element,
      el(
        'div',
        { class: 'class-body' },
        el('section', {}, el('h3', { text: t('poll.title') }), this.#making, this.#polls),
        el('section', {}, el('h3', { text: t('question.title') }), this.#questions),
      ),
      this.#answer.element,
      this.#ask,
    );
  }

  /** Show the class as it is now. */
  update() {
    const { self, classroom, participants } = this.#room;
    if (!self) return;
    const moderates = self.grants.moderate && !self.grants.hidden;
    // What is the same stays as it is: a button that is being pressed is not taken away.
    const signature = JSON.stringify([
      [...classroom.polls.values()],
      [...classroom.questions.values()],
      [moderates, self.grants.chat, self.grants.hidden],
      [...participants.values()].map((each) => each.name),
    ]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    this.#making.hidden = !moderates;
    this.#ask.hidden = !self.grants.chat || self.grants.hidden;
    if (!moderates || !classroom.questions.has(this.#answering)) this.#startAnswer(0);
    const polls = [...classroom.polls.values()].reverse();
    refill(
      this.#polls,
      ...polls.map((each) => this.#poll(each, moderates)),
      ...(polls.length || moderates ? [] : [el('p', { class: 'class-empty', text: t('poll.empty') })]),
    );
    const questions = [...classroom.questions.values()].sort(
      (a, b) => Number(a.answered) - Number(b.answered) || b.votes - a.votes || a.id - b.id,
    );
    refill(
      this.#questions,
      ...questions.map((each) => this.#question(each, moderates)),
      ...(questions.length ? [] : [el('li', { class: 'class-empty', text: t('question.empty') })]),
    );
  }

  #question({ id, name, text, votes, voted: told, answered, answer, identity }, moderates) {
    const { classroom, self } = this.#room;
    // By identity: after a restart of the server one is another participant.
    const mine = identity === self.identity;
    // Who asks has voted for it.
    const voted = told ?? mine;
    const button = (testid, icon, label, on, pressed) => iconButton({ testid, icon, label, class: 'bare', pressed, on });
    return el(
      'li',
      { class: answered ? 'question answered' : 'question', testid: 'question', data: { key: `question-${id}`, answered: String(answered) } },
      el(
        'button',
        {
          type: 'button',
          class: 'votes',
          testid: 'question-vote',
          'aria-pressed': String(Boolean(voted)),
          'aria-label': t('question.vote', { votes }),
          disabled: !self.grants.chat || self.grants.hidden,
          on: { click: () => this.vote(() => classroom.voteQuestion(id, !voted)) },
        },
        '▲',
        el('b', { text: String(votes) }),
      ),
      el(
        'div',
        { class: 'question-text' },
        el('p', { text }),
        el('small', { text: answered ? t('question.answered', { name }) : name }),
        answer && el('p', { class: 'answer', text: answer }),
      ),
      moderates && button('question-reply', 'edit', t('question.reply'), () => this.#startAnswer(id)),
      moderates &&
        button('question-answer', 'check', t(answered ? 'question.reopen' : 'question.answer'), () =>
          this.#act('answer_question', { question: id, answered: !answered, ...(answer ? { answer } : {}) }), answered),
      (moderates || mine) &&
        button('question-remove', 'close', t('question.remove'), () => this.#act('remove_question', { question: id })),
    );
  }

  #poll(poll, moderates) {
    const { id, question, options, counts, voters, open, voted, multiple, waiting } = poll;
    const { classroom, participants, self } = this.#room;
    const chosen = new Set(voted ?? []);
    const choose = (index) => {
      const next = multiple ? new Set(chosen) : new Set();
      if (multiple && chosen.has(index)) next.delete(index);
      else next.add(index);
      this.vote(() => classroom.votePoll(id, [...next]));
    };
    const option = (text, index) => {
      const share = voters ? Math.round((100 * counts[index]) / voters) : 0;
      const button = el(
        'button',
        {
          type: 'button',
          class: 'poll-option',
          testid: 'poll-option',
          'aria-pressed': String(chosen.has(index)),
          disabled: !open || !self.grants.chat || self.grants.hidden,
          on: { click: () => choose(index) },
        },
        el('span', { class: 'poll-bar' }),
        el('span', { class: 'poll-text', text }),
        el('b', { testid: 'poll-count', text: `${counts[index]} · ${share} %` }),
      );
      button.style.setProperty('--share', `${share}%`);
      return button;
    };
    const missing = (waiting ?? []).map((each) => participants.get(each)?.name).filter(Boolean);
    return el(
      'article',
      { class: 'poll', testid: 'poll', data: { key: `poll-${id}`, open: String(open) } },
      el('p', { class: 'poll-question', text: question }),
      multiple && open && el('small', { testid: 'poll-several', text: t('poll.several') }),
      ...options.map(option),
      el('small', { text: t(open ? 'poll.voters' : 'poll.closed', { voters }) }),
      missing.length > 0 && open && el('small', { testid: 'poll-missing', text: t('poll.missing', { names: missing.join(', ') }) }),
      moderates &&
        el(
          'footer',
          {},
          open && this.#button('poll-close', 'poll.close', () => this.#act('close_poll', { poll: id })),
          this.#button('poll-remove', 'poll.remove', () => this.#act('remove_poll', { poll: id })),
        ),
    );
  }

  #button(testid, key, on) {
    return el('button', { type: 'button', class: 'quiet', testid, text: t(key), on: { click: on } });
  }

  #questionForm() {
    const input = el('input', {
      testid: 'question-input',
      maxlength: 500,
      placeholder: t('question.placeholder'),
      'aria-label': t('question.placeholder'),
      autocomplete: 'off',
    });
    const submit = async (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (text && (await this.#act('ask', { text }))) input.value = '';
    };
    return el(
      'form',
      { class: 'class-form', on: { submit } },
      input,
      el('button', { type: 'submit', class: 'primary', testid: 'question-send', text: t('question.ask') }),
    );
  }

  #answerForm() {
    const about = el('small', { id: 'answering' });
    const input = el('input', { testid: 'question-answer-input', maxlength: 2000, placeholder: t('question.reply.placeholder'), 'aria-label': t('question.reply.placeholder'), 'aria-describedby': 'answering', autocomplete: 'off' });
    const submit = async (event) => {
      event.preventDefault();
      const answer = input.value.trim();
      const question = this.#answering;
      if (answer && (await this.#act('answer_question', { question, answered: true, answer })) && this.#answering === question) {
        this.#startAnswer(0);
      }
    };
    const cancel = iconButton({ testid: 'question-answer-cancel', icon: 'close', label: t('dialog.cancel'), class: 'bare', on: () => this.#startAnswer(0) });
    const element = el(
      'form',
      { class: 'class-form answering', testid: 'question-answer-form', hidden: true, on: { submit } },
      about,
      input,
      el('button', { type: 'submit', class: 'primary', testid: 'question-answer-send', text: t('question.reply.send') }),
      cancel,
    );
    return { element, input, about };
  }

  /** @param {number} id of the question to answer in writing; 0 puts the field away */
  #startAnswer(id) {
    if (id === this.#answering && !id) return;
    const { element, input, about } = this.#answer;
    const question = this.#room.classroom.questions.get(id);
    this.#answering = id;
    element.hidden = !question;
    input.value = question?.answer ?? '';
    about.textContent = question ? t('question.replying', { text: question.text }) : '';
    if (question) input.focus();
  }

  #pollForm() {
    const question = el('input', { testid: 'poll-question', maxlength: 500, placeholder: t('poll.question'), 'aria-label': t('poll.question'), autocomplete: 'off' });
    this.#options = el('div', { class: 'poll-options' });
    const add = (focus) => {
      const number = this.#options.childElementCount + 1;
      if (number > MOST_OPTIONS) return;
      const label = t('poll.option', { number });
      const input = el('input', { testid: 'poll-new-option', maxlength: 200, placeholder: label, 'aria-label': label, autocomplete: 'off' });
      this.#options.append(input);
      if (focus) input.focus();
    };
    const multiple = el('input', { type: 'checkbox', testid: 'poll-multiple' });
    const reset = () => {
      question.value = '';
      multiple.checked = false;
      this.#options.replaceChildren();
      add(false);
      add(false);
    };
    reset();
    const submit = async (event) => {
      event.preventDefault();
      const options = [...this.#options.children].map((each) => each.value.trim()).filter(Boolean);
      const text = question.value.trim();
      if (!text || options.length < 2) return;
      if (await this.#act('open_poll', { question: text, options, multiple: multiple.checked })) {
        reset();
        form.open = false;
      }
    };
    const form = el(
      'details',
      { class: 'poll-new', testid: 'poll-new' },
      el('summary', { testid: 'poll-new-open', text: t('poll.new') }),
      el(
        'form',
        { on: { submit } },
        question,
        this.#options,
        el('div', { class: 'poll-new-row' },
          this.#button('poll-add-option', 'poll.add', () => add(true)),
          el('label', {}, multiple, el('span', { text: t('poll.multiple') }))),
        el('button', { type: 'submit', class: 'primary', testid: 'poll-start', text: t('poll.start') }),
      ),
    );
    return form;
  }
}
