import { t } from '../texts/index.js';
import { el, iconButton } from './dom.js';
import { grid, gridCapacity, isStrip, paginate, speaker } from './layout.js';
import { Tile } from './tile.js';
import { Wishes } from './wishes.js';

/** @typedef {import('./tile-model.js').TileView} TileView */

const MAIN_PRIORITY = 200;
const PRIORITY = 128;
const PAGER_MARGIN = 12;

/**
 * The tiles and where they stand: a grid, or one large with a strip of the others.
 *
 * The view is automatic (speaker view while a screen is shared) until somebody chooses.
 */
export class Stage {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {Map<string, HTMLElement>} */
  #gauges = new Map();
  /** @type {TileView[]} */
  #views = [];
  #pinned = '';
  /** What a moderator shows to all: a participant, and maybe one publication of it. */
  #spotlight = { participant: '', publication: '' };
  #chosen = /** @type {'grid' | 'speaker' | null} */ (null);
  #page = 0;
  #active = '';
  #visible = new Set();
  /** @type {Map<string, import('./layout.js').Box>} */
  #placed = new Map();
  #large = '';
  #onView;
  #resized = new ResizeObserver(() => this.#arrange());
  #seen = new IntersectionObserver((entries) => this.#visibility(entries));
  #wishes;
  #area;
  #pager;
  #position;

  /**
   * @param {{onWish: (publications: string[], wish: object) => void, onView: (view: string) => void}} options
   */
  constructor({ onWish, onView }) {
    this.#onView = onView;
    this.#wishes = new Wishes(onWish);
    this.#area = el('div', { class: 'tiles', testid: 'tiles' });
    this.#position = el('span', { class: 'pager-position', 'aria-live': 'polite' });
    const turn = (by) => () => {
      this.#page += by;
      this.#arrange();
    };
    this.#pager = el(
      'div',
      { class: 'pager', hidden: true },
      iconButton({ testid: 'page-previous', icon: 'previous', label: t('stage.previous'), on: turn(-1) }),
      this.#position,
      iconButton({ testid: 'page-next', icon: 'next', label: t('stage.next'), on: turn(1) }),
    );
    this.element = el('section', { class: 'stage', 'aria-label': t('stage.label') }, this.#area, this.#pager);
    this.#resized.observe(this.#area);
  }

  /** @returns {'grid' | 'speaker'} */
  get view() {
    if (this.#chosen) return this.#chosen;
    const large = this.#pinned || this.#spotlit() || this.#views.some((each) => each.source === 'screen');
    return large ? 'speaker' : 'grid';
  }

  toggleView() {
    this.#chosen = this.view === 'grid' ? 'speaker' : 'grid';
    if (this.#chosen === 'grid') this.#pinned = '';
    this.#page = 0;
    this.#arrange();
  }

  /** @param {TileView[]} views everything there is to show, in order */
  update(views) {
    const hadScreen = this.#views.some((each) => each.source === 'screen');
    const hasScreen = views.some((each) => each.source === 'screen');
    // A screen that comes or goes is a new situation: back to automatic.
    if (hadScreen !== hasScreen) this.#chosen = null;
    this.#views = views;
    const keys = new Set(views.map((each) => each.key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      this.#seen.unobserve(tile.element);
      this.#visible.delete(tile.element);
      tile.dispose();
      this.#tiles.delete(key);
    }
    if (!keys.has(this.#pinned)) this.#pinned = '';
    for (const view of views) {
      const tile = this.#tile(view.key);
      tile.update(view);
      this.#gauge(tile);
    }
    const publications = new Set(views.map((each) => each.publication));
    this.#wishes.prune((publication) => publications.has(publication));
    this.#arrange();
  }

  /**
   * @param {string} participant empty for nobody
   * @param {string} publication empty for whatever it shows
   */
  setSpotlight(participant, publication) {
    const before = this.#spotlight;
    if (before.participant === participant && before.publication === publication) return;
    this.#spotlight = { participant, publication };
    this.#chosen = null;
    this.#arrange();
  }

  /** The key of the tile in the spotlight: a screen before a face. */
  #spotlit() {
    const { participant, publication } = this.#spotlight;
    const those = this.#views.filter((each) => participant && each.participant === participant);
    const chosen = those.find((each) => each.publication === publication) ?? those.find((each) => each.source === 'screen');
    return (chosen ?? those[0])?.key;
  }

  /** @param {string} participant who speaks now */
  setActive(participant) {
    if (this.#active === participant) return;
    this.#active = participant;
    if (this.view === 'speaker') this.#arrange();
  }

  /** @param {Map<string, HTMLElement>} gauges what each participant measures, for its tile */
  setGauges(gauges) {
    this.#gauges = gauges;
    for (const tile of this.#tiles.values()) this.#gauge(tile);
  }

  #gauge(tile) {
    const { participant = '', source } = tile.view ?? {};
    tile.setGauges(source === 'camera' ? (this.#gauges.get(participant) ?? null) : null);
  }

  /** @param {Map<string, import('../sdk/stats.js').StreamStats> | null} stats by publication; null hides them */
  showStats(stats) {
    for (const tile of this.#tiles.values()) tile.showStats(stats?.get(tile.view?.publication ?? '') ?? null);
  }

  dispose() {
    this.#resized.disconnect();
    this.#seen.disconnect();
    this.#wishes.dispose();
    for (const tile of this.#tiles.values()) tile.dispose();
  }

  #tile(key) {
    let tile = this.#tiles.get(key);
    if (!tile) {
      tile = new Tile({ onPin: (pinned) => this.#pin(pinned) });
      this.#tiles.set(key, tile);
      this.#area.append(tile.element);
      this.#seen.observe(tile.element);
    }
    return tile;
  }

  #pin(key) {
    this.#pinned = this.#pinned === key ? '' : key;
    this.#chosen = this.#pinned ? 'speaker' : null;
    this.#page = 0;
    this.#arrange();
  }

  /** The key of the tile that is shown large. */
  #main() {
    const views = this.#views;
    const find = (test) => views.find(test)?.key;
    return (
      find((each) => each.key === this.#pinned) ??
      this.#spotlit() ??
      find((each) => each.source === 'screen' && !each.local) ??
      find((each) => each.participant === this.#active && each.source === 'camera' && !each.local) ??
      find((each) => !each.local && each.video) ??
      find((each) => !each.local) ??
      views[0]?.key
    );
  }

  #arrange() {
    const { clientWidth: width, clientHeight: height } = this.#area;
    if (!width || !height || !this.#views.length) return;
    const view = this.#views.length > 1 && !isStrip(width) ? this.view : 'grid';
    const placed = view === 'grid' ? this.#grid(width, height) : this.#speaker(width, height);
    this.#placed = placed;
    this.#large = view === 'speaker' ? placed.keys().next().value : '';
    for (const [key, tile] of this.#tiles) {
      const box = placed.get(key);
      tile.element.hidden = !box;
      tile.setPinned(key === this.#pinned);
      tile.element.classList.toggle('main', key === this.#large);
      tile.setSpotlit(key === this.#spotlit());
      if (box) place(tile.element, box);
      this.#wish(tile);
    }
    this.element.dataset.view = this.view;
    this.#onView(this.view);
  }

  #grid(width, height) {
    const { shown, page, pages } = paginate(this.#views, this.#page, gridCapacity(width, height));
    this.#showPager(page, pages);
    const boxes = grid(shown.length, width, height);
    return new Map(shown.map((each, index) => [each.key, boxes[index]]));
  }

  #speaker(width, height) {
    const main = this.#main();
    const layout = speaker(width, height);
    const others = this.#views.filter((each) => each.key !== main);
    const { shown, page, pages } = paginate(others, this.#page, layout.capacity);
    this.#showPager(page, pages, layout.beside ? 0 : height - layout.main.height);
    const boxes = layout.strip(shown.length);
    return new Map([[main, layout.main], ...shown.map((each, index) => [each.key, boxes[index]])]);
  }

  /** `above` is what must stay free below it, in pixels. */
  #showPager(page, pages, above = 0) {
    this.#pager.style.setProperty('bottom', `${above + PAGER_MARGIN}px`);
    this.#page = page;
    this.#pager.hidden = pages < 2;
    this.#position.textContent = t('stage.page', { page: page + 1, pages });
    this.#pager.firstElementChild.disabled = page === 0;
    this.#pager.lastElementChild.disabled = page === pages - 1;
  }

  #visibility(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(target);
      else this.#visible.delete(target);
    }
    for (const tile of this.#tiles.values()) this.#wish(tile);
  }

  #wish(tile) {
    const view = tile.view;
    if (!view || view.local || !view.publication) return;
    const box = this.#placed.get(view.key);
    this.#wishes.set(view.publication, {
      width: box?.width ?? 0,
      height: box?.height ?? 0,
      visible: Boolean(box) && this.#visible.has(tile.element),
      priority: view.key === this.#large ? MAIN_PRIORITY : PRIORITY,
    });
  }
}

function place(element, { left, top, width, height }) {
  element.style.setProperty('transform', `translate(${Math.round(left)}px, ${Math.round(top)}px)`);
  element.style.setProperty('width', `${Math.floor(width)}px`);
  element.style.setProperty('height', `${Math.floor(height)}px`);
  element.classList.toggle('small', width < 220 || height < 130);
}
