import { el } from './dom.js';

const LINK = /\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g;

/**
 * A message's text as nodes: links can be clicked, who is mentioned is marked, everything else is text.
 * @param {string} text
 * @param {Map<string, string>} [names] of the identities that it mentions
 * @param {string} [self] one's own identity
 * @returns {(Node | string)[]}
 */
export function linkify(text, names = new Map(), self = '') {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    nodes.push(...withMentions(text.slice(end, match.index), names, self));
    nodes.push(el('a', { href: match[0], target: '_blank', rel: 'noopener noreferrer', text: match[0] }));
    end = match.index + match[0].length;
  }
  nodes.push(...withMentions(text.slice(end), names, self));
  return nodes.filter((each) => each !== '');
}

function withMentions(text, names, self) {
  const nodes = [];
  let rest = text;
  while (rest) {
    const found = [...names.keys()]
      .map((identity) => ({ identity, at: rest.indexOf(`@${identity}`) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at || b.identity.length - a.identity.length)[0];
    if (!found) break;
    nodes.push(rest.slice(0, found.at));
    nodes.push(
      el('mark', {
        class: found.identity === self ? 'mention self' : 'mention',
        testid: 'mention',
        text: `@${names.get(found.identity)}`,
      }),
    );
    rest = rest.slice(found.at + 1 + found.identity.length);
  }
  return [...nodes, rest];
}

/**
 * What a person wrote, with `@Name` as the `@identity` that the server knows.
 * @param {string} text
 * @param {{name: string, identity: string}[]} people
 * @returns {string}
 */
export function toIdentities(text, people) {
  const byLength = people.filter((each) => each.name).sort((a, b) => b.name.length - a.name.length);
  for (const { name, identity } of byLength) text = text.replaceAll(`@${name}`, `@${identity}`);
  return text;
}

/**
 * The other way round, for editing.
 * @param {string} text
 * @param {Map<string, string>} names
 * @returns {string}
 */
export function toNames(text, names) {
  for (const [identity, name] of names) text = text.replaceAll(`@${identity}`, `@${name}`);
  return text;
}
