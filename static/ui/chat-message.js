import { language, t } from '../texts/index.js';
import { linkify } from './chat-text.js';
import { avatar, el, iconButton } from './dom.js';

const EMOJI = ['👍', '❤️', '😂', '🎉', '😮', '👀'];

/**
 * One message as it is now.
 *
 * @param {import('../sdk/chat.js').ChatMessage} message
 * @param {object} view
 * @param {{id: string, identity: string} | null} view.self
 * @param {boolean} view.moderates
 * @param {boolean} view.follows whether the one before is of the same person
 * @param {Map<string, string>} view.names by identity
 * @param {{react: (message: object, emoji: string, on: boolean) => void, edit: (message: object) => void,
 *   remove: (message: object) => void, attachment: (file: string) => HTMLElement}} view.act
 * @returns {HTMLElement}
 */
export function messageView(message, { self, moderates, follows, names, act }) {
  const own = isOwn(message, self);
  const time = new Date(message.sent_at_ms);
  const clock = time.toLocaleTimeString(language(), { hour: '2-digit', minute: '2-digit' });
  const recipient = names.get(message.to_identity) ?? '';
  const privately = message.to ? (own ? t('chat.private.to', { name: recipient }) : t('chat.private.you')) : '';
  const body = message.deleted
    ? el('p', { class: 'gone', testid: 'chat-text', text: t('chat.deleted') })
    : el('p', { testid: 'chat-text' }, ...linkify(message.text, mentioned(message, names), self?.identity));
  return el(
    'article',
    {
      class: `chat-message ${own ? 'own' : 'other'} ${follows ? 'follows' : ''}`,
      testid: 'chat-message',
      data: {
        from: message.from,
        own: String(own),
        id: String(message.id),
        ...(message.file && !message.deleted ? { file: message.file } : {}),
      },
    },
    !own && avatar(message.name),
    el(
      'div',
      { class: 'chat-body' },
      el(
        'header',
        {},
        el('strong', { text: own ? t('chat.you') : message.name }),
        privately && el('em', { text: privately }),
        el('time', { datetime: time.toISOString(), text: clock }),
      ),
      body,
      message.file && !message.deleted && act.attachment(message.file),
      message.edited_at_ms && !message.deleted && el('small', { class: 'edited', text: t('chat.edited') }),
      reactions(message, self, names, act),
      !message.deleted && actions(message, own || moderates, act),
    ),
  );
}

/** @param {{from: string, identity: string}} message @param {{id: string, identity: string} | null} self */
export function isOwn(message, self) {
  return message.from === self?.id || (Boolean(self) && message.identity === self.identity);
}

/** @returns {Map<string, string>} names by identity of whom the message mentions */
export function mentioned(message, names) {
  return new Map((message.mentions ?? []).map((identity) => [identity, names.get(identity) ?? identity]));
}

function reactions(message, self, names, act) {
  const chosen = Object.entries(message.reactions ?? {});
  if (chosen.length === 0) return null;
  const buttons = chosen.map(([emoji, who]) => {
    const mine = who.includes(self?.identity);
    const people = who.map((identity) => names.get(identity) ?? t('chat.somebody')).join(', ');
    return el('button', {
      type: 'button',
      class: 'chat-reaction',
      testid: 'chat-reaction',
      'aria-pressed': String(mine),
      'aria-label': t('chat.reaction', { emoji, count: who.length, people }),
      title: people,
      text: `${emoji} ${who.length}`,
      on: { click: () => act.react(message, emoji, !mine) },
    });
  });
  return el('div', { class: 'chat-reactions' }, ...buttons);
}

function actions(message, mayChange, act) {
  const choices = EMOJI.map((emoji) =>
    el('button', {
      type: 'button',
      testid: 'chat-emoji',
      data: { emoji },
      'aria-label': t('chat.react.with', { emoji }),
      text: emoji,
      on: { click: () => act.react(message, emoji, true) },
    }),
  );
  const picker = el('div', { class: 'chat-picker', role: 'group', 'aria-label': t('chat.react'), hidden: true }, ...choices);
  const react = iconButton({
    testid: 'chat-react',
    icon: 'smile',
    label: t('chat.react'),
    pressed: false,
    on: () => {
      picker.hidden = !picker.hidden;
      react.setAttribute('aria-pressed', String(!picker.hidden));
    },
  });
  return el(
    'div',
    { class: 'chat-actions' },
    react,
    mayChange && iconButton({ testid: 'chat-edit', icon: 'edit', label: t('chat.edit'), on: () => act.edit(message) }),
    mayChange &&
      iconButton({ testid: 'chat-delete', icon: 'trash', label: t('chat.delete'), on: () => act.remove(message) }),
    picker,
  );
}
