import { recall } from './preferences.js';

/**
 * Single keys that act while nobody is typing, unless that is switched off; Escape always acts.
 * @param {Record<string, () => void>} actions by key
 * @returns {() => void} takes them away
 */
export function shortcuts(actions) {
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (document.querySelector('dialog[open]') || (event.key !== 'Escape' && typing(event.target))) return;
    if (event.key !== 'Escape' && !recall('shortcuts', true)) return;
    const act = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  document.addEventListener('keydown', pressed);
  return () => document.removeEventListener('keydown', pressed);
}

function typing(target) {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
