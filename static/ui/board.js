import { t } from '../texts/index.js';
import { boardBlob, boardSvg, drawStroke, SIZE } from './board-picture.js';
import { confirmed } from './dialogs.js';
import { el, iconButton, refill } from './dom.js';

const COLORS = { '#1f2430': 'black', '#e5394c': 'red', '#2f6bff': 'blue', '#0c9a68': 'green', '#f0a000': 'orange' };
const WIDTHS = [25, 60, 120];
/** Points go out this often: others see the line grow, and the server's rate is far away. */
const SEND_MS = 200;
/** Closer than this to a stroke the eraser takes it, in board units. */
const REACH = 150;
const PART = 500;
const LONGEST = 1_900;

/** The whiteboard over the stage. Late joiners load it when they open it. */
export class Board {
  #room;
  #onError;
  #canvas = el('canvas', { class: 'board-canvas', testid: 'board-canvas', width: 1600, height: 900, role: 'img' });
  #tool = 'pen';
  #color = Object.keys(COLORS)[0];
  #width = WIDTHS[0];
  /** The stroke being drawn: what is not sent yet, and how long it is. */
  #drawing = null;
  #timer = 0;
  #next = 1;
  #prefix = '';
  #toolbar;
  #planned = 0;

  /**
   * @param {import('../sdk/room.js').Room} room
   * @param {{close: () => void, onError: (error: Error) => void}} options
   */
  constructor(room, { close, onError }) {
    this.#room = room;
    this.#onError = onError;
    this.#toolbar = el('div', { class: 'board-tools', role: 'toolbar', 'aria-label': t('board.title') });
    this.element = el(
      'section',
      { class: 'board', testid: 'board', 'aria-label': t('board.title'), tabindex: -1, hidden: true },
      this.#toolbar,
      el('div', { class: 'board-area' }, this.#canvas),
    );
    this.#canvas.addEventListener('pointerdown', (event) => this.#down(event));
    this.#canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const type of ['pointerup', 'pointercancel']) this.#canvas.addEventListener(type, () => this.#up());
    this.close = close;
  }

  get open() {
    return !this.element.hidden;
  }

  /** @param {boolean} open */
  show(open) {
    if (open && !this.#room.self) return; // not in the room yet
    this.element.hidden = !open;
    if (!open) {
      this.#up();
      return;
    }
    // Each page's strokes have ids of their own, after a reload too.
    this.#prefix ||= `${this.#room.self.id.slice(3)}-${Date.now().toString(36)}`;
    this.update();
    this.#room.classroom.loadBoard().catch(this.#onError);
  }

  /** Rights or strokes have changed. */
  update() {
    if (!this.open || !this.#room.self) return;
    this.#showTools();
    this.redraw();
  }

  /** Many points in one frame are one drawing. */
  redraw() {
    if (!this.open || this.#planned) return;
    this.#planned = requestAnimationFrame(() => {
      this.#planned = 0;
      const { size = 0 } = this.#room.classroom.strokes ?? {};
      this.#canvas.setAttribute('aria-label', t('board.picture', { count: size }));
      const context = this.#canvas.getContext('2d');
      context.fillStyle = '#ffffff';
      context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
      for (const stroke of this.#room.classroom.strokes?.values() ?? []) drawStroke(context, stroke);
      if (this.#drawing) drawStroke(context, { ...this.#drawing, points: this.#drawing.all });
    });
  }

  dispose() {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#planned);
  }

  get #mayDraw() {
    const { grants } = this.#room.self;
    return grants.data && !grants.hidden;
  }

  #showTools() {
    const { grants } = this.#room.self;
    const pick = (change) => () => {
      change();
      this.#showTools();
    };
    const color = ([value, name]) => {
      const label = t(`board.color.${name}`);
      const button = el('button', {
        type: 'button',
        class: 'board-color',
        testid: 'board-color',
        'aria-label': label,
        title: label,
        'aria-pressed': String(this.#tool === 'pen' && this.#color === value),
        on: { click: pick(() => ((this.#tool = 'pen'), (this.#color = value))) },
      });
      button.style.setProperty('--color', value);
      return button;
    };
    const width = (value, index) => {
      const label = t('board.width', { number: index + 1 });
      const pressed = this.#tool === 'pen' && this.#width === value;
      const button = el(
        'button',
        { type: 'button', class: 'board-width', testid: 'board-width', 'aria-label': label, 'aria-pressed': String(pressed), on: { click: pick(() => ((this.#tool = 'pen'), (this.#width = value))) } },
        el('span'),
      );
      button.style.setProperty('--width', `${4 + index * 5}px`);
      return button;
    };
    const tool = (testid, icon, key, on, pressed) => iconButton({ testid, icon, label: t(key), class: 'bare', pressed, on });
    refill(
      this.#toolbar,
      ...(this.#mayDraw
        ? [
            ...Object.entries(COLORS).map(color),
            ...WIDTHS.map(width),
            tool('board-eraser', 'eraser', 'board.eraser', pick(() => (this.#tool = 'eraser')), this.#tool === 'eraser'),
          ]
        : [el('small', { text: t('board.watch') })]),
      ...(this.#mayDraw && grants.moderate ? [tool('board-clear', 'trash', 'board.clear', () => this.#clear())] : []),
      el('span', { class: 'board-space' }),
      el('button', { type: 'button', class: 'quiet', testid: 'board-svg', text: 'SVG', title: t('board.svg'), on: { click: () => this.#save('svg') } }),
      el('button', { type: 'button', class: 'quiet', testid: 'board-png', text: 'PNG', title: t('board.png'), on: { click: () => this.#save('png') } }),
      tool('board-close', 'close', 'dialog.close', this.close),
    );
  }

  async #clear() {
    const title = t('board.clear');
    if (await confirmed({ title, text: t('board.clear.confirm'), action: title, code: 'board-clear' })) {
      this.#ask(this.#room.classroom.moderate('clear_board'));
    }
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const at = (position, from, length) => Math.min(SIZE, Math.max(0, Math.round(((position - from) / length) * SIZE)));
    return [at(event.clientX, box.left, box.width), at(event.clientY, box.top, box.height)];
  }

  #down(event) {
    if (!this.#mayDraw || event.button !== 0) return;
    event.preventDefault();
    this.#canvas.setPointerCapture(event.pointerId);
    const point = this.#point(event);
    if (this.#tool === 'eraser') {
      this.#drawing = null;
      this.#eraseAt(point);
      return;
    }
    this.#begin(point);
  }

  #begin(point) {
    const stroke = `${this.#prefix}-${this.#next++}`;
    this.#drawing = { stroke, color: this.#color, width: this.#width, unsent: [point], all: [point] };
    this.#plan();
    this.redraw();
  }

  #move(event) {
    if (this.#tool === 'eraser' && event.buttons & 1) {
      this.#eraseAt(this.#point(event));
      return;
    }
    if (!this.#drawing) return;
    const point = this.#point(event);
    const [x, y] = this.#drawing.all.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) < 12) return;
    this.#drawing.unsent.push(point);
    this.#drawing.all.push(point);
    if (this.#drawing.all.length >= LONGEST) {
      this.#send();
      this.#begin(point);
    }
    this.#plan();
    this.redraw();
  }

  #up() {
    this.#send();
    this.#drawing = null;
  }

  #plan() {
    this.#timer ||= setTimeout(() => this.#send(), SEND_MS);
  }

  #send() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#drawing?.unsent.length) return;
    const { stroke, color, width } = this.#drawing;
    while (this.#drawing.unsent.length) {
      const points = this.#drawing.unsent.splice(0, PART);
      this.#ask(this.#room.classroom.draw({ stroke, color, width, points }));
    }
  }

  #eraseAt([x, y]) {
    const { classroom, self } = this.#room;
    const near = ([px, py]) => Math.hypot(px - x, ((py - y) * 9) / 16) < REACH;
    for (const stroke of classroom.strokes?.values() ?? []) {
      if (stroke.author !== self.identity && !self.grants.moderate) continue;
      if (!stroke.points.some(near)) continue;
      classroom.strokes.delete(stroke.id);
      this.#ask(classroom.erase(stroke.id));
      this.redraw();
    }
  }

  #ask(request) {
    request.catch(this.#onError);
  }

  async #save(kind) {
    const strokes = [...(this.#room.classroom.strokes?.values() ?? [])];
    const blob = kind === 'svg' ? new Blob([boardSvg(strokes)], { type: 'image/svg+xml' }) : await boardBlob(strokes);
    const link = el('a', { href: URL.createObjectURL(blob), download: `whiteboard.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
