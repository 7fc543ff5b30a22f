import { messageKey } from '../sdk/errors.js';
import { t } from '../texts/index.js';
import { el } from './dom.js';

/** Of the shared state. */
export const KEY = 'noughts-and-crosses';
const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]]; // prettier-ignore
const NEW_GAME = Object.freeze({ cells: Array(9).fill(''), turn: 'x', players: {}, winner: null });
const SHOWN = { x: '✕', o: '◯', '': '' };

/**
 * The game after whose turn it is has taken a cell.
 * @param {Record<string, any>} game
 * @param {number} cell
 * @param {string} identity
 */
export function moved(game, cell, identity) {
  const mark = game.turn;
  const cells = game.cells.map((before, at) => (at === cell ? mark : before));
  const won = LINES.some((line) => line.every((at) => cells[at] === mark));
  return {
    cells,
    turn: mark === 'x' ? 'o' : 'x',
    players: { ...game.players, [mark]: identity },
    winner: won ? mark : cells.includes('') ? null : 'draw',
  };
}

/**
 * Noughts and crosses on the shared state: whoever moves first is ✕, the next one ◯. Versions see to it that of two
 * who press at once only one has moved; where the server keeps the rules nobody can cheat either.
 */
export class GameSection {
  name = 'game';
  title = t('game.title');
  #room;
  #onError;
  #status = el('p', { class: 'game-status', testid: 'game-status', role: 'status' });
  #cells;
  #again;
  #follow;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{onError: (text: string) => void, redraw: () => void}} options
   */
  constructor(room, { onError, redraw }) {
    this.#room = room;
    this.#onError = onError;
    this.#follow = redraw;
    this.#cells = NEW_GAME.cells.map((_, cell) =>
      el('button', { type: 'button', class: 'game-cell', testid: 'game-cell', on: { click: () => this.#move(cell) } }),
    );
    this.#again = el('button', {
      type: 'button',
      class: 'quiet',
      testid: 'game-again',
      text: t('game.again'),
      on: { click: () => this.#ask(room.shared.delete(KEY, { ifVersion: room.shared.version(KEY) })) },
    });
    const board = el('div', { class: 'game-board', role: 'group', 'aria-label': t('game.title'), on: { keydown: (event) => this.#walk(event) } }, ...this.#cells);
    this.element = el('div', { class: 'data-content' }, this.#status, board, this.#again);
    room.shared.addEventListener('change', this.#follow);
  }

  dispose() {
    this.#room.shared.removeEventListener('change', this.#follow);
  }

  update() {
    const { self } = this.#room;
    if (!self) return;
    const game = this.#game();
    const turn = this.#mayMove(game);
    this.#cells.forEach((cell, at) => {
      const mark = game.cells[at];
      cell.textContent = SHOWN[mark] ?? '';
      cell.setAttribute('aria-label', t(`game.cell.${mark || 'free'}`, { number: at + 1 }));
      // Not `disabled`: who plays by keyboard would lose the focus.
      cell.setAttribute('aria-disabled', String(!turn || mark !== ''));
    });
    this.#status.textContent = this.#describe(game, turn);
    const playing = Object.values(game.players).includes(self.identity);
    this.#again.hidden = !this.#may() || !this.#room.shared.version(KEY) || !(game.winner || playing);
  }

  /** What lies there, where that is a game. */
  #game() {
    const game = this.#room.shared.get(KEY);
    const sound = Array.isArray(game?.cells) && game.cells.length === 9 && game.players && ['x', 'o'].includes(game.turn);
    return sound ? game : NEW_GAME;
  }

  #may() {
    const { grants } = this.#room.self;
    return grants.data && !grants.hidden;
  }

  #mayMove({ winner, players, turn }) {
    const me = this.#room.self.identity;
    const mine = players[turn] ? players[turn] === me : !Object.values(players).includes(me);
    return this.#may() && !winner && mine;
  }

  #describe({ winner, players, turn }, mayMove) {
    if (winner === 'draw') return t('game.draw');
    if (winner) return t('game.won', { name: this.#nameOf(players[winner]), mark: SHOWN[winner] });
    if (mayMove) return t('game.yours', { mark: SHOWN[turn] });
    return players[turn] ? t('game.theirs', { name: this.#nameOf(players[turn]) }) : t('game.anyone');
  }

  #nameOf(identity) {
    const { self, participants } = this.#room;
    if (identity === self.identity) return self.name || t('messages.you');
    return [...participants.values()].find((each) => each.identity === identity)?.name || t('guest');
  }

  #move(cell) {
    const game = this.#game();
    if (!this.#mayMove(game) || game.cells[cell] !== '') return;
    const { shared, self } = this.#room;
    this.#ask(shared.set(KEY, moved(game, cell, self.identity), { ifVersion: shared.version(KEY) }));
  }

  #walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -3, ArrowDown: 3 }[event.key];
    const at = this.#cells.indexOf(event.target);
    if (!step || at < 0) return;
    event.preventDefault();
    this.#cells[(at + step + 9) % 9].focus();
  }

  async #ask(asked) {
    try {
      await asked;
    } catch (error) {
      this.#onError(error.code === 'illegal_move' ? t('game.illegal') : t(messageKey(error.code)));
    }
  }
}
