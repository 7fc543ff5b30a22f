const SVG = 'http://www.w3.org/2000/svg';

/** 24x24, drawn with strokes; one path each. */
const PATHS = {
  mic: 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3M8.5 21h7',
  'mic-off':
    'M15 9.5V6a3 3 0 0 0-5.8-1.1M9 9v3a3 3 0 0 0 4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10.3 5.3M18 14.2a6.5 6.5 0 0 0 .5-2.7M12 18v3M8.5 21h7M3.5 3.5l17 17',
  camera:
    'M4.5 6.5h8a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM14.5 10.5l5.6-3.3a.9.9 0 0 1 1.4.8v8a.9.9 0 0 1-1.4.8l-5.6-3.3',
  'camera-off':
    'M9.5 6.5h3a2 2 0 0 1 2 2v3M14.5 14.6v.9a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h1.6M14.5 10.5l5.6-3.3a.9.9 0 0 1 1.4.8v8a.9.9 0 0 1-1.1.9M3.5 3.5l17 17',
  screen:
    'M4 4.5h16a1.5 1.5 0 0 1 1.5 1.5v9.5A1.5 1.5 0 0 1 20 17H4a1.5 1.5 0 0 1-1.5-1.5V6A1.5 1.5 0 0 1 4 4.5zM8.5 20.5h7M12 14V8M9.2 10.6L12 7.8l2.8 2.8',
  'screen-off':
    'M4 4.5h16a1.5 1.5 0 0 1 1.5 1.5v9.5A1.5 1.5 0 0 1 20 17H4a1.5 1.5 0 0 1-1.5-1.5V6A1.5 1.5 0 0 1 4 4.5zM8.5 20.5h7M9.5 8.2l5 5M14.5 8.2l-5 5',
  chat: 'M5.5 4.5h13a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H11l-4.6 3.6a.6.6 0 0 1-.9-.5v-3.1a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2zM8 9h8M8 12.2h5',
  people:
    'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5c0-3 2.9-5 6.5-5s6.5 2 6.5 5M16 4.9a3.5 3.5 0 0 1 0 6.3M18 14.9c2.1.7 3.5 2.3 3.5 4.6',
  grid: 'M4 4.5h6.5V11H4zM13.5 4.5H20V11h-6.5zM4 14h6.5v6.5H4zM13.5 14H20v6.5h-6.5z',
  speaker: 'M4 4.5h16v9.5H4zM4 17h4.5v3.5H4zM9.8 17h4.4v3.5H9.8zM15.5 17H20v3.5h-4.5z',
  stats: 'M4 20V11M9.3 20V5M14.7 20v-7M20 20V8',
  settings:
    'M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
  link: 'M10 14a4.5 4.5 0 0 0 6.6.4l3-3A4.5 4.5 0 0 0 13.3 5l-1.6 1.6M14 10a4.5 4.5 0 0 0-6.6-.4l-3 3A4.5 4.5 0 0 0 10.7 19l1.6-1.6',
  leave:
    'M2.8 14.8c-.8-1.1-.6-2.7.5-3.6C5.6 9.3 8.7 8.2 12 8.2s6.4 1.1 8.7 3c1.1.9 1.3 2.5.5 3.6l-.7.9a1.3 1.3 0 0 1-1.7.3l-2.6-1.6a1.3 1.3 0 0 1-.6-1.3l.2-1.3a12 12 0 0 0-7.6 0l.2 1.3c.1.5-.1 1-.6 1.3l-2.6 1.6a1.3 1.3 0 0 1-1.7-.3z',
  more: 'M5.1 12a.4.4 0 1 0 .8 0 .4.4 0 1 0-.8 0M11.6 12a.4.4 0 1 0 .8 0 .4.4 0 1 0-.8 0M18.1 12a.4.4 0 1 0 .8 0 .4.4 0 1 0-.8 0',
  close: 'M6 6l12 12M18 6L6 18',
  send: 'M4.5 12h9M4.5 12L3.6 5.2a.8.8 0 0 1 1.1-.8l15.6 6.9a.8.8 0 0 1 0 1.4L4.7 19.6a.8.8 0 0 1-1.1-.8z',
  pin: 'M9 3.5h6M10 3.5v6l-3 3.5v1.5h10V13l-3-3.5v-6M12 14.5v6',
  help: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM9.5 9.5a2.5 2.5 0 1 1 3.6 2.3c-.7.3-1.1.9-1.1 1.6v.3M12 16.7h.01',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11',
  plus: 'M12 5v14M5 12h14',
  arrow: 'M5 12h14M13 6l6 6-6 6',
  previous: 'M14.5 6l-6 6 6 6',
  next: 'M9.5 6l6 6-6 6',
  warning: 'M12 4L2.8 19.5h18.4zM12 10v4.5M12 17.2h.01',
  globe:
    'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c2.5 2.5 3.7 5.6 3.7 9s-1.2 6.5-3.7 9c-2.5-2.5-3.7-5.6-3.7-9S9.5 5.5 12 3z',
  hand: 'M8 12.5V5.8a1.3 1.3 0 0 1 2.6 0V11M10.6 10.5V4.3a1.3 1.3 0 0 1 2.6 0v6.2M13.2 10.8V5.6a1.3 1.3 0 0 1 2.6 0v6M15.8 9a1.3 1.3 0 0 1 2.6 0v5.5a6.5 6.5 0 0 1-6.5 6.5c-2.6 0-4-1-5.3-3l-2.9-4.5a1.3 1.3 0 0 1 2.2-1.5L8 14.3',
  smile: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.2 14c1 1.6 2.3 2.4 3.8 2.4s2.8-.8 3.8-2.4M9 9.6h.01M15 9.6h.01',
  question: 'M4.5 4.5h15a1.5 1.5 0 0 1 1.5 1.5v10a1.5 1.5 0 0 1-1.5 1.5H12l-4.5 3v-3h-3A1.5 1.5 0 0 1 3 16V6a1.5 1.5 0 0 1 1.5-1.5zM10 9a2 2 0 1 1 2.8 1.8c-.5.3-.8.7-.8 1.2M12 14.4h.01',
  pen: 'M4 20l1-4.2L16.2 4.6a1.8 1.8 0 0 1 2.6 0l.6.6a1.8 1.8 0 0 1 0 2.6L8.2 19zM14 6.8l3.2 3.2',
  eraser: 'M8.5 19.5h11M5 14.2l8.6-8.6a1.8 1.8 0 0 1 2.6 0l3.2 3.2a1.8 1.8 0 0 1 0 2.6l-8 8H8.2L5 16.8a1.8 1.8 0 0 1 0-2.6zM9.5 9.7l5.8 5.8',
  trash: 'M4.5 6.5h15M9 6.5v-2h6v2M6.5 6.5l.8 13h9.4l.8-13M10 10v6M14 10v6',
  lock: 'M6 10.5h12a1.5 1.5 0 0 1 1.5 1.5v7a1.5 1.5 0 0 1-1.5 1.5H6A1.5 1.5 0 0 1 4.5 19v-7A1.5 1.5 0 0 1 6 10.5zM8 10.5V7.5a4 4 0 0 1 8 0v3',
  door: 'M5.5 20.5v-16A1 1 0 0 1 6.5 3.5h11a1 1 0 0 1 1 1v16M3.5 20.5h17M14.5 12h.01',
  breakouts: 'M4 4.5h7v6.5H4zM4 14h7v6.5H4zM14 9h6.5v6.5H14z',
  list: 'M9 6.5h11M9 12h11M9 17.5h11M4.5 6.5h.01M4.5 12h.01M4.5 17.5h.01',
  check: 'M5 12.5l4.5 4.5L19 7.5',
};

/**
 * @param {string} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** The mark of the app: one picture passed on to two. */
export function logo() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('class', 'logo');
  svg.setAttribute('aria-hidden', 'true');
  for (const [kind, d] of [
    ['back', 'M8 2h16a6 6 0 0 1 6 6v16a6 6 0 0 1-6 6H8a6 6 0 0 1-6-6V8a6 6 0 0 1 6-6z'],
    ['wire', 'M12 16h4.5c3 0 2.5-6 5.5-6M16.5 16c3 0 2.5 6 5.5 6'],
    [
      'dot',
      'M10 19a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM22.5 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM22.5 24.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z',
    ],
  ]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    path.setAttribute('class', kind);
    svg.append(path);
  }
  return svg;
}
